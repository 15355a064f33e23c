"""Batches through shared memory: equal to torch's own, and never overwritten."""

import pytest
import torch
from torch.utils.data import default_collate

from data.batch import BatchPacker
from data.sampler import ResumableSampler
from data.shards import Index
from data.stream import PhotoStream, batches
from data.transforms import TrainTransform


@pytest.fixture
def stream(write_shards):
    return PhotoStream(
        Index.open(write_shards(23, 8, height=40, width=40)), None, TrainTransform(8)
    )


def assert_same(batch, expected):
    assert batch.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert batch[name].dtype == value.dtype, name
            assert torch.equal(batch[name], value), name
        else:
            assert batch[name] == value, name


@pytest.mark.parametrize("rows", [[0], [2, 5], [0, 1, 2, 3]], ids=["one", "no map", "some maps"])
def test_equals_torchs_own(rows, stream):
    items = [stream[row] for row in rows]
    packer = BatchPacker(4, 8, workers=0)
    assert_same(packer.unpack(packer(items)), default_collate(items))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_of_workers_stay_as_they_were(workers, stream):
    """All batches are kept while workers go on writing; the epoch is broken off once."""
    sampler = ResumableSampler(23, 2, shuffle=False)
    loader = batches(stream, sampler, workers)
    expected = [
        default_collate([stream[pick] for pick in batch])
        for epoch in (0, 1)
        for batch in epoch_of(epoch)
    ]
    kept = []
    for batch in loader:
        kept.append(batch)
        if len(kept) == 5:
            break
    for _ in range(2):
        kept += list(loader)
    assert len(kept) == len(expected) == 24
    for batch, other in zip(kept, expected, strict=True):
        assert_same(batch, other)


def epoch_of(epoch):
    sampler = ResumableSampler(23, 2, shuffle=False)
    sampler.seek(epoch)
    return list(sampler)


def test_slow_and_fast_consumers(stream):
    """The place of a batch is written again only after the next one was asked for."""
    import time

    loader = batches(stream, ResumableSampler(23, 1, shuffle=False), workers=1)
    for number, batch in enumerate(loader):
        seen = batch["rgb"].clone()
        if number < 6:
            time.sleep(0.02)  # the worker fills every place it may
        assert torch.equal(batch["rgb"], seen)
        assert torch.equal(seen[0], stream[number]["rgb"])


def test_a_batch_is_no_view_of_shared_memory(stream):
    first = next(iter(batches(stream, ResumableSampler(23, 4), workers=1)))
    assert not first["rgb"].is_shared()
    assert not first["seg"].is_shared()


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_for_a_gpu(workers, stream):
    sampler = ResumableSampler(23, 4, shuffle=False)
    loader = batches(stream, sampler, workers, pin_memory=True)
    for batch, picks in zip(loader, epoch_of(0)[::2], strict=False):
        assert all(v.is_pinned() for v in batch.values() if isinstance(v, torch.Tensor))
        assert torch.equal(batch["rgb"][0].cuda().cpu(), stream[picks[0]]["rgb"])
