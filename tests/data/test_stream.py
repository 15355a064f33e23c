"""The training stream: items, workers of both kinds, resume to the pixel."""

import logging
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from data.images import decode_rgb, decode_seg
from data.sampler import Pick, ResumableSampler
from data.shards import Index, ShardWriter, build_index, verify
from data.stream import PhotoStream, augmentation_seed, batches, order_for
from data.transforms import EvalTransform, TrainTransform
from partitioning.partition import build_partition


@pytest.fixture
def stream(write_shards):
    index = Index.open(write_shards(21, 8, height=48, width=64))
    return PhotoStream(index, None, TrainTransform(16, mirror=0.5, jitter=0.3), seed=7)


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, other[name]), name
            else:
                assert value == other[name], name


def take(loader, sampler, count):
    """The next `count` batches, over epoch ends, and the states after each."""
    taken, states = [], []
    while len(taken) < count:
        for batch in loader:
            taken.append(batch)
            states.append(sampler.state_dict())
            if len(taken) == count:
                break
    return taken, states


def test_item(stream, write_shards):
    item = stream[4]
    assert (item["key"], item["index"], item["valid"], item["error"]) == ("photo_004", 4, True, "")
    assert (item["lat"], item["lon"], item["scene"]) == (-56.0, 104.0, 1)
    assert item["rgb"].shape == (3, 16, 16)
    assert item["seg"].shape == (16, 16)
    assert item["has_seg"]
    assert item["cells"].tolist() == [-1, -1, -1]
    without = stream[5]
    assert not without["has_seg"]
    assert not without["seg"].any()


def test_batch_types(stream):
    batch = next(iter(batches(stream, ResumableSampler(21, 4))))
    types = {k: (v.dtype, tuple(v.shape)) for k, v in batch.items() if torch.is_tensor(v)}
    assert types == {
        "rgb": (torch.uint8, (4, 3, 16, 16)),
        "seg": (torch.uint8, (4, 16, 16)),
        "has_seg": (torch.bool, (4,)),
        "cells": (torch.int64, (4, 3)),
        "scene": (torch.int64, (4,)),
        "lat": (torch.float64, (4,)),
        "lon": (torch.float64, (4,)),
        "index": (torch.int64, (4,)),
        "valid": (torch.bool, (4,)),
    }
    assert len(batch["key"]) == 4


def test_equals_decoding_by_hand(write_shards):
    index = Index.open(write_shards(6, height=48, width=64))
    stream = PhotoStream(index, None, EvalTransform(48))
    for row in range(6):
        sample, item = index.read(row), stream[row]
        pixels = decode_rgb(sample.jpg)[:, 8:56]
        assert torch.equal(item["rgb"], torch.from_numpy(pixels.copy()).permute(2, 0, 1))
        if sample.seg_png:
            seg = decode_seg(sample.seg_png)[:, 8:56]
            np.testing.assert_array_equal(item["seg"].numpy(), seg)


@pytest.mark.parametrize(
    ("workers", "start_method"),
    [(0, None), (2, "fork"), pytest.param(2, "spawn", marks=pytest.mark.timeout(110))],
)
def test_exact_resume(workers, start_method, stream):
    sampler = ResumableSampler(21, 4, seed=3)
    per_epoch = len(sampler)
    assert per_epoch == 6
    whole, states = take(batches(stream, sampler), sampler, 3 * per_epoch)

    # 1.5 epochs, with workers that load ahead of what was handed out.
    sampler = ResumableSampler(21, 4, seed=3)
    # Workers forked here and spawned after the restart, which is the slower way, once.
    loader = batches(stream, sampler, workers, "fork" if workers else None)
    done = per_epoch + per_epoch // 2
    first, _ = take(loader, sampler, done)
    assert_same(first, whole[:done])
    state = pickle.loads(pickle.dumps(sampler.state_dict()))
    assert state == states[done - 1]
    del loader

    fresh = PhotoStream(Index.open(stream.index.directory), None, stream.transform, seed=7)
    sampler = ResumableSampler(21, 4, seed=3)
    sampler.load_state_dict(state)
    rest, _ = take(batches(fresh, sampler, workers, start_method), sampler, 3 * per_epoch - done)
    assert_same(rest, whole[done:])


