"""Calibration: temperature recovered, coverage kept on unseen photos, floor by its rule."""

import itertools
import json
import math

import numpy as np
import pytest

from models.decode import ancestors, nested_posterior
from models.evaluation.calibration import (
    FLOOR_SHARE,
    NEVER,
    Calibration,
    Validation,
    fit_calibration,
    ranked_mass,
    region,
)

CELLS = 40


def simulated(count, seed, overconfidence=1.0):
    """Photos whose true cells are drawn from softmax(logits); these come out too sharp."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, CELLS))
    chance = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    drawn = rng.random((count, 1))
    true = (np.cumsum(chance, axis=1) < drawn).sum(axis=1).clip(max=CELLS - 1)
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
    whole = json.loads(fitted.to_json())
    for change in (
        {"temperature": 0}, {"temperature": math.nan}, {"temperature": []}, {"photos": math.inf},
        {"photos": -1}, {"floor": math.nan}, {"thresholds": [[0.5, 0]]}, {"thresholds": [[2, 0.5]]},
        {"thresholds": [[0.5, math.nan]]},
    ):  # fmt: skip
        path.write_text(json.dumps(whole | change))
        with pytest.raises(ValueError, match="is not a calibration"):
            Calibration.read(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is not a calibration"):
        Calibration.read(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"calibration\.json is not a calibration"):
        Calibration.read(path)
    with pytest.raises(ValueError, match="mass"):
        fitted.threshold(1.5)


def binomial_bounds(n, p, error):
    """The counts low..high that a binomial exceeds on either side less often than `error` / 2."""
    log_factorial = np.concatenate([[0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    ways = log_factorial[n] - log_factorial - log_factorial[::-1]
    total = np.cumsum(np.exp(ways + k * np.log(p) + (n - k) * np.log1p(-p)))
    return int(np.searchsorted(total, error / 2)), int(np.searchsorted(total, 1 - error / 2))


@pytest.mark.parametrize("mass", [0.9, 0.95])
@pytest.mark.parametrize("overconfidence", [0.5, 3.0])
def test_coverage_on_unseen_photos_lies_in_its_binomial_interval(mass, overconfidence):
    """10,000 validation photos fix the threshold, so that the unseen ones alone make the noise."""
    logits, true = simulated(10_000, 10, overconfidence)
    fitted = fitted_on(logits, true, np.zeros(len(true)))
    unseen, truth = simulated(2000, 11, overconfidence)
    posterior = nested_posterior(unseen, LINEAGE, fitted.temperature)
    regions = [fitted.region(p, mass) for p in posterior]
    held = sum(t in chosen for t, chosen in zip(truth, regions, strict=True))
    low, high = binomial_bounds(2000, mass, 0.002)
    assert low <= held <= high
    assert np.mean([len(chosen) for chosen in regions]) < CELLS / 2


@pytest.mark.parametrize("mass", [0.3, 0.5, 0.9])
def test_a_known_posterior_needs_no_calibration(mass):
    """Regions of a posterior that is the truth's own law hold it as often as their mass says."""
    logits, true = simulated(4000, 12)
    posterior = nested_posterior(logits, LINEAGE, 1.0)
    uncalibrated = Calibration()
    regions = [uncalibrated.region(p, mass) for p in posterior]
    claimed = np.mean([p[chosen].sum() for p, chosen in zip(posterior, regions, strict=True)])
    held = sum(t in chosen for t, chosen in zip(true, regions, strict=True))
    low, high = binomial_bounds(4000, claimed, 0.002)
    assert claimed >= mass
    assert low <= held <= high


@pytest.mark.parametrize("photos", [19, 99])
def test_the_conformal_guarantee_holds_on_average_over_validation_sets(photos):
    """Over draws of n validation photos and an unseen one, whatever the model is worth.

    mass <= P(score <= threshold) <= mass + 1 / (n + 1) (Vovk et al., 2005); the temperature is
    held fast, as the proof asks for scores that do not depend on the validation photos.
    """
    mass, draws, unseen = 0.9, 400, 50
    logits, true = simulated(draws * (photos + unseen), 13, overconfidence=2.0)
    scores = ranked_mass(nested_posterior(logits, LINEAGE, 1.0), true).reshape(draws, -1)
    held = []
    for row in scores:
        ordered = np.sort(row[:photos])
        rank = int(np.ceil((photos + 1) * mass))
        held.append(np.mean(row[photos:] <= ordered[rank - 1]))
    error = 4 * np.std(held) / np.sqrt(draws)
    assert mass - error <= np.mean(held) <= mass + 1 / (photos + 1) + error
    part = Validation({"fine": logits["fine"][:photos]}, LINEAGE, true[:photos], np.zeros(photos))
    fitted = fit_calibration([part])
    own, _ = part.scores(fitted.temperature)
    assert fitted.threshold(mass) == np.sort(own)[int(np.ceil((photos + 1) * mass)) - 1]


def test_too_few_photos_promise_nothing():
    logits, true = simulated(8, 14)
    fitted = fitted_on(logits, true, np.zeros(8))
    assert fitted.threshold(0.9) == np.inf
    assert np.isfinite(fitted.threshold(0.5))


def test_a_region_is_the_smallest_set_of_cells():
    """No set of fewer cells reaches the mass: all sets of seven cells tried."""
    rng = np.random.default_rng(15)
    for mass in (0.3, 0.6, 0.9):
        posterior = rng.dirichlet(np.full(7, 0.5))
        chosen = Calibration().region(posterior, mass)
        assert posterior[chosen].sum() >= mass - 1e-9
        sizes = [
            len(cells)
            for size in range(8)
            for cells in itertools.combinations(range(7), size)
            if posterior[list(cells)].sum() >= mass
        ]
        assert len(chosen) == min(sizes)


def test_one_temperature_a_level_is_kept_and_calibrates(partition, tmp_path):
    rng = np.random.default_rng(16)
    logits = {level: rng.normal(0, 2, (800, len(c))) for level, c in partition.levels.items()}
    lineage = ancestors(partition)
    posterior = nested_posterior(logits, lineage, (1.0, 5.0, 2.0))
    true = np.array([rng.choice(len(p), p=p) for p in posterior])
    part = Validation(logits, lineage, true, np.zeros(800))
    fitted = fit_calibration([part], per_level=True)
    path = tmp_path / "calibration.json"
    path.write_text(fitted.to_json())
    assert Calibration.read(path) == fitted
    assert isinstance(fitted.temperature, tuple)
    scores, confidence = part.scores(fitted.temperature)
    whole = part.posterior(fitted.temperature)
    np.testing.assert_allclose(scores, ranked_mass(whole, true))
    np.testing.assert_allclose(confidence, whole.max(axis=1))


def test_a_region_that_is_to_hold_everything_is_every_cell():
    """Sums of floats reach 1 before the last cells: those are in it too."""
    posterior = np.array([1e-10, 1 - 2e-10, 1e-10, 0.0])
    assert sorted(region(posterior, 1.0, reach=True)) == [0, 1, 2, 3]
    assert region(posterior, 0.95, reach=True).tolist() == [1]
