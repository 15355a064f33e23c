"""Recall and intervals against loops and published values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.evaluate import (
    answerable,
    bootstrap_interval,
    first_hits,
    recall_at,
    recall_of_ranks,
    wilson_interval,
    within_km,
)


def recall_by_loops(predictions, positives, k):
    found = 0
    for ranked, right in zip(predictions, positives, strict=True):
        for row in list(ranked)[:k]:
            if row in right:
                found += 1
                break
    return found / len(positives)


@pytest.mark.parametrize("seed", range(5))
def test_recall_is_what_loops_count(seed):
    rng = np.random.default_rng(seed)
    predictions = np.stack([rng.permutation(40)[:12] for _ in range(60)])
    positives = [set(rng.integers(40, size=rng.integers(1, 5)).tolist()) for _ in range(60)]
    recalls = recall_at(predictions, positives, [1, 3, 12])
    assert recalls == {k: recall_by_loops(predictions, positives, k) for k in (1, 3, 12)}
    assert 0 < recalls[1] < recalls[3] < recalls[12] < 1


def test_recall_by_hand():
    predictions = [[4, 7, 1], [2], [9, 8, 7]]
    positives = [[1, 7], [5], np.array([9])]
    assert first_hits(predictions, positives).tolist() == [1, -1, 0]
    assert recall_at(predictions, positives, [1, 2]) == {1: 1 / 3, 2: 2 / 3}


def test_recall_of_ranks_counts_with_intervals():
    shares = recall_of_ranks([0, -1, 4, 1], [1, 2, 10])
    assert {k: (s.hits, s.n) for k, s in shares.items()} == {1: (1, 4), 2: (2, 4), 10: (3, 4)}
    assert (shares[2].low, shares[2].high) == wilson_interval(2, 4)
    with pytest.raises(ValueError, match="no interval"):
        recall_of_ranks([], [1])


def test_padding_is_never_right():
    assert recall_at(np.array([[-1, -1]]), [{-1}], [2]) == {2: 0.0}


def test_queries_without_positives_are_refused_and_can_be_left_out():
    predictions, positives = np.array([[1], [2], [3]]), [{1}, set(), {4}]
    with pytest.raises(ValueError, match=r"1 of 3 queries have no positive \(first: \[1\]\)"):
        recall_at(predictions, positives, [1])
    keep = answerable(positives)
    assert keep.tolist() == [True, False, True]
    left = [p for p, k in zip(positives, keep, strict=True) if k]
    assert recall_at(predictions[keep], left, [1]) == {1: 0.5}


@pytest.mark.parametrize(
    ("predictions", "positives", "ks", "message"),
    [
        ([], [], [1], "no queries"),
        (np.array([[1]]), [{1}, {2}], [1], "1 queries were predicted, 2"),
        (np.array([[1]]), [{1}], [5], "recall@5 asked of 1"),
        (np.array([[1]]), [{1}], [0], "1 or more"),
    ],
)
def test_recall_refuses(predictions, positives, ks, message):
    with pytest.raises(ValueError, match=message):
        recall_at(predictions, positives, ks)


@given(st.integers(1, 5000), st.floats(0, 1), st.floats(0.5, 0.999))
def test_wilson_ends_solve_the_quadratic(n, share, confidence):
    successes = round(share * n)
    # z from the error function by bisection, not from the library call under test.
    low_z, high_z = 0.0, 10.0
    for _ in range(80):
        z = (low_z + high_z) / 2
        low_z, high_z = (z, high_z) if math.erf(z / math.sqrt(2)) < confidence else (low_z, z)
    p = successes / n
    # (p - x)^2 = z^2 x (1 - x) / n as a x^2 + b x + c = 0
    roots = sorted(np.roots([1 + z * z / n, -(2 * p + z * z / n), p * p]).real)
    assert wilson_interval(successes, n, confidence) == pytest.approx(roots, abs=1e-6)


@pytest.mark.parametrize(
    # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in
    # Medicine 17 (1998), table I, method 3 (score, no continuity correction).
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_at_the_ends_and_refusals():
    assert wilson_interval(0, 7)[0] == 0
    assert wilson_interval(7, 7)[1] == 1
    for successes, n in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="no interval"):
            wilson_interval(successes, n)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, 95)


def test_bootstrap_of_a_mean_is_near_the_normal_interval():
    values = np.random.default_rng(3).normal(10, 2, size=400)
    low, high = bootstrap_interval(values, np.mean, n=2000, seed=1)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bootstrap_is_seeded_and_resamples_rows():
    values = np.random.default_rng(0).random((50, 2))
    assert bootstrap_interval(values, seed=5) == bootstrap_interval(values, seed=5)
    assert bootstrap_interval(values, seed=5) != bootstrap_interval(values, seed=6)
    # Rows stay whole: the first column minus itself is 0 in every resample.
    pairs = np.column_stack([values[:, 0], values[:, 0]])
    assert bootstrap_interval(pairs, lambda rows: np.abs(rows[:, 0] - rows[:, 1]).max()) == (0, 0)


def test_bootstrap_of_one_value_and_of_infinite_errors():
    assert bootstrap_interval([4.0]) == (4, 4)
    low, high = bootstrap_interval([1.0, 2.0, 3.0, np.inf, np.inf])
    assert low < high == np.inf


@pytest.mark.parametrize("values", [[], [1.0, np.nan]])
def test_bootstrap_refuses(values):
    with pytest.raises(ValueError, match=r"at least one|NaN"):
        bootstrap_interval(values)


def test_within_km_counts_inclusively_and_no_answer_is_a_miss():
    shares = within_km([0.5, 1.0, 25.1, 300, np.inf], [1, 25, 1000])
    assert {km: (s.hits, s.n) for km, s in shares.items()} == {1: (2, 5), 25: (2, 5), 1000: (4, 5)}
    assert shares[1000].share == 0.8
    assert (shares[1].low, shares[1].high) == wilson_interval(2, 5)


@pytest.mark.parametrize("errors", [[], [1.0, np.nan], [-1.0]])
def test_within_km_refuses(errors):
    with pytest.raises(ValueError, match="errors_km"):
        within_km(errors)
