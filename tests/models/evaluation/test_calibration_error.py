"""Reliability bins and ECE against loops, a hand-made table and a known law."""

import numpy as np
import pytest

from models.evaluation.calibration_error import (
    expected_calibration_error,
    largest_calibration_error,
    reliability_bins,
)
from models.evaluation.intervals import wilson_interval


def simulated(photos, seed, truth=lambda p: p):
    """Confidences, and answers that are right with the probability that `truth` makes of them."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(2, 3, photos)
    return confidence, rng.random(photos) < truth(confidence)


def test_equal_widths_match_a_loop():
    confidence, right = simulated(500, 0)
    found = reliability_bins(confidence, right, bins=10)
    by_loop = {}
    for value, hit in zip(confidence.tolist(), right.tolist(), strict=True):
        by_loop.setdefault(min(int(value * 10), 9), []).append((value, hit))
    assert len(found) == len(by_loop)
    error = 0.0
    for each, index in zip(found, sorted(by_loop), strict=True):
        members = by_loop[index]
        stated = sum(value for value, _ in members) / len(members)
        hits = sum(hit for _, hit in members)
        assert (each.low, each.high) == (pytest.approx(index / 10), pytest.approx((index + 1) / 10))
        assert each.stated == pytest.approx(stated)
        assert (each.right.hits, each.right.n) == (hits, len(members))
        assert (each.right.low, each.right.high) == wilson_interval(hits, len(members))
        error += len(members) / 500 * abs(hits / len(members) - stated)
    assert expected_calibration_error(found) == pytest.approx(error)


def test_a_table_by_hand():
    confidence = np.array([0.1, 0.2, 0.9, 0.9, 1.0])
    right = np.array([False, True, True, True, False])
    found = reliability_bins(confidence, right, bins=2)
    assert [each.right.share for each in found] == [0.5, pytest.approx(2 / 3)]
    gaps = (abs(0.5 - 0.15), abs(2 / 3 - 2.8 / 3))
    assert expected_calibration_error(found) == pytest.approx(0.4 * gaps[0] + 0.6 * gaps[1])
    assert largest_calibration_error(found) == pytest.approx(max(gaps))


def test_adaptive_bins_hold_equal_numbers_and_every_photo():
    confidence, right = simulated(1000, 1)
    found = reliability_bins(confidence, right, bins=8, adaptive=True)
    assert [each.right.n for each in found] == [125] * 8
    assert sum(each.right.hits for each in found) == right.sum()
    assert all(each.low <= each.stated <= each.high for each in found)


def test_equals_stay_together_whatever_their_order():
    confidence = np.repeat([0.2, 0.5, 0.5, 0.9], 25)
    right = np.arange(100) % 3 == 0
    order = np.random.default_rng(0).permutation(100)
    found = reliability_bins(confidence, right, bins=15, adaptive=True)
    assert found == reliability_bins(confidence[order], right[order], bins=15, adaptive=True)
    assert [each.right.n for each in found] == [25, 50, 25]
    assert len(reliability_bins(np.full(9, 0.4), right[:9], adaptive=True)) == 1


@pytest.mark.parametrize("adaptive", [False, True])
def test_honest_confidence_has_a_small_error_and_bold_one_its_own(adaptive):
    honest = reliability_bins(*simulated(20_000, 2), adaptive=adaptive)
    assert expected_calibration_error(honest) < 0.015
    confidence, right = simulated(20_000, 3, truth=lambda p: 0.6 * p)
    bold = reliability_bins(confidence, right, adaptive=adaptive)
    assert expected_calibration_error(bold) == pytest.approx(0.4 * confidence.mean(), abs=0.02)
    inside = [each.right.low <= each.stated <= each.right.high for each in honest]
    assert np.mean(inside) > 0.8


def test_one_photo_and_the_ends():
    (only,) = reliability_bins(np.array([1.0]), np.array([True]))
    assert (only.high, only.right.share) == (1.0, 1.0)
    assert len(reliability_bins(np.array([0.0, 1.0]), np.array([False, True]))) == 2


def test_what_is_no_confidence_is_refused():
    for values in ([1.2], [-0.1], [np.nan]):
        with pytest.raises(ValueError, match="outside"):
            reliability_bins(np.array(values), np.array([True]))
    for confidence, right, bins in (([], [], 15), ([0.5], [True, False], 15), ([0.5], [True], 0)):
        with pytest.raises(ValueError, match="must be at least 1"):
            reliability_bins(np.array(confidence), np.array(right, bool), bins)
