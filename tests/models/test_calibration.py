"""Calibration: temperature recovered, coverage kept on unseen photos, floor by its rule."""

import numpy as np
import pytest

from models.calibration import (
    FLOOR_SHARE,
    NEVER,
    Calibration,
    Validation,
    fit_calibration,
    ranked_mass,
    region,
)
from models.decode import nested_posterior

CELLS = 40


def simulated(count, seed, overconfidence=1.0):
    """Photos whose true cells are drawn from softmax(logits); these come out too sharp."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, CELLS))
    chance = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = np.array([rng.choice(CELLS, p=row) for row in chance])
    return {"fine": logits * overconfidence}, true


LINEAGE = np.arange(CELLS)[:, None]


def fitted_on(logits, true, errors_km):
    return fit_calibration([Validation(logits, LINEAGE, true, errors_km)])


def test_photos_in_two_parts_calibrate_as_in_one():
    logits, true = simulated(600, 7, overconfidence=2.0)
    halves = [
        Validation({"fine": logits["fine"][half]}, LINEAGE, true[half], np.zeros(300))
        for half in (slice(0, 300), slice(300, 600))
    ]
    one, two = fitted_on(logits, true, np.zeros(600)), fit_calibration(halves)
    assert two.temperature == pytest.approx(one.temperature)
    np.testing.assert_allclose(two.thresholds, one.thresholds)
    assert (two.floor, two.photos) == (pytest.approx(one.floor), one.photos)


def test_temperature_undoes_overconfidence():
    logits, true = simulated(4000, 0, overconfidence=3.0)
    fitted = fitted_on(logits, true, np.zeros(len(true)))
    assert fitted.temperature == pytest.approx(3.0, rel=0.08)


@pytest.mark.parametrize("mass", [0.5, 0.9, 0.95])
def test_regions_hold_the_truth_as_often_as_they_say(mass):
    logits, true = simulated(1500, 1, overconfidence=2.0)
    fitted = fitted_on(logits, true, np.zeros(len(true)))
    unseen, truth = simulated(3000, 2, overconfidence=2.0)
    posterior = nested_posterior(unseen, LINEAGE, fitted.temperature)
    threshold = fitted.threshold(mass)
    held = np.mean([t in region(p, threshold) for p, t in zip(posterior, truth, strict=True)])
    # at least `mass` less three standard errors of both samples; ties make it larger, not smaller
    slack = 3 * np.sqrt(mass * (1 - mass) * (1 / 1500 + 1 / 3000))
    assert held >= mass - slack
    assert held <= mass + slack + 0.12


def test_regions_grow_with_mass():
    logits, true = simulated(1500, 3)
    fitted = fitted_on(logits, true, np.zeros(len(true)))
    posterior = nested_posterior(logits, LINEAGE, fitted.temperature)[0]
    sizes = [len(region(posterior, fitted.threshold(m))) for m in (0.5, 0.8, 0.9, 0.99)]
    assert sizes == sorted(sizes)


def test_ranked_mass_matches_a_loop_and_counts_ties_in_full():
    posterior = np.array([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3]])
    np.testing.assert_allclose(ranked_mass(posterior, np.array([2, 2])), [1.0, 0.8])
    assert ranked_mass(posterior, np.array([-1, 1])).tolist() == [np.inf, 0.5]


def test_region_always_holds_the_likeliest_cell():
    assert region(np.array([0.1, 0.9]), 0.5).tolist() == [1]
    assert region(np.array([0.1, 0.9]), np.inf).tolist() == [1, 0]


def test_photos_in_no_cell_widen_the_region_until_it_cannot_be_had():
    logits, true = simulated(400, 4)
    true[:100] = -1
    fitted = fitted_on(logits, true, np.zeros(len(true)))
    assert np.isfinite(fitted.threshold(0.7))
    assert fitted.threshold(0.9) == np.inf


def test_floor_follows_its_rule():
    logits, true = simulated(500, 5)
    top = nested_posterior(logits, LINEAGE, 1.0).max(axis=1)
    errors_km = np.where(top > np.median(top), 10.0, 5000.0)
    fitted = fitted_on(logits, true, errors_km)
    top = nested_posterior(logits, LINEAGE, fitted.temperature).max(axis=1)
    answered = top >= fitted.floor
    assert (errors_km[answered] <= 750).mean() >= FLOOR_SHARE
    never = fitted_on(logits, true, np.full(500, 9000.0))
    assert never.floor == NEVER


def test_no_photos_means_not_calibrated():
    empty = fitted_on({"fine": np.zeros((0, CELLS))}, np.zeros(0, int), np.zeros(0))
    assert empty == Calibration()
    assert empty.threshold(0.9) == 0.9


def test_json_round_trip_and_a_damaged_file(tmp_path):
    logits, true = simulated(300, 6)
    true[:60] = -1
    fitted = fitted_on(logits, true, np.zeros(300))
    path = tmp_path / "calibration.json"
    path.write_text(fitted.to_json())
    assert Calibration.read(path) == fitted
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"calibration\.json is not a calibration"):
        Calibration.read(path)
    with pytest.raises(ValueError, match="mass"):
        fitted.threshold(1.5)
