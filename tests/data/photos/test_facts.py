"""Authors, scenes and areas from the columns that the field's tables have."""

import numpy as np
import pandas as pd
import pytest

from data.index import Index
from data.photos.facts import facts_of_shards, facts_of_table


def facts(**columns):
    table = pd.DataFrame(columns)
    return facts_of_table(table, [f"p{i}" for i in range(len(table))])


def test_authors_under_any_name():
    assert facts(author=["Ann", None, " Bob "]).author.tolist() == ["Ann", "", "Bob"]
    assert facts(creator_id=[7.0, np.nan, 12345678901.0]).author.tolist() == [
        "7",
        "",
        "12345678901",
    ]
    assert facts(AUTHOR=[7, 8]).author.tolist() == ["7", "8"]
    assert facts(lat=[1.0, 2.0]).author.tolist() == ["", ""]


@pytest.mark.parametrize(
    ("s3", "expected"),
    [
        ([0, 1, 2, 3, -1], [0, 1, 2, -1, -1]),
        ([2.0, np.nan], [2, -1]),
        (["[0.1, 0.7, 0.2]", "1", "", "[[["], [1, 1, -1, -1]),
        ([[0.1, 0.2, 0.7], None], [2, -1]),
        ([1.5], [-1]),
    ],
)
def test_scenes_of_labels_and_lists(s3, expected):
    assert facts(s3=pd.Series(s3, dtype=object)).scene.tolist() == expected


def test_scenes_of_three_columns_go_before_labels():
    found = facts(
        s3=[0, 0, 0],
        Prob_indoor=[0.1, np.nan, 0.0],
        Prob_natural=[0.2, 0.5, 0.0],
        Prob_urban=[0.7, 0.1, 0.0],
    )
    assert found.scene.tolist() == [2, -1, -1]


def test_areas_and_picking_photos():
    found = facts(unique_city=["Lima", None, "Cusco"], UNIQUE_COUNTRY=["PE", "PE", "PE"])
    assert found.areas["city"].tolist() == ["Lima", "", "Cusco"]
    some = found.of(["p2", "p0"])
    assert some.keys == ["p2", "p0"]
    assert some.areas["city"].tolist() == ["Cusco", "Lima"]
    assert some.areas["country"].tolist() == ["PE", "PE"]
    with pytest.raises(KeyError):
        found.of(["p9"])


def test_facts_of_shards(tmp_path):
    import simplejpeg

    from data.shards import ShardWriter

    jpg = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    with ShardWriter(tmp_path) as writer:
        writer.write("p0", jpg, {"lat": 1.0, "lon": 2.0, "s3": [0, 0, 1], "author": "Ann"}, None)
        writer.write("p1", jpg, {"lat": 1.0, "lon": 2.0}, None)
    index = Index.open(tmp_path)
    found = facts_of_shards(index, np.array([1, 0]), ["p1", "p0"])
    assert found.author.tolist() == ["", "Ann"]
    assert found.scene.tolist() == [-1, 2]
