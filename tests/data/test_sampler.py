"""The order of samples: each once an epoch on all ranks, the same after a resume."""

import pytest

from data.sampler import ResumableSampler


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


def test_epochs_and_seeds_differ():
    sampler = ResumableSampler(100, 10)
    first = samples(sampler)
    assert samples(sampler) == first, "without advance it stays where it is"
    sampler.seek(1)
    assert samples(sampler) != first
    assert samples(ResumableSampler(100, 10, seed=1)) != first
    assert [pick.epoch for batch in sampler for pick in batch] == [1] * 100


def test_resume_anywhere_gives_the_rest():
    sampler = ResumableSampler(23, 4, seed=3, rank=1, world_size=2)
    whole = list(sampler)
    for done in range(len(whole)):
        other = ResumableSampler(23, 4, seed=3, rank=1, world_size=2)
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
    ):
        with pytest.raises(ValueError, match="batch"):
            ResumableSampler(**settings)
