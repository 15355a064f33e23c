"""Photos in a folder: found by id, never outside it, unreadable ones named."""

import numpy as np
import pytest
import simplejpeg
import torch

from data.images import decode_rgb, decode_seg
from data.photos.folder_photos import EXTENSIONS, FolderPhotos, find
from data.sample import safe_key
from data.transforms import EvalTransform


@pytest.fixture
def folder(tmp_path, jpeg, encode):
    """Five photos under four kinds of names, two of them with maps; and their table."""
    photos, maps = tmp_path / "photos", tmp_path / "maps"
    for name, seed in (("plain.jpg", 0), ("7f/1a_b.jpg", 1), ("a.b.JPG", 2), ("bare", 3)):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(jpeg(40, 60, seed))
    seg = np.arange(2400).reshape(40, 60).astype(np.uint8)
    (photos / "p.png").write_bytes(encode(np.dstack([seg] * 3)))
    (maps / "7f").mkdir(parents=True)
    (maps / "7f" / "1a_b.png").write_bytes(encode(seg))
    (maps / "plain.png").write_bytes(encode(seg.T))
    (maps / "a.b.png").write_bytes(encode(seg))

    def open_with(ids, **arguments):
        table = tmp_path / "t.csv"
        lines = [f"{name},{i},{-i}" for i, name in enumerate(ids)]
        table.write_text("\n".join(["IMG_ID,LAT,LON", *lines]))
        return FolderPhotos(photos, table, 32, **arguments)

    open_with.photos, open_with.maps = photos, maps
    return open_with


def test_items_are_the_files_under_their_ids_in_the_tables_order(folder):
    names = {"bare": "bare", "p": "p.png", "a.b": "a.b.JPG", "7f/1a_b.jpg": "7f/1a_b.jpg"}
    opened = folder([*names, "plain"])
    assert opened.keys == [*names, "plain"]
    for i, (key, name) in enumerate(names.items()):
        item = opened[i]
        pixels = decode_rgb((folder.photos / name).read_bytes())
        expected, _ = EvalTransform(32)(torch.from_numpy(pixels).permute(2, 0, 1))
        assert torch.equal(item["rgb"], expected), key
        assert (item["key"], item["lat"], item["lon"]) == (key, i, -i)
        assert (item["valid"], item["has_seg"], item["error"]) == (True, False, "")


def test_maps(folder):
    opened = folder(["7f/1a_b.jpg", "7f/1a_b", "a.b", "bare"], seg=folder.maps)
    seg = torch.from_numpy(decode_seg((folder.maps / "7f" / "1a_b.png").read_bytes()))
    rgb = torch.zeros(3, 40, 60, dtype=torch.uint8)
    expected = EvalTransform(32)(rgb, seg)[1]
    for row in range(3):
        assert opened[row]["has_seg"]
        assert torch.equal(opened[row]["seg"], expected)
    assert (opened[3]["has_seg"], opened[3]["valid"]) == (False, True)


def test_a_map_of_another_size_is_named(folder):
    item = folder(["plain"], seg=folder.maps)[0]
    assert not item["valid"]
    assert item["error"].startswith("plain is 60 x 40 and its segmentation map 40 x 60")


def test_unreadable_photos_say_why(folder):
    (folder.photos / "plain.jpg").write_bytes(b"\xff\xd8\xff half")
    opened = folder(["bare", "plain", "gone"])
    assert [opened[i]["valid"] for i in range(3)] == [True, False, False]
    assert "plain.jpg" in opened[1]["error"]
    assert "gone: no such photo in" in opened[2]["error"]
    assert not opened[1]["rgb"].any()


@pytest.mark.parametrize("climbing", ["../secret", "7f/../../secret", "{tmp}/secret", "a/../.."])
def test_an_id_that_leads_out_reads_nothing(climbing, folder, tmp_path, jpeg, encode):
    (tmp_path / "secret.jpg").write_bytes(jpeg(40, 60))
    (tmp_path / "secret.png").write_bytes(encode(np.ones((40, 60), np.uint8)))
    key = climbing.format(tmp=tmp_path)
    assert find(folder.photos, key, EXTENSIONS) is None
    opened = folder(["bare", key], seg=folder.maps)
    assert "no such photo" in opened[1]["error"]
    with pytest.raises(ValueError, match="none of the 1 photos"):
        folder([key])


def test_nothing_to_open(folder, tmp_path):
    with pytest.raises(ValueError, match=r"none of the 2 photos of .*t\.csv is in .*photos"):
        folder(["x", "y"])
    with pytest.raises(ValueError, match=r"no folder .*nowhere"):
        folder(["bare"], seg=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no folder .*nowhere"):
        FolderPhotos(tmp_path / "nowhere", tmp_path / "t.csv", 32)


def test_refused_rows_are_counted(folder, tmp_path):
    table = tmp_path / "bad.csv"
    table.write_text("id,lat,lng\nbare,1,2\nbare,1,2\nplain,,3\np,120,10\na.b,500,0\n")
    opened = FolderPhotos(folder.photos, table, 32)
    assert (opened.keys, opened.refused) == (["bare"], 4)
    assert opened.table.refused["row"].tolist() == [2, 3, 4, 5]


def test_photos_that_the_downloader_saved_under_safe_keys_are_found(tmp_path):
    (tmp_path / "photos").mkdir()
    jpg = simplejpeg.encode_jpeg(np.full((40, 50, 3), 90, np.uint8))
    (tmp_path / "photos" / f"{safe_key('7f/1a.jpg')}.jpg").write_bytes(jpg)
    (tmp_path / "t.csv").write_text("IMG_ID,LAT,LON\n7f/1a.jpg,1,2\n")
    item = FolderPhotos(tmp_path / "photos", tmp_path / "t.csv", 32)[0]
    assert item["valid"]
    assert item["key"] == "7f/1a.jpg"
