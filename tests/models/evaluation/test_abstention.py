"""The abstention curve against a loop and against all orders of equals."""

import itertools

import numpy as np
import pytest

from models.evaluation.abstention import (
    abstention_curve,
    accuracy_when_answering,
    area_under_risk,
    least_area_under_risk,
)


def simulated(photos, seed):
    rng = np.random.default_rng(seed)
    confidence = rng.random(photos)
    return confidence, rng.random(photos) < confidence


def test_it_matches_a_loop():
    confidence, right = simulated(200, 0)
    curve = abstention_curve(confidence, right)
    ranked = sorted(zip(confidence.tolist(), right.tolist(), strict=True), reverse=True)
    errors = []
    for k in range(1, 201):
        accuracy = sum(hit for _, hit in ranked[:k]) / k
        assert curve.accuracy[k - 1] == pytest.approx(accuracy)
        assert curve.answered[k - 1] == pytest.approx(k / 200)
        assert curve.confidence[k - 1] == ranked[k - 1][0]
        errors.append(1 - accuracy)
    assert area_under_risk(curve) == pytest.approx(sum(errors) / 200)


def test_equals_count_as_the_mean_over_all_their_orders():
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    right = np.array([True, True, False, False, True])
    curve = abstention_curve(confidence, right)
    orders = [(0, *middle, 4) for middle in itertools.permutations((1, 2, 3))]
    for k in range(1, 6):
        mean = np.mean([right[list(order[:k])].mean() for order in orders])
        assert curve.accuracy[k - 1] == pytest.approx(mean)
    turned = abstention_curve(confidence[::-1], right[::-1])
    np.testing.assert_allclose(turned.accuracy, curve.accuracy)


def test_a_confidence_that_says_nothing_is_a_flat_line():
    _, right = simulated(100, 1)
    curve = abstention_curve(np.full(100, 0.3), right)
    np.testing.assert_allclose(curve.accuracy, right.mean())
    assert area_under_risk(curve) == pytest.approx(1 - right.mean())


def test_the_least_area_is_that_of_the_best_order_and_none_is_below_it():
    confidence, right = simulated(300, 2)
    least = least_area_under_risk(right)
    hits, photos = int(right.sum()), 300
    by_hand = sum(1 - hits / k for k in range(hits + 1, photos + 1)) / photos
    assert least == pytest.approx(by_hand)
    found = area_under_risk(abstention_curve(confidence, right))
    assert least < found < 1 - right.mean()
    worst = area_under_risk(abstention_curve(-right.astype(float), right))
    assert worst > 1 - right.mean()


def test_all_right_all_wrong_and_one_photo():
    confidence, _ = simulated(20, 3)
    assert area_under_risk(abstention_curve(confidence, np.ones(20, bool))) == 0
    assert area_under_risk(abstention_curve(confidence, np.zeros(20, bool))) == 1
    assert abstention_curve(np.array([0.5]), np.array([True])).accuracy.tolist() == [1.0]


def test_answering_a_share():
    confidence, right = simulated(200, 4)
    curve = abstention_curve(confidence, right)
    assert accuracy_when_answering(curve, 1.0) == (200, pytest.approx(right.mean()))
    best = np.argsort(-confidence)[:50]
    assert accuracy_when_answering(curve, 0.25) == (50, pytest.approx(right[best].mean()))
    assert accuracy_when_answering(curve, 1e-9)[0] == 1
    for share in (0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="must lie in"):
            accuracy_when_answering(curve, share)


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ValueError, match="1 confidences are NaN"):
        abstention_curve(np.array([0.5, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="at least one"):
        abstention_curve(np.zeros(0), np.zeros(0, bool))
