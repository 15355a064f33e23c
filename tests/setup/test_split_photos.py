"""Splits: whole groups, near their shares, whatever the order of the photos."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from setup.split_photos import split_photos


def smallest_group(groups, split, number):
    """Photos of the smallest group that is in this split or in training."""
    return np.unique(groups[(split == number) | (split == 0)], return_counts=True)[1].min()


@given(
    st.lists(st.integers(0, 30), min_size=60, max_size=200),
    st.sampled_from([(0.1, 0.0), (0.2, 0.2), (0.0, 0.3), (0.0, 0.0)]),
    st.integers(0, 5),
)
def test_groups_stay_whole_and_shares_are_not_exceeded(groups, shares, seed):
    assume(len(set(groups)) >= 3)
    split = split_photos(groups, *shares, seed)
    groups = np.array(groups)
    for group in np.unique(groups):
        assert len(set(split[groups == group])) == 1
    for number, share in zip((1, 2), shares, strict=True):
        count = (split == number).sum()
        if share:
            assert (
                0
                < count
                <= max(1, round(share * len(groups)), smallest_group(groups, split, number))
            )
        else:
            assert count == 0


def test_shares_are_met_where_groups_are_small():
    split = split_photos(range(1000), 0.1, 0.2)
    assert np.bincount(split).tolist() == [700, 100, 200]
    fives = split_photos([i // 5 for i in range(1000)], 0.1, 0.2)
    assert np.bincount(fives).tolist() == [700, 100, 200]


def test_the_draw_hangs_on_names_and_seed_alone():
    groups = [f"author {i % 40}" for i in range(400)]
    split = split_photos(groups, 0.2, 0.1)
    order = np.random.default_rng(0).permutation(400)
    shuffled = split_photos([groups[i] for i in order], 0.2, 0.1)
    np.testing.assert_array_equal(shuffled, split[order])
    assert (split != split_photos(groups, 0.2, 0.1, seed=1)).any()


def test_a_split_that_no_group_fits_takes_the_smallest():
    groups = ["a"] * 5 + ["b"] * 3 + ["c"] * 12
    assert split_photos(groups, 0.1, 0.0).tolist() == [0] * 5 + [1] * 3 + [0] * 12
    assert split_photos(groups, 0.1, 0.1).tolist() == [2] * 5 + [1] * 3 + [0] * 12


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.6, 0.4), (-0.1, 0.0), (float("nan"), 0.0)])
def test_unusable_shares(shares):
    with pytest.raises(ValueError, match="neither may be negative"):
        split_photos(range(10), *shares)


@pytest.mark.parametrize(
    ("groups", "shares", "name"),
    [
        (["one"] * 10, (0.1, 0.0), "train"),  # one photographer cannot be divided
        (["a"], (0.1, 0.0), "train"),
        (["a", "b"], (0.1, 0.1), "train"),
        (["a"] * 20, (0.1, 0.1), "train"),
        ([], (0.1, 0.0), "train"),
    ],
)
def test_a_split_without_photos_is_an_error(groups, shares, name):
    with pytest.raises(ValueError, match=f"the {name} split has no photo"):
        split_photos(groups, *shares)
