"""Random holes: exactly the share that was drawn, of every kind, and the same for the same seed."""

import numpy as np
import pytest

from models.inpainting.masks import FIELDS, random_hole

KINDS = [*FIELDS, "any"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(40, 40), (24, 57), (1, 1)])
@pytest.mark.parametrize("share", [0.0, 0.13, 0.6, 1.0])
def test_the_share_is_exact(kind, size, share):
    for seed in range(5):
        hole = random_hole(size, np.random.default_rng(seed), (share, share), kind)
        assert hole.shape == size
        assert hole.sum() == round(share * size[0] * size[1])


def test_shares_are_spread_evenly_between_the_limits():
    random = np.random.default_rng(0)
    shares = np.sort([random_hole((32, 32), random, (0.1, 0.5)).mean() for _ in range(300)])
    assert shares[0] >= 0.1 - 1e-3
    assert shares[-1] <= 0.5 + 1e-3
    # Kolmogorov and Smirnov: the greatest distance to the even distribution, 0.1% level.
    even = (shares - 0.1) / 0.4
    assert np.abs(even - np.arange(1, 301) / 300).max() < 1.95 / np.sqrt(300)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_one_hole_and_another_seed_another(kind):
    a, b, c = (random_hole((48, 48), np.random.default_rng(s), (0.2, 0.3), kind) for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize("kind", list(FIELDS))
def test_holes_are_lumps_not_dust(kind):
    """Most neighbours of a pixel in the hole are in it too, unlike with pixels drawn one by one."""
    for seed in range(10):
        hole = random_hole((64, 64), np.random.default_rng(seed), (0.2, 0.2), kind)
        assert (hole[:, 1:] & hole[:, :-1]).sum() / hole.sum() > 0.7  # one by one: 0.2


@pytest.mark.parametrize("kind", list(FIELDS))
def test_holes_are_everywhere(kind):
    random = np.random.default_rng(0)
    often = np.mean([random_hole((16, 16), random, (0.3, 0.3), kind) for _ in range(400)], axis=0)
    assert often.min() > 0.12
    assert often.max() < 0.5


@pytest.mark.parametrize(
    "wrong", [{"kind": "squares"}, {"share": (0.5, 0.2)}, {"share": (0, 2)}, {"size": (0, 3)}]
)
def test_impossible_holes_are_refused(wrong):
    with pytest.raises(ValueError, match=r"need pixels|no holes of kind"):
        random_hole(**{"size": (8, 8), "random": np.random.default_rng(0), **wrong})
