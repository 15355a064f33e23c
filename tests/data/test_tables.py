"""Photo tables: synonyms, refused rows with reasons, unusable files."""

import numpy as np
import pandas as pd
import pytest

from data.sample import key_problem, safe_key
from data.tables import read_photo_table


@pytest.fixture
def csv(tmp_path):
    def write(text):
        path = tmp_path / "photos.csv"
        path.write_text(text)
        return path

    return write


def test_every_refused_row_is_listed(csv, tmp_path):
    path = csv(
        "IMG_ID,LAT,LON,Author\n"
        "a,1.5,2.5,x\n"  # 1 good
        "b.jpg,1,2,x\n"  # 2 dot
        "c,,2,x\n"  # 3 missing
        "a,3,4,x\n"  # 4 duplicate
        "d/e,3,4,x\n"  # 5 slash
        "f,120,4,x\n"  # 6 swapped
        "g,120,200,x\n"  # 7 out of range
        "h,-90,180,y\n"  # 8 good
    )
    table = read_photo_table(path)
    assert table.photos["id"].tolist() == ["a", "h"]
    assert table.photos["author"].tolist() == ["x", "y"]
    np.testing.assert_array_equal(table.photos[["lat", "lon"]], [[1.5, 2.5], [-90, 180]])
    assert table.refused["row"].tolist() == [2, 3, 4, 5, 6, 7]
    assert len(table) + len(table.refused) == 8
    assert table.refusals() == {
        "id with a dot or slash": 2,
        "missing": 1,
        "duplicate id": 1,
        "swapped?": 1,
        "out of range": 1,
    }
    table.write_refused(tmp_path / "refused.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "refused.csv"), table.refused)


def test_safe_keys_instead_of_refusal(csv):
    table = read_photo_table(csv("id,lat,lng\nd6/58/1.jpg,1,2\nplain,3,4\n"), make_safe_keys=True)
    assert table.photos["id"].tolist() == ["d6%2F58%2F1%2Ejpg", "plain"]
    assert table.photos["image_id"].tolist() == ["d6/58/1.jpg", "plain"]
    assert table.refused.empty
    assert table.photos["id"][0] == safe_key("d6/58/1.jpg")


@pytest.mark.parametrize("header", ["img_id,latitude,longitude", "image_id,Lat,LNG", "ID,lat,lon"])
def test_synonyms(csv, header):
    table = read_photo_table(csv(header + ",image_url,License\n007,1,2,http://x,CC0\n"))
    assert table.photos.columns.tolist() == ["id", "lat", "lon", "url", "licence"]
    assert table.photos["id"][0] == "007"


def test_clear_errors(csv):
    with pytest.raises(ValueError, match=r"photos\.csv: no column for lat; found id, lon"):
        read_photo_table(csv("id,lon\n1,2\n"))
    with pytest.raises(
        ValueError, match=r"no column for url; found id, lat, lon; accepted .*img_url"
    ):
        read_photo_table(csv("id,lat,lon\n1,2,3\n"), require=("id", "lat", "lon", "url"))
    with pytest.raises(ValueError, match=r"photos\.csv.*empty"):
        read_photo_table(csv(""))
    with pytest.raises(ValueError, match=r"photos\.csv"):
        read_photo_table(csv("id,lat,lon\n"))


IDS = [
    "3f/a9/51.jpg",
    "a%2Fb",
    "100%",
    "7@N00",
    "é/ö.jpg",
    "a b",
    "x" * 91,
    "x" * 92,
    "~a,b",
    "a:b",
]
IDS += ["é", "日本", "a\tb", "a\\b", ".", "/", "%", "a.b.c", "-_=+"]


def test_keys_are_those_of_the_sample_contract(csv):
    """Most ids are done all at once; each must get what `safe_key` and `key_problem` say of it."""
    path = csv("".join(["id,lat,lon\n", *(f'"{image_id}",1,2\n' for image_id in IDS)]))
    table = read_photo_table(path, make_safe_keys=True)
    good = [image_id for image_id in IDS if not key_problem(safe_key(image_id))]
    assert table.photos["image_id"].tolist() == good
    assert table.photos["id"].tolist() == [safe_key(image_id) for image_id in good]
    table = read_photo_table(path)
    refused = {image_id: key_problem(image_id) for image_id in IDS if key_problem(image_id)}
    assert dict(zip(table.refused["id"], table.refused["reason"], strict=True)) == refused
    assert table.photos["id"].tolist() == [i for i in IDS if i not in refused]
