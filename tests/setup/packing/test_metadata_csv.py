"""What CSVs say of photos, row by row, against the reader of whole tables."""

import json
from collections import Counter

import pytest

from data.tables import read_photo_table
from setup.packing.metadata_csv import read_metadata
from setup.packing.sample_metadata import metadata, with_scene_column


def write(tmp_path, text):
    path = tmp_path / "photos.csv"
    path.write_text(text)
    return path


def test_the_same_as_whole_tables(tmp_path):
    path = write(
        tmp_path,
        "IMG_ID,LAT,LON,Author,S16_Label,heading,Prob_indoor,Prob_natural,Prob_urban,other\n"
        "a/1.jpg,1.5,-2.25,7,3,12.5,0.2,0.3,0.5,x\n"
        "b,-90,180,NA,,,,,,y\n"
        'c,0,0,"O\'Hara, Ms",15,nan,1,0,0,\n',
    )
    table = with_scene_column(read_photo_table(path).photos)
    expected = {row["id"]: metadata(row, Counter()) for row in table.to_dict("records")}
    found = {image_id: json.loads(facts) for image_id, facts, _ in read_metadata(path)}
    assert found.keys() == {"a/1.jpg", "b", "c"}
    assert found == expected | {"a/1.jpg": found["a/1.jpg"]}  # an id that is no key yet
    assert found["a/1.jpg"] == {
        "lat": 1.5,
        "lon": -2.25,
        "author": "7",
        "s16": 3,
        "heading": 12.5,
        "s3": [0.2, 0.3, 0.5],
    }


def test_problems_and_unreadable_values(tmp_path):
    path = write(
        tmp_path,
        "id,lat,lon,heading\n1,200,200,\n2,x,0,\n3,,0,\n4,1\n5,1,2,3,4\n6,1,2,north\n7,1,2,3\n",
    )
    unreadable = Counter()
    rows = list(read_metadata(path, unreadable))
    assert [(image_id, bool(facts), bool(problem)) for image_id, facts, problem in rows] == [
        ("1", False, True),
        ("2", False, True),
        ("3", False, True),
        ("4", False, True),
        ("5", False, True),
        ("6", True, False),
        ("7", True, False),
    ]
    assert "range" in rows[0][2]
    assert "2 fields under 4 names" in rows[3][2]  # a cut number would be another place
    assert unreadable == {"heading": 1}
    assert json.loads(rows[6][1]) == {"lat": 1.0, "lon": 2.0, "heading": 3.0}


@pytest.mark.parametrize(
    ("text", "message"), [("", "empty"), ("id,url\n1,x\n", "no column for lat; found id, url")]
)
def test_unusable_tables(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        list(read_metadata(write(tmp_path, text)))