def test_a_broken_off_epoch_goes_on(stream):
    sampler = ResumableSampler(21, 4)
    loader = batches(stream, sampler, 2, "fork")
    first = [batch for batch, _ in zip(loader, range(2), strict=False)]
    # zip asked for a third batch before it saw the end of range.
    assert sampler.offset in (2, 3)
    sampler.seek(0, 2)
    rest = list(loader)
    keys = [key for batch in [*first, *rest] for key in batch["key"]]
    assert sorted(keys) == sorted(stream.index.keys())


@pytest.mark.parametrize("order", ["full", "blocks"])
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_see_every_sample_once(world_size, workers, order, stream):
    """21 samples in batches of 2: on two ranks, one is seen again; or none, and some left out."""
    shard_of = stream.shard_of if order == "blocks" else None
    for drop_last in (False,) if workers else (False, True):
        keys, lengths = [], []
        for rank in range(world_size):
            sampler = ResumableSampler(
                21, 2, 0, rank, world_size, drop_last, shard_of=shard_of, shards_at_a_time=2
            )
            epoch = [batch["key"] for batch in batches(stream, sampler, workers)]
            assert len(epoch) == len(sampler)
            lengths.append([len(batch) for batch in epoch])
            keys += [key for batch in epoch for key in batch]
        assert lengths == [lengths[0]] * world_size
        if drop_last:
            assert len(keys) == len(set(keys)) == 21 // (2 * world_size) * 2 * world_size
        else:
            assert set(keys) == set(stream.index.keys())
            assert len(keys) == 21 + -21 % world_size


@pytest.mark.parametrize(
    ("order", "before", "after"),
    [("full", 2, 0), ("full", 0, 2), ("full", 1, 2), ("blocks", 2, 1), ("blocks", 0, 2)],
)
def test_resume_with_another_number_of_workers(order, before, after, stream):
    def loader_of(workers):
        shard_of = stream.shard_of if order == "blocks" else None
        sampler = ResumableSampler(21, 2, 4, shard_of=shard_of, shards_at_a_time=1)
        return batches(stream, sampler, workers), sampler

    loader, sampler = loader_of(0)
    whole, _ = take(loader, sampler, 16)
    loader, sampler = loader_of(before)
    first, states = take(loader, sampler, 5)
    loader, sampler = loader_of(after)
    sampler.load_state_dict(states[-1])
    rest, _ = take(loader, sampler, 11)
    assert_same([*first, *rest], whole)


def test_another_number_of_processes_is_refused(stream):
    state = ResumableSampler(21, 2, world_size=2).state_dict()
    with pytest.raises(ValueError, match="had world_size 2, this one has 3: resume with the same"):
        ResumableSampler(21, 2, world_size=3).load_state_dict(state)


def test_order_for_local_shards_is_full(stream):
    sampler = order_for(stream, 4, seed=2, drop_last=True)
    assert (sampler.shards_at_a_time, sampler.seed, sampler.drop_last) == (0, 2, True)


def test_forked_workers_share_the_keys(stream):
    assert "_keys" not in vars(stream.index), "keys are not read before they are wanted"
    batches(stream, ResumableSampler(21, 4))
    assert "_keys" in vars(stream.index)


def test_augmentation_depends_on_seed_epoch_and_sample(stream):
    one = stream[Pick(0, 3)]["rgb"]
    assert torch.equal(one, stream[3]["rgb"])
    assert not torch.equal(one, stream[Pick(1, 3)]["rgb"])
    other = PhotoStream(stream.index, None, stream.transform, seed=8)
    assert not torch.equal(one, other[3]["rgb"])
    seeds = {augmentation_seed(s, e, r) for s in range(5) for e in range(5) for r in range(50)}
    assert len(seeds) == 5 * 5 * 50


