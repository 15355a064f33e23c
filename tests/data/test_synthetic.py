"""Synthetic shards are what they say and the same every time."""

import numpy as np
import pytest

from data.images import decode_rgb, decode_seg
from data.index import Index
from data.synthetic import CENTRES, write_synthetic_shards
from data.verify import verify
from partitioning.geodesy import haversine_km


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_synthetic_shards(tmp_path_factory.mktemp("synthetic"), 80, 15, 24)


@pytest.mark.parametrize(("split", "count"), [("train", 80), ("val", 15)])
def test_what_is_written(split, count, shards):
    index = Index.open(shards / split)
    assert len(index) == count
    assert index.has_seg.tolist() == [i % 3 != 0 for i in range(count)]
    assert index.scene.tolist() == [i % 3 if i % 5 else -1 for i in range(count)]
    assert not verify(shards / split).problems
    for i in range(count):
        lat, lon = CENTRES[i % 4]
        assert haversine_km(index.lat[i], index.lon[i], lat, lon) < 2500


def test_a_picture_tells_its_place(shards):
    index = Index.open(shards / "train")
    colours = np.array([decode_rgb(index.read(i).jpg).mean((0, 1)) for i in range(len(index))])
    assert np.corrcoef(colours[:, 0], index.lat)[0, 1] > 0.95
    assert np.corrcoef(colours[:, 1], index.lon)[0, 1] > 0.95
    for i in np.flatnonzero(index.has_seg):
        seg = decode_seg(index.read(int(i)).seg_png)
        assert (seg == (index.lat[i] + 90) // 30).all()


def test_the_splits_differ_and_each_is_the_same_every_time(shards, tmp_path):
    train, val = Index.open(shards / "train"), Index.open(shards / "val")
    assert not set(train.lat) & set(val.lat)
    again = write_synthetic_shards(tmp_path, 1, 15, 24)
    for name in ("shard-000000.tar", "index.parquet"):
        first, second = (root / "val" / name for root in (shards, again))
        assert first.read_bytes() == second.read_bytes()


def test_what_is_there_is_kept(shards):
    before = {path: path.stat().st_mtime_ns for path in shards.rglob("*.*")}
    assert write_synthetic_shards(shards, 5, 5) == shards
    assert {path: path.stat().st_mtime_ns for path in shards.rglob("*.*")} == before
