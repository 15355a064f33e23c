"""Answers and coverage beside loops from their definitions."""

import math

import numpy as np
import pytest

from models.evaluation.accuracy import answers_by_row, coverage
from models.evaluation.calibration import Calibration


@pytest.fixture
def predicted(partition):
    rng = np.random.default_rng(3)
    logits = {
        level: rng.normal(0, 2, (20, len(cells))).astype(np.float32)
        for level, cells in partition.levels.items()
    }
    return logits, rng.uniform(-60, 60, 20), rng.uniform(-180, 180, 20)


def distance_km(lat1, lon1, lat2, lon2):
    a, b, c, d = map(math.radians, (lat1, lon1, lat2, lon2))
    cosine = math.sin(a) * math.sin(c) + math.cos(a) * math.cos(c) * math.cos(b - d)
    return 6371.0088 * math.acos(max(-1.0, min(1.0, cosine)))


def softmax(row):
    shares = [math.exp(x - max(row)) for x in row.tolist()]
    return [x / sum(shares) for x in shares]


def joint(partition, logits, photo):
    """Product of a fine cell's and its ancestors' probabilities, by walking up."""
    p = {level: softmax(values[photo]) for level, values in logits.items()}
    products = []
    for fine in range(len(partition.fine)):
        middle = partition.parents["fine"][fine]
        coarse = partition.parents["middle"][middle]
        products.append(p["fine"][fine] * p["middle"][middle] * p["coarse"][coarse])
    return products


def test_answers(partition, predicted):
    logits, lat, lon = predicted
    rows = answers_by_row(logits, partition, Calibration(2.5), lat, lon)
    assert list(rows) == ["coarse", "middle", "fine", "hierarchical", "prior"]
    for photo in range(20):
        best = {level: int(values[photo].argmax()) for level, values in logits.items()}
        answers = {level: (partition.levels[level], cell) for level, cell in best.items()}
        answers["hierarchical"] = (partition.fine, int(np.argmax(joint(partition, logits, photo))))
        answers["prior"] = (partition.fine, int(partition.fine.photos.argmax()))
        for name, (cells, cell) in answers.items():
            row = rows[name]
            assert (row.lat[photo], row.lon[photo]) == (cells.lat[cell], cells.lon[cell])
            expected = distance_km(row.lat[photo], row.lon[photo], lat[photo], lon[photo])
            assert row.errors_km[photo] == pytest.approx(expected, abs=0.01)
    moved = [rows["hierarchical"].lat[i] != rows["fine"].lat[i] for i in range(20)]
    assert any(moved)  # else the levels' vote is not tested


def test_the_prior_looks_at_no_photo(partition, predicted):
    logits, lat, lon = predicted
    other = {level: values[::-1] * -3 for level, values in logits.items()}
    one = answers_by_row(logits, partition, Calibration(), lat, lon)["prior"]
    two = answers_by_row(other, partition, Calibration(4.0), lat, lon)["prior"]
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)
    assert len(set(one.lat)) == len(set(one.lon)) == 1


def test_fewer_levels(partition, predicted):
    logits, lat, lon = predicted
    rows = answers_by_row({"coarse": logits["coarse"]}, partition, Calibration(), lat, lon)
    assert list(rows) == ["coarse", "hierarchical", "prior"]
    np.testing.assert_array_equal(rows["hierarchical"].lat, rows["coarse"].lat)
    assert rows["prior"].lat[0] == partition.coarse.lat[partition.coarse.photos.argmax()]


@pytest.mark.parametrize("mass", [0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("calibration", [Calibration(), Calibration(thresholds=((0.9, 0.7),))])
def test_coverage(mass, calibration):
    rng = np.random.default_rng(5)
    posterior = rng.dirichlet(np.full(12, 0.5), 40)
    true_cells = rng.integers(-1, 12, 40)
    threshold = calibration.threshold(mass)
    held, sizes = 0, []
    for row, cell in zip(posterior.tolist(), true_cells.tolist(), strict=True):
        gathered, chosen = 0.0, []
        for best in sorted(range(12), key=lambda c: -row[c]):
            gathered += row[best]
            if chosen and calibration.thresholds and gathered > threshold + 1e-9:
                break
            chosen.append(best)
            if not calibration.thresholds and gathered >= mass - 1e-9:
                break
        held += cell in chosen
        sizes.append(len(chosen))
    assert coverage(posterior, true_cells, calibration, mass) == (mass, held, 40, np.median(sizes))
