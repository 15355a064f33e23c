"""The order of samples: each once an epoch on all ranks, the same after a resume."""

import sys

import numpy as np
import pytest

from data.sample_order import block_order, dealt
from data.sampler import ResumableSampler

# Seven shards of unequal size, their samples not in one run each.
SHARD_OF = np.random.default_rng(9).choice(7, 61, p=np.arange(1, 8) / 28).astype(np.int32)


def samples(batches):
    return [pick.sample for batch in batches for pick in batch]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("count", "size"), [(1, 1), (10, 3), (12, 4), (7, 100)])
def test_every_sample_once_an_epoch(count, size, shuffle):
    sampler = ResumableSampler(count, size, shuffle=shuffle)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(samples(batches)) == list(range(count))
    assert all(len(batch) == size for batch in batches[:-1])
    assert shuffle or samples(batches) == list(range(count))


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [8, 9, 23, 64])
@pytest.mark.parametrize("size", [1, 4])
def test_ranks_share_an_epoch(size, count, world_size):
    ranks = [ResumableSampler(count, size, 5, r, world_size) for r in range(world_size)]
    epochs = [list(rank) for rank in ranks]
    assert len({tuple(len(batch) for batch in epoch) for epoch in epochs}) == 1
    seen = [s for epoch in epochs for s in samples(epoch)]
    assert set(seen) == set(range(count))
    assert len(seen) - count < world_size, "padding is less than one sample a rank"


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_drop_last_never_repeats(world_size):
    ranks = [ResumableSampler(50, 4, 5, r, world_size, drop_last=True) for r in range(world_size)]
    seen = [s for rank in ranks for s in samples(rank)]
    assert len(seen) == len(set(seen)) == 50 // (4 * world_size) * 4 * world_size
    assert all(len(batch) == 4 for rank in ranks for batch in rank)


def test_more_ranks_than_samples():
    ranks = [ResumableSampler(3, 2, 0, r, 8) for r in range(8)]
    assert {len(list(rank)) for rank in ranks} == {1}
    assert {s for rank in ranks for s in samples(rank)} == {0, 1, 2}


@pytest.mark.parametrize("shards_at_a_time", [1, 2, 3, 7, 50])
def test_blocks_hold_whole_shards(shards_at_a_time):
    """Within an order, the shards of a block are done before those of the next are begun."""
    order = block_order(SHARD_OF, shards_at_a_time, seed=1, epoch=4)
    assert sorted(order.tolist()) == list(range(61))
    shards = SHARD_OF[order].tolist()
    blocks = [set()]
    for shard in shards:
        if shard not in blocks[-1] and len(blocks[-1]) == shards_at_a_time:
            blocks.append(set())
        blocks[-1].add(shard)
    assert sum(map(len, blocks)) == len(set(shards)), "no shard comes again in a later block"


def test_blocks_are_shuffled_within_and_among():
    one, other = (block_order(SHARD_OF, 3, 1, epoch) for epoch in (0, 1))
    assert one.tolist() == block_order(SHARD_OF, 3, 1, 0).tolist()
    assert SHARD_OF[one].tolist() != SHARD_OF[other].tolist()
    first = one[np.isin(SHARD_OF[one], SHARD_OF[one[:20]])][:20]
    assert len(set(SHARD_OF[first].tolist())) > 1
    assert np.any(np.diff(first) < 0)
    assert np.count_nonzero(np.diff(SHARD_OF[one])) > 7, "the shards of a block are mixed"


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [1, 4])
def test_ranks_share_an_epoch_in_blocks(size, world_size):
    ranks = [
        ResumableSampler(61, size, 5, r, world_size, shard_of=SHARD_OF, shards_at_a_time=2)
        for r in range(world_size)
    ]
    epochs = [list(rank) for rank in ranks]
    assert len({tuple(len(batch) for batch in epoch) for epoch in epochs}) == 1
    seen = [s for epoch in epochs for s in samples(epoch)]
    assert set(seen) == set(range(61))
    assert len(seen) - 61 < world_size
    dropping = [
        ResumableSampler(61, size, 5, r, world_size, drop_last=True, shard_of=SHARD_OF)
        for r in range(world_size)
    ]
    seen = [s for rank in dropping for s in samples(rank)]
    assert len(seen) == len(set(seen)) == 61 // (size * world_size) * size * world_size


def test_ranks_keep_to_their_shards_in_blocks():
    """What shards are for: a rank fetches its share of them, and those at the ends of its run."""
    shard_of = np.repeat(np.arange(40), 25)
    ranks = [
        ResumableSampler(1000, 5, 0, r, 4, shard_of=shard_of, shards_at_a_time=2) for r in range(4)
    ]
    fetched = [len(set(shard_of[samples(rank)].tolist())) for rank in ranks]
    assert max(fetched) <= 10 + 2
    together = [len(set(shard_of[samples(ResumableSampler(1000, 5, 0, r, 4))])) for r in range(4)]
    assert min(together) == 40, "a full order needs them all on every rank"