def test_cells_are_the_partitions(write_shards):
    index = Index.open(write_shards(21))
    thresholds = {"coarse": (1, 12), "middle": (1, 6), "fine": (1, 3)}
    partition = build_partition(index.lat, index.lon, thresholds)
    stream = PhotoStream(index, partition, EvalTransform(16))
    expected = partition.assign(index.lat, index.lon)
    assert len(np.unique(expected[:, 2])) > 3
    for i in range(21):
        assert stream[i]["cells"].tolist() == expected[i].tolist()


@pytest.mark.parametrize("scene", [0, 1, 2])
def test_scene_of_interest(scene, write_shards):
    index = Index.open(write_shards(20))
    stream = PhotoStream(index, None, EvalTransform(16), scene_of_interest=scene)
    items = [stream[i] for i in range(len(stream))]
    assert [item["index"] for item in items] == list(range(scene, 20, 3))
    assert {item["scene"] for item in items} == {scene}
    assert len(PhotoStream(index, None, EvalTransform(16), scene_of_interest=3)) == 20
    with pytest.raises(ValueError, match="0, 1, 2 or 3"):
        PhotoStream(index, None, EvalTransform(16), scene_of_interest=4)


def test_no_sample_of_a_scene(write_shards):
    with pytest.raises(ValueError, match="no sample of scene 2"):
        PhotoStream(Index.open(write_shards(2)), None, EvalTransform(16), scene_of_interest=2)


