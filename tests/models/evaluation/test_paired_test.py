"""The paired test beside sums of binomials and resampled photos."""

import math

import numpy as np
import pytest

from models.evaluation.paired_test import compare, difference_interval, mcnemar, median_difference


def coin_tail(b, c):
    n = b + c
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(b, c) + 1)) / 2**n)


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0, 0), (1, 0), (5, 5), (3, 12), (0, 10), (40, 70), (300, 371)]
)
def test_mcnemar_is_an_exact_sum(only_a, only_b):
    assert mcnemar(only_a, only_b) == pytest.approx(coin_tail(only_a, only_b), rel=1e-9)
    assert mcnemar(only_b, only_a) == mcnemar(only_a, only_b)


def test_mcnemar_by_hand():
    # 5 heads of 5: 1/32 on either side
    assert mcnemar(0, 5) == pytest.approx(1 / 16)
    assert mcnemar(60_000, 61_500) < 0.0001  # large counts neither overflow nor crawl


def test_mcnemar_rarely_cries_wolf():
    rng = np.random.default_rng(0)
    heads = rng.binomial(40, 0.5, 2000)
    false_alarms = np.mean([mcnemar(int(h), 40 - int(h)) < 0.05 for h in heads])
    assert 0.01 < false_alarms <= 0.05


def resampled(in_a, in_b):
    rng = np.random.default_rng(5)
    drawn = []
    for _ in range(4000):
        rows = rng.integers(len(in_a), size=len(in_a))
        drawn.append(in_b[rows].mean() - in_a[rows].mean())
    return np.quantile(drawn, [0.025, 0.975])


def test_the_interval_is_that_of_resampled_photos():
    rng = np.random.default_rng(1)
    in_a = rng.random(150) < 0.4
    in_b = np.where(rng.random(150) < 0.2, rng.random(150) < 0.9, in_a)
    only_a, only_b = int((in_a & ~in_b).sum()), int((in_b & ~in_a).sum())
    found = difference_interval(only_a, only_b, 150)
    assert found == pytest.approx(resampled(in_a, in_b), abs=0.009)
    # Unpaired, the interval would be wider: the photos' difficulty does not cancel.
    unpaired = 1.96 * math.sqrt(in_a.mean() * (1 - in_a.mean()) / 75)
    assert (found[1] - found[0]) / 2 < unpaired


def test_counts_are_those_of_a_loop():
    rng = np.random.default_rng(2)
    a, b = rng.lognormal(5, 2, (2, 80))
    for km, d in compare(a, b, [1, 100, 1000]).items():
        placed = [(x <= km, y <= km) for x, y in zip(a, b, strict=True)]
        assert (d.photos, d.hits_a, d.hits_b) == (
            80,
            sum(x for x, _ in placed),
            sum(y for _, y in placed),
        )
        assert d.only_a == placed.count((True, False))
        assert d.only_b == placed.count((False, True))
        assert d.plain()["difference"] == pytest.approx(100 * (d.hits_b - d.hits_a) / 80)
        assert d.plain()["percent_b"] - d.plain()["percent_a"] == pytest.approx(
            d.plain()["difference"]
        )


def test_a_better_model_is_seen_and_itself_is_not():
    rng = np.random.default_rng(3)
    a = rng.lognormal(6, 2, 400)
    better = compare(a, a * 0.3)[750.0]
    assert better.p < 0.001
    assert 0 < better.low < better.high
    same = compare(a, a)[750.0]
    assert (same.p, same.low, same.high) == (1, 0, 0)
    difference, low, high = median_difference(a, a * 0.3)
    assert difference == pytest.approx(-0.7 * np.median(a))
    assert low <= difference <= high < 0


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0])])
def test_what_is_not_paired_is_refused(a, b):
    with pytest.raises(ValueError, match="the same photos"):
        compare(np.array(a), np.array(b))
