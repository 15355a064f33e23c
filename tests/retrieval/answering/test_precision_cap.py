"""The cap: no answer, radius or region tells where inside the coarse cell the photo was taken."""

import dataclasses

import numpy as np
import pytest

from partitioning import s2
from partitioning.geodesy import haversine_km
from retrieval.answering.fix import CellGuess, Fix, Match
from retrieval.answering.precision_cap import cap_level, capped


@pytest.fixture
def fix():
    """Make a fix whose region is the cells of `level` about a position."""

    def make(lat=48.8583, lon=2.2945, level="cell", region_level=9, radius_km=60.0):
        ids = np.unique(s2.cell_ids(lat + np.linspace(0, 0.5, 7), np.full(7, lon), region_level))
        share = 1 / len(ids)
        cells = tuple(
            CellGuess(str(token), share, float(a), float(o), 10)
            for token, a, o in zip(s2.tokens(ids), *s2.centers(ids), strict=True)
        )
        matches = (Match("k", lat, lon, 0.9, "k.jpg"),)
        return Fix(lat, lon, radius_km, level, 0.8, 0.9, True, cells, matches)

    return make


def edge_distance_km(corners):
    """Least distance of two opposite edges of a cell, over points along them."""
    points = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        ends = [
            np.array([np.cos(la) * np.cos(lo), np.cos(la) * np.sin(lo), np.sin(la)])
            for la, lo in np.radians([a, b])
        ]
        line = ends[0] + np.linspace(0, 1, 40)[:, None] * (ends[1] - ends[0])
        points.append(line / np.linalg.norm(line, axis=1, keepdims=True))
    return min(
        6371.0088 * np.arccos(np.clip((points[i] @ points[i + 2].T).max(), -1, 1)) for i in (0, 1)
    )


@pytest.mark.parametrize("cap_km", [0.5, 3, 25, 200, 1000])
def test_all_cells_of_the_cap_level_are_as_wide_as_the_cap(cap_km):
    rng = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, 300))), rng.uniform(-180, 180, 300)
    level = cap_level(cap_km)
    widths = [edge_distance_km(c) for c in s2.corners(s2.cell_ids(lat, lon, level))]
    assert min(widths) >= cap_km
    narrower = [edge_distance_km(c) for c in s2.corners(s2.cell_ids(lat, lon, level + 1))]
    assert min(narrower) < 1.1 * cap_km, "a finer level would do"


@pytest.mark.parametrize("level", ["street", "cell", "unknown"])
def test_positions_of_one_coarse_cell_give_one_answer(fix, level):
    answers = set()
    for shift in np.linspace(0, 0.004, 5):
        answer = capped(fix(48.8583 + shift, level=level, region_level=13, radius_km=0.02), 5)
        answers.add((answer.lat, answer.lon, answer.radius_km))
    assert len(answers) == 1


@pytest.mark.parametrize("level", ["street", "cell", "unknown"])
@pytest.mark.parametrize("cap_km", [0.1, 5, 80, 9000, 30000])
def test_radius_is_the_cap_or_more_and_holds_position_and_region(fix, level, cap_km):
    before = fix(level=level, radius_km=0.025 if level == "street" else 60)
    after = capped(before, cap_km)
    assert after.radius_km >= cap_km
    away = haversine_km(before.lat, before.lon, after.lat, after.lon)
    assert away + (0.025 if level == "street" else 0) <= after.radius_km
    if level != "street":
        corners = s2.corners(s2.from_tokens(c.token for c in before.cells)).reshape(-1, 2)
        assert np.all(haversine_km(after.lat, after.lon, *corners.T) <= after.radius_km + 1e-6)


def test_matches_are_withheld_and_the_cap_is_told(fix):
    before = fix(level="street")
    after = capped(before, 5)
    assert after.matches == ()
    assert after.level == "cell"
    assert after.confidence == before.confidence
    assert "capped at 5 km" in after.notes[-1]
    assert capped(before, 0) is before


def test_finer_cells_are_merged_and_coarser_ones_kept(fix):
    fine = fix(region_level=11)
    cap_km, level = 60, cap_level(60)
    coarse = CellGuess(str(s2.tokens(s2.cell_ids([-30], [140], 3))[0]), 0.25, -30.0, 140.0, 7)
    scaled = [dataclasses.replace(c, probability=c.probability * 0.75) for c in fine.cells]
    cells = capped(dataclasses.replace(fine, cells=(*scaled, coarse)), cap_km).cells
    expected = {coarse.token: (0.25, 7)}
    for cell in scaled:
        token = str(s2.tokens(s2.parents(s2.from_tokens([cell.token]), level))[0])
        probability, photos = expected.get(token, (0, 0))
        expected[token] = (probability + cell.probability, photos + cell.photos)
    assert {c.token: c.photos for c in cells} == {t: n for t, (_, n) in expected.items()}
    for cell in cells:
        assert cell.probability == pytest.approx(expected[cell.token][0])
    assert cells[0].probability == max(c.probability for c in cells)
    assert coarse in cells
    assert len(cells) < len(scaled)


def test_merged_probabilities_never_pass_one(fix):
    one = fix()
    ids = s2.children(s2.children(s2.cell_ids([48.8], [2.3], 9)).ravel()).ravel()
    parts = np.full(16, 1 / 16)
    parts[0] += 4e-16  # what rounding may leave
    cells = tuple(
        CellGuess(str(t), float(p), 48.8, 2.3, 1)
        for t, p in zip(s2.tokens(ids), parts, strict=True)
    )
    assert sum(c.probability for c in cells) > 1
    (merged,) = capped(dataclasses.replace(one, cells=cells), 50).cells
    assert merged.probability == 1


@pytest.mark.parametrize("cap_km", [-1, float("nan"), float("inf")])
def test_a_cap_that_is_none_is_refused(fix, cap_km):
    with pytest.raises(ValueError, match="precision cap"):
        capped(fix(), cap_km)