@pytest.mark.parametrize("workers", [0, 2])
def test_undecodable_samples_keep_their_place(workers, tmp_path, jpeg, encode, caplog):
    with ShardWriter(tmp_path) as writer:
        for i in range(10):
            photo = jpeg(40, 40, i)
            cut = photo[:-60] if i in (3, 7) else photo
            seg = encode(np.full((40, 40), i, np.uint8))
            seg = seg[: len(seg) // 2] if i == 5 else seg
            writer.write(f"p{i}", cut, {"lat": i, "lon": i, "s3": [1, 0, 0]}, seg)
    stream = PhotoStream(Index.open(tmp_path), None, EvalTransform(16))
    loader = batches(stream, ResumableSampler(10, 4, shuffle=False), workers)
    with caplog.at_level(logging.WARNING):
        got = list(loader)
    valid = torch.cat([batch["valid"] for batch in got]).tolist()
    assert valid == [i not in (3, 5, 7) for i in range(10)]
    assert [key for batch in got for key in batch["key"]] == [f"p{i}" for i in range(10)]
    assert sorted(loader.undecodable) == ["p3", "p5", "p7"]
    assert "p3: truncated" in loader.undecodable["p3"]
    assert "p5's segmentation map" in loader.undecodable["p5"]
    assert len(caplog.records) == 3
    bad = stream[3]
    assert not bad["rgb"].any()
    assert (bad["scene"], bad["has_seg"], bad["lat"]) == (-1, False, 3.0)
    list(loader)
    assert len(loader.undecodable) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_garbage_costs_the_samples_it_hits_and_no_other(workers, write_shards):
    folder = write_shards(20, 20, height=48, width=64)
    whole = list(
        batches(
            PhotoStream(Index.open(folder), None, EvalTransform(16)),
            ResumableSampler(20, 4, shuffle=False),
        )
    )
    path = folder / "shard-000000.tar"
    start = path.stat().st_size // 2
    with path.open("r+b") as file:
        file.seek(start)
        file.write(np.random.default_rng(2).bytes(4096))
    hit = set(verify(folder).keys("lost", "altered", "damaged"))
    loader = batches(
        PhotoStream(Index.open(folder), None, EvalTransform(16)),
        ResumableSampler(20, 4, shuffle=False),
        workers,
    )
    got = list(loader)
    assert 0 < len(loader.undecodable) <= len(hit) <= 4
    assert set(loader.undecodable) <= hit
    for before, after in zip(whole, got, strict=True):
        assert before["key"] == after["key"]
        for i, key in enumerate(before["key"]):
            assert key in hit or torch.equal(before["rgb"][i], after["rgb"][i])


def test_mismatched_map_names_the_key(tmp_path, jpeg, encode):
    import io
    import tarfile

    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in (
            ("odd_one.jpg", jpeg(40, 50)),
            ("odd_one.json", b'{"lat": 1, "lon": 2}'),
            ("odd_one.seg.png", encode(np.zeros((50, 40), np.uint8))),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    build_index(tmp_path)
    index = Index.open(tmp_path)
    with pytest.raises(ValueError, match="odd_one is 50 x 40 and its segmentation map 40 x 50"):
        PhotoStream(index, None, EvalTransform(16))[0]
    assert PhotoStream(index, None, EvalTransform(16), use_seg=False)[0]["valid"]


def test_large_photos_are_decoded_small_and_stay_aligned(tmp_path, encode):
    columns = np.broadcast_to(np.linspace(0, 255, 517)[None], (389, 517)).round().astype(np.uint8)
    photo = np.repeat(columns[:, :, None], 3, axis=2)
    with ShardWriter(tmp_path) as writer:
        jpg = encode(photo, "JPEG", quality=98, subsampling=0)
        writer.write("ramp", jpg, {"lat": 0, "lon": 0}, encode(columns))
    stream = PhotoStream(Index.open(tmp_path), None, TrainTransform(70, (0.1, 1.0), mirror=0.5))
    factors = set()
    for epoch in range(30):
        generator = torch.Generator().manual_seed(augmentation_seed(0, epoch, 0))
        factors.add(stream.transform.geometry(389, 517, generator).factor)
        item = stream[Pick(epoch, 0)]
        assert (item["rgb"][1].int() - item["seg"].int()).abs().float().mean() < 2.5
    assert factors == {1, 2, 4}


def test_wrong_sampler(stream):
    with pytest.raises(ValueError, match="orders 20 samples, the stream has 21"):
        batches(stream, ResumableSampler(20, 4))


@pytest.mark.parametrize("size", [(130, 198), (132, 196), (131, 200)])
def test_a_turned_photo_is_cut_where_an_upright_one_is(tmp_path, encode, size):
    """4 does not divide both edges: the decoder takes 2, which is not what the crop asked for."""
    height, width = size
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    pixels = np.dstack([np.tile(ramp, (height, 1))] * 2 + [np.full((height, width), 90, np.uint8)])
    exif = Image.Exif()
    exif[0x0112] = 6
    jpg = encode(pixels, "JPEG", quality=98, subsampling=0, exif=exif)
    labels = np.tile((ramp // 16)[::-1][None], (height, 1)).T
    with ShardWriter(tmp_path / "shards") as writer:
        writer.write("a", jpg, {"lat": 1.0, "lon": 2.0}, encode(np.ascontiguousarray(labels[::-1])))
    transform = EvalTransform(16)
    item = PhotoStream(Index.open(tmp_path / "shards"), None, transform, use_seg=True)[0]
    assert item["error"] == ""
    full = torch.from_numpy(decode_rgb(jpg)).permute(2, 0, 1)
    generator = torch.Generator()
    geometry = transform.geometry(*full.shape[1:], generator)
    expected, _ = transform.apply(full, None, geometry, generator)
    assert (item["rgb"].int() - expected.int()).abs().max() <= 4
    shown = item["rgb"][0].float().mean(dim=1)  # grows from row to row, as the classes do
    classes = item["seg"].float().mean(dim=1)
    assert torch.corrcoef(torch.stack([shown, classes]))[0, 1] > 0.95
