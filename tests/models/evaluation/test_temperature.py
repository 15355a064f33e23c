"""The temperature's fit against a search of the grid, known truth, and its derivatives."""

import numpy as np
import pytest

from models.decode import ancestors, nested_posterior
from models.evaluation.calibration import Validation
from models.evaluation.temperature import HIGHEST, LOWEST, _likelihood, fit_temperature


def drawn(partition, count, seed, temperatures):
    """Photos whose true cells are drawn from the posterior that these temperatures give."""
    rng = np.random.default_rng(seed)
    logits = {
        level: rng.normal(0, 3, (count, len(cells))) for level, cells in partition.levels.items()
    }
    lineage = ancestors(partition)
    posterior = nested_posterior(logits, lineage, temperatures)
    true = np.array([rng.choice(len(p), p=p) for p in posterior])
    return Validation(logits, lineage, true, np.zeros(count))


def loss(part, temperature):
    known = np.flatnonzero(part.true_cells >= 0)
    posterior = nested_posterior(part.logits, part.cell_ancestors, temperature)
    return -np.log(posterior[known, part.true_cells[known]]).sum()


def test_one_temperature_is_the_best_of_a_grid(partition):
    part = drawn(partition, 500, 0, 2.5)
    fitted = fit_temperature([part])
    grid = np.geomspace(0.5, 10, 400)
    best = grid[np.argmin([loss(part, t) for t in grid])]
    assert fitted == pytest.approx(best, rel=0.01)
    assert loss(part, fitted) <= min(loss(part, t) for t in grid)
    assert fitted == pytest.approx(2.5, rel=0.1)


def test_one_a_level_finds_those_that_made_the_truth_and_fits_better(partition):
    part = drawn(partition, 1500, 1, (1.0, 8.0, 2.0))
    fitted = fit_temperature([part], per_level=True)
    assert len(fitted) == 3
    np.testing.assert_allclose(1 / np.array(fitted), [1.0, 1 / 8, 0.5], atol=0.06)
    assert loss(part, fitted) < loss(part, fit_temperature([part]))
    for level in range(3):  # no neighbour is better
        for factor in (0.97, 1.03):
            other = [t * factor if i == level else t for i, t in enumerate(fitted)]
            assert loss(part, other) > loss(part, fitted)


def test_derivatives_are_those_of_finite_differences(partition):
    part = drawn(partition, 300, 2, 1.0)
    part.true_cells[::7] = -1
    for inverse in (np.array([0.7]), np.array([0.9, 0.4, 1.3])):
        found = _likelihood([part], inverse)
        full = inverse if len(inverse) == 3 else np.repeat(inverse, 3)
        assert found.loss == pytest.approx(loss(part, tuple(1 / full)))
        for i in range(len(inverse)):
            step = np.eye(len(inverse))[i] * 1e-5
            ahead, back = (_likelihood([part], inverse + s) for s in (step, -step))
            assert found.gradient[i] == pytest.approx((ahead.loss - back.loss) / 2e-5, rel=1e-5)
            np.testing.assert_allclose(
                found.hessian[i], (ahead.gradient - back.gradient) / 2e-5, rtol=1e-5
            )


def test_one_level_alone_and_photos_in_parts(partition):
    part = drawn(partition, 300, 3, 2.0)
    fine = part._replace(
        logits={"fine": part.logits["fine"]}, cell_ancestors=part.cell_ancestors[:, 2:]
    )
    assert fit_temperature([fine], per_level=True) == (pytest.approx(fit_temperature([fine])),)
    halves = [
        part._replace(
            logits={level: z[half] for level, z in part.logits.items()},
            true_cells=part.true_cells[half],
        )
        for half in (slice(0, 100), slice(100, 300))
    ]
    for per_level in (False, True):
        assert fit_temperature(halves, per_level) == pytest.approx(
            fit_temperature([part], per_level)
        )


def test_the_bounds_hold_where_the_photos_know_none(partition):
    part = drawn(partition, 50, 4, 1.0)
    best = nested_posterior(part.logits, part.cell_ancestors).argmax(axis=1)
    assert fit_temperature([part._replace(true_cells=best)]) == pytest.approx(LOWEST)
    worst = nested_posterior(part.logits, part.cell_ancestors).argmin(axis=1)
    assert fit_temperature([part._replace(true_cells=worst)]) == pytest.approx(HIGHEST)
    each = fit_temperature([part._replace(true_cells=worst)], per_level=True)
    assert all(LOWEST <= t <= HIGHEST + 1e-9 for t in each)


def test_nothing_to_learn_from_leaves_one(partition):
    part = drawn(partition, 20, 5, 1.0)
    nowhere = part._replace(true_cells=np.full(20, -1))
    assert fit_temperature([nowhere]) == 1.0
    assert fit_temperature([nowhere], per_level=True) == (1.0, 1.0, 1.0)
    flat = part._replace(logits={level: np.zeros_like(z) for level, z in part.logits.items()})
    assert fit_temperature([flat]) > 0


def test_levels_that_say_the_same_are_no_stumbling_block(partition):
    part = drawn(partition, 200, 6, 3.0)
    lineage = np.repeat(part.cell_ancestors[:, 2:], 2, axis=1)
    twice = {"middle": part.logits["fine"], "fine": part.logits["fine"]}
    doubled = Validation(twice, lineage, part.true_cells, part.errors_km)
    each = fit_temperature([doubled], per_level=True)
    assert loss(doubled, each) == pytest.approx(loss(doubled, fit_temperature([doubled])), rel=1e-6)


def test_temperatures_of_the_wrong_number_are_refused(partition):
    part = drawn(partition, 5, 7, 1.0)
    with pytest.raises(ValueError, match="3 levels need as many temperatures, not 2"):
        part.posterior((1.0, 2.0))
    np.testing.assert_allclose(part.posterior((2.0, 2.0, 2.0)), part.posterior(2.0))
