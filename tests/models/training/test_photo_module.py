"""Loaders over a data directory, and what is wrong with unusable ones."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import simplejpeg

from data.index import Index
from data.shards import ShardWriter
from data.synthetic import write_synthetic_shards
from models.training.photo_module import PhotoModule
from partitioning import partition as partition_file
from partitioning.partition import build_partition

T = {"coarse": (2, 40), "middle": (2, 20), "fine": (2, 10)}
ONE = {"coarse": (1, 1), "middle": (1, 1), "fine": (1, 1)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic_shards(tmp_path_factory.mktemp("data"))


def opened(data, thresholds=T, batch_size=16, **arguments):
    photos = PhotoModule(data, thresholds, 16, batch_size, workers=0, **arguments)
    photos.setup("fit")
    return photos


def write_world(folder, positions):
    jpg = simplejpeg.encode_jpeg(np.full((20, 20, 3), 99, np.uint8))
    for split in ("train", "val"):
        with ShardWriter(folder / split) as writer:
            for i, (lat, lon) in enumerate(positions):
                writer.write(f"{split}{i}", jpg, {"lat": lat, "lon": lon}, None)
    return folder


def test_cells_are_cut_from_the_training_photos(data):
    photos = opened(data)
    train = Index.open(data / "train")
    assert photos.partition.fingerprint == build_partition(train.lat, train.lon, T).fingerprint
    assert (photos.num_train, photos.num_val) == (96, 32)


def test_cells_of_the_directory_are_used(data, tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).symlink_to(data / split)
    train = Index.open(data / "train")
    other = build_partition(train.lat, train.lon, {**T, "fine": (2, 5)})
    partition_file.save(other, tmp_path / "cells.parquet")
    photos = opened(tmp_path)
    assert photos.partition.fingerprint == other.fingerprint
    expected = other.assign(train.lat, train.lon)
    np.testing.assert_array_equal(photos.train_stream.cells, expected)


def test_cells_of_another_world_are_refused(data, tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).symlink_to(data / split)
    elsewhere = build_partition(np.full(9, -80.0), np.linspace(0, 1, 9), T)
    partition_file.save(elsewhere, tmp_path / "cells.parquet")
    with pytest.raises(ValueError, match=r"no training photo lies in a cell of .*cells\.parquet"):
        opened(tmp_path)


@pytest.mark.parametrize("missing", ["train", "val"])
def test_a_missing_split_is_named(missing, data, tmp_path):
    there = {"train": "val", "val": "train"}[missing]
    (tmp_path / there).symlink_to(data / there)
    with pytest.raises(ValueError, match=rf"no shards in .*{missing}.*setup\.build_shards"):
        opened(tmp_path)


def test_a_world_of_one_photo(tmp_path):
    photos = opened(write_world(tmp_path, [(10.0, 20.0)]), ONE)
    assert [len(cells) for cells in photos.partition.levels.values()] == [1, 1, 1]
    batch = next(iter(photos.train_dataloader()))
    assert batch["cells"].tolist() == [[0, 0, 0]]
    assert (batch["scene"].tolist(), batch["has_seg"].tolist()) == ([-1], [False])
    with pytest.raises(ValueError, match="lower t_min"):
        opened(tmp_path, T)


def test_the_line_for_the_user_counts(data):
    photos = opened(data)
    items = [photos.train_stream[i] for i in range(96)]
    outside = sum(int(item["cells"][2]) < 0 for item in items)
    scenes, maps = (
        sum(f(i) for i in items) for f in (lambda i: i["scene"] >= 0, lambda i: i["has_seg"])
    )
    line = photos.describe()
    assert (
        f"96 training photos ({outside} in no fine cell, {scenes} with a scene, {maps} with a seg"
        in line
    )
    assert "32 validation photos" in line
    for level, cells in photos.partition.levels.items():
        assert f"{len(cells)} {level}" in line
    assert outside
    assert 0 < scenes < 96


@pytest.mark.parametrize("scene", [0, 1, 2])
def test_one_scene_only(scene, data):
    photos = opened(data, scene_of_interest=scene)
    for split, loader in (("train", photos.train_dataloader()), ("val", photos.val_dataloader())):
        index = Index.open(data / split)
        wanted = {index.key(i) for i in np.flatnonzero(index.scene == scene)}
        seen = [key for batch in loader for key in batch["key"]]
        assert set(seen) <= wanted
        assert len(wanted) - len(seen) < (16 if split == "train" else 1)
    maps = sum(photos.train_stream[i]["has_seg"] for i in range(photos.num_train))
    assert photos.num_maps == maps


def test_maps_are_not_read_for_a_photo_only_model(data):
    photos = opened(data, use_seg=False)
    assert not any(batch["has_seg"].any() for batch in photos.train_dataloader())


def test_validation_is_every_photo_once_in_order(data):
    keys = [key for batch in opened(data, batch_size=10).val_dataloader() for key in batch["key"]]
    assert keys == Index.open(data / "val").keys()


@pytest.mark.parametrize(("size", "batches", "photos"), [(36, 2, 72), (96, 1, 96), (500, 1, 96)])
def test_training_batches_are_full_where_there_are_enough_photos(size, batches, photos, data):
    loader = opened(data, batch_size=size).train_dataloader()
    taken = list(loader)
    assert len(taken) == len(loader) == batches
    assert sum(len(batch["key"]) for batch in taken) == photos


def test_state_goes_on_after_the_batches_seen(data):
    whole = opened(data)
    loader = whole.train_dataloader()
    keys = [batch["key"] for _ in range(2) for batch in loader]
    first = opened(data)
    assert first.state_dict() == {}
    iterator = iter(first.train_dataloader())
    seen = [next(iterator)["key"] for _ in range(4)]
    state = first.state_dict()
    for loads_first in (True, False):
        second = opened(data)
        loader = second.train_dataloader()
        second.load_state_dict(state)
        if loads_first:
            loader = second.train_dataloader()
        rest = [batch["key"] for _ in range(2) for batch in loader]
        assert seen + rest == keys
    other = opened(data, batch_size=8)
    other.load_state_dict(state)
    with pytest.raises(ValueError, match="had batch_size 16, this one has 8"):
        other.train_dataloader()


def test_undecodable_photos_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    good = simplejpeg.encode_jpeg(noise)
    for split in ("train", "val"):
        with ShardWriter(tmp_path / split) as writer:
            for i in range(4):
                jpg = good[:-200] if i == 2 else good
                writer.write(f"p{i}", jpg, {"lat": 1.0, "lon": 2.0}, None)
    photos = opened(tmp_path, {level: (1, 9) for level in T}, 2)
    assert photos.undecodable == {}
    list(photos.train_dataloader())
    assert list(photos.undecodable) == ["p2"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_workers_error_is_one_line(workers, data, monkeypatch):
    photos = PhotoModule(data, T, 16, 16, workers=workers)
    photos.setup("fit")

    def refuse(*_):
        raise ValueError("p7 is 3 x 4 and its map 4 x 3")

    monkeypatch.setattr("data.stream.check_same_size", refuse)  # forked workers see it too
    with pytest.raises(ValueError, match=r"^p7 is 3 x 4 and its map 4 x 3$"):
        list(photos.val_dataloader())


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def url_of(monkeypatch, tmp_path):
    """Serve a folder over loopback."""
    monkeypatch.setattr("data.sharding.remote.CACHE", tmp_path / "cache")
    servers = []

    def serve(folder):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("has_cells", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_photos_elsewhere_are_those_here(data, url_of, tmp_path, has_cells):
    folder = tmp_path / "served"
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        for file in (data / split).iterdir():
            (folder / split / file.name).write_bytes(file.read_bytes())
    if has_cells:
        train = Index.open(data / "train")
        partition_file.save(build_partition(train.lat, train.lon, ONE), folder / "cells.parquet")
    here, there = opened(folder), opened(url_of(folder))
    assert there.partition.fingerprint == here.partition.fingerprint
    assert there.num_maps == here.num_maps > 0
    ours, theirs = (
        sorted(key for batch in photos.train_dataloader() for key in batch["key"])
        for photos in (here, there)
    )
    assert theirs == ours


def test_a_host_without_shards_is_named(url_of, tmp_path, monkeypatch):
    monkeypatch.setattr("data.sharding.remote_folder.WAITS_S", ())
    with pytest.raises(OSError, match=r"/train/manifest\.parquet is not there; check the URL"):
        opened(url_of(tmp_path))