def test_what_is_dealt():
    order = np.array([5, 3, 8, 1, 9])
    assert [dealt(order, r, 2, 3, False).tolist() for r in range(2)] == [[5, 8, 9], [3, 1, 5]]
    assert [dealt(order, r, 2, 3, True).tolist() for r in range(2)] == [[5, 3, 8], [1, 9, 5]]
    assert [dealt(order, r, 2, 2, True).tolist() for r in range(2)] == [[5, 3], [8, 1]]


def test_a_large_epoch_makes_no_list_of_its_samples():
    """Five million numbers as a list are 200 MB; the first batch needs none of it."""
    import tracemalloc

    count = 300_000
    for shard_of in (None, np.arange(count) // 1000):
        sampler = ResumableSampler(count, 64, shard_of=shard_of)
        next(iter(sampler))
        tracemalloc.start()
        batches = iter(sampler)
        first = [next(batches) for _ in range(50)]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(first) == 50
        assert peak < count * sys.getsizeof(10**9) / 4


def test_upcoming_is_what_comes():
    sampler = ResumableSampler(61, 4, shard_of=SHARD_OF)
    sampler.seek(2, 3)
    assert sampler.upcoming(9).tolist() == samples(sampler)[:9]
    assert sampler.upcoming(1000).tolist() == samples(sampler)


def test_states_from_before_there_were_blocks():
    sampler = ResumableSampler(20, 4, 1)
    sampler.advance()
    old = {k: v for k, v in sampler.state_dict().items() if "shard" not in k}
    other = ResumableSampler(20, 4, 1)
    other.load_state_dict(old)
    assert list(other) == list(sampler)


def test_another_way_of_sharding_is_refused():
    state = ResumableSampler(61, 4, shard_of=SHARD_OF).state_dict()
    for other, what in (
        ({"shard_of": SHARD_OF[::-1]}, "sharding"),
        ({"shard_of": SHARD_OF, "shards_at_a_time": 3}, "shards_at_a_time"),
        ({}, "shards_at_a_time"),
    ):
        with pytest.raises(ValueError, match=f"had {what}"):
            ResumableSampler(61, 4, **other).load_state_dict(state)


def test_epochs_and_seeds_differ():
    sampler = ResumableSampler(100, 10)
    first = samples(sampler)
    assert samples(sampler) == first, "without advance it stays where it is"
    sampler.seek(1)
    assert samples(sampler) != first
    assert samples(ResumableSampler(100, 10, seed=1)) != first
    assert [pick.epoch for batch in sampler for pick in batch] == [1] * 100


@pytest.mark.parametrize("settings", [{}, {"shard_of": SHARD_OF[:23], "shards_at_a_time": 2}])
def test_resume_anywhere_gives_the_rest(settings):
    sampler = ResumableSampler(23, 4, seed=3, rank=1, world_size=2, **settings)
    whole = list(sampler)
    for done in range(len(whole)):
        other = ResumableSampler(23, 4, seed=3, rank=1, world_size=2, **settings)
        other.load_state_dict(sampler.state_dict())
        assert list(other) == whole[done:]
        assert len(other) == len(whole)
        sampler.advance()
    assert (sampler.epoch, sampler.offset) == (1, 0)


def test_state_is_plain_and_the_same_on_every_rank():
    states = [ResumableSampler(20, 4, 1, r, 2).state_dict() for r in range(2)]
    assert states[0] == states[1]
    assert all(type(value) in (int, bool) for value in states[0].values())


@pytest.mark.parametrize(
    "other",
    [
        {"num_samples": 21},
        {"batch_size": 5},
        {"seed": 2},
        {"world_size": 3},
        {"drop_last": True},
        {"shuffle": False},
    ],
)
def test_another_order_is_refused(other):
    settings = {"num_samples": 20, "batch_size": 4, "seed": 1}
    state = ResumableSampler(**settings).state_dict()
    with pytest.raises(ValueError, match=f"had {next(iter(other))}"):
        ResumableSampler(**{**settings, **other}).load_state_dict(state)


def test_bad_settings():
    for settings in (
        {"num_samples": 0, "batch_size": 1},
        {"num_samples": 3, "batch_size": 0},
        {"num_samples": 3, "batch_size": 1, "rank": 2, "world_size": 2},
        {"num_samples": 3, "batch_size": 4, "drop_last": True},
        {"num_samples": 3, "batch_size": 1, "seed": -1},
        {"num_samples": 3, "batch_size": 1, "shard_of": np.zeros(4)},
        {"num_samples": 3, "batch_size": 1, "shard_of": np.zeros(3), "shards_at_a_time": 0},
    ):
        with pytest.raises(ValueError, match="batch"):
            ResumableSampler(**settings)
