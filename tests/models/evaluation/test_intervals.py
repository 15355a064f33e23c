"""Intervals beside loops, resampling and closed forms."""

import math

import numpy as np
import pytest

from models.evaluation.intervals import (
    binomial,
    bootstrap_interval,
    bootstrap_median_interval,
    bootstrap_share_interval,
    conformal_range,
    share_of,
    wilson_interval,
    within_km,
)


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (7, 0.3), (60, 0.01), (200, 0.97)])
def test_binomial_is_the_textbooks(n, p):
    expected = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    np.testing.assert_allclose(binomial(n, p), expected, rtol=1e-9)


def test_binomial_of_a_large_benchmark_sums_to_one():
    assert binomial(210_122, 0.4).sum() == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize(("hits", "n"), [(1, 10), (13, 40), (60, 200), (237, 250)])
def test_the_bootstrap_of_a_share_is_what_resampling_approaches(hits, n):
    cases = np.arange(n) < hits
    low, high = bootstrap_interval(cases, np.mean, n=8000, seed=1)
    assert bootstrap_share_interval(hits, n) == pytest.approx((low, high), abs=1.01 / n)


def test_the_bootstrap_of_a_share_by_walking_the_distribution():
    low, high = bootstrap_share_interval(3, 12)
    weights = [math.comb(12, k) * 0.25**k * 0.75 ** (12 - k) for k in range(13)]
    reached = [sum(weights[: k + 1]) for k in range(13)]
    assert low == next(k for k in range(13) if reached[k] >= 0.025) / 12
    assert high == next(k for k in range(13) if reached[k] >= 0.975) / 12


@pytest.mark.parametrize("n", [1, 2, 9, 10, 101])
def test_the_bootstrap_of_a_median_is_what_resampling_approaches(n):
    values = np.random.default_rng(n).normal(100, 15, n)
    found = bootstrap_median_interval(values, draws=40_000)
    expected = bootstrap_interval(values, np.median, n=4000, seed=1)
    gap = np.diff(np.sort(values)).max(initial=0)  # two draws of quantiles may be a value apart
    assert found == pytest.approx(expected, abs=min(gap, 1.2))
    assert found[0] <= np.median(values) <= found[1]


def test_the_bootstrap_of_a_median_with_missing_answers():
    assert bootstrap_median_interval([4.0, 4.0]) == (4, 4)
    low, high = bootstrap_median_interval([1.0, 2.0, 3.0, np.inf, np.inf])
    assert low < high == np.inf
    for values in ([], [1.0, np.nan]):
        with pytest.raises(ValueError, match="at least one value"):
            bootstrap_median_interval(values)


@pytest.mark.parametrize("hits", [0, 25])
def test_an_interval_of_none_or_all_has_a_width(hits):
    z2 = 1.959964**2  # Wilson's bound at 0 and n of n cases: n / (n + z2)
    expected = (0, z2 / (25 + z2)) if hits == 0 else (25 / (25 + z2), 1)
    assert bootstrap_share_interval(hits, 25) == pytest.approx(expected, abs=1e-6)


def test_within_km_takes_either_interval():
    errors = [0.5] * 60 + [9.0] * 140
    wilson = within_km(errors, [1])[1]
    bootstrap = within_km(errors, [1], interval=bootstrap_share_interval)[1]
    assert wilson.hits == bootstrap.hits == 60
    assert (wilson.low, wilson.high) == wilson_interval(60, 200)
    half = 1.96 * math.sqrt(0.3 * 0.7 / 200)
    assert (bootstrap.low, bootstrap.high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.006)


def test_percents():
    assert share_of(1, 4).percents() | {"low": 0, "high": 0} == {
        "hits": 1,
        "n": 4,
        "percent": 25.0,
        "low": 0,
        "high": 0,
    }


def test_the_range_of_conformal_coverage_against_drawing():
    random, calibrated, tested, mass = np.random.default_rng(0), 150, 300, 0.9
    k = int(np.ceil((calibrated + 1) * mass))
    scores = np.sort(random.random((20_000, calibrated)), axis=1)
    shares = (random.random((20_000, tested)) <= scores[:, k - 1 : k]).mean(axis=1)
    low, high = conformal_range(calibrated, tested, mass)
    assert np.quantile(shares, [0.025, 0.975]) == pytest.approx([low, high], abs=0.004)
    with pytest.raises(ValueError, match=r"no regions of 0\.9"):
        conformal_range(5, tested, mass)
