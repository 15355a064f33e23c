"""Sums and counts: not means of means, the same names on every rank."""

import numpy as np
import pytest
import torch

from models.training.tally import Tally


def test_uneven_batches_on_uneven_ranks_are_one_mean():
    rng = np.random.default_rng(0)
    values = rng.normal(size=57)
    ranks = [Tally(["a", "empty"]) for _ in range(3)]
    pieces = np.split(values, [5, 6, 30, 31, 50])
    for number, piece in enumerate(pieces):
        ranks[number % 2].add("a", float(piece.sum()), len(piece))  # the third rank has none
    together = sum(rank._sums for rank in ranks)
    for rank in ranks:
        assert rank.means(lambda _: together) == {"a": pytest.approx(values.mean())}
    means_of_means = np.mean([piece.mean() for piece in pieces])
    assert means_of_means != pytest.approx(values.mean(), rel=1e-3)


def test_nothing_over_nothing_adds_nothing():
    tally = Tally(["a"])
    tally.add("a", torch.tensor(float("nan")), torch.tensor(0))
    assert tally.means() == {}
    tally.add("a", torch.tensor(6.0), torch.tensor(3))
    assert tally.means() == {"a": 2.0}


def test_many_small_numbers_keep_their_digits():
    tally = Tally(["a"])
    for _ in range(1000):
        tally.add("a", torch.tensor(1e8, dtype=torch.float32), 1)
        tally.add("a", torch.tensor(1.0), 1)
    assert tally.means()["a"] == pytest.approx((1e8 + 1) / 2, rel=1e-12)


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError):
        Tally(["a"]).add("b", 1.0, 1)
