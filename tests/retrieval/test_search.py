"""Exact search against brute force in float64, ties and areas included."""

import itertools
import math

import numpy as np
import pytest

from partitioning import s2
from retrieval import search as search_module
from retrieval.gallery import Gallery
from retrieval.search import merged, search


def brute_force(gallery, query, k, cell_ids=None, area=None):
    """Every row, one by one, in exact sums of float64 products."""
    length = math.sqrt(math.fsum(float(x) ** 2 for x in query))
    found = []
    for row in range(len(gallery)):
        leaf, lat, lon = gallery.leaf_ids[row : row + 1], gallery.lat[row], gallery.lon[row]
        if cell_ids is not None and not any(
            s2.parents(leaf, int(s2.levels(np.array([cell]))[0]))[0] == cell for cell in cell_ids
        ):
            continue
        if area is not None:
            west, south, east, north = area
            across = (lon >= west or lon <= east) if west > east else west <= lon <= east
            if not (across and south <= lat <= north):
                continue
        values = gallery.descriptors[row].tolist()
        cosine = math.fsum(v * float(x) for v, x in zip(values, query, strict=True)) / length
        found.append((-cosine, row))
    # Sums that differ by float64's rounding are ties, as for equal descriptors.
    found.sort(key=lambda match: (round(match[0], 12), match[1]))
    return [row for _, row in found[:k]], [-score for score, _ in found[:k]]


def check(gallery, query, k, **gate):
    rows, scores = brute_force(gallery, query, k, **gate)
    matches = search(gallery, query, k, **gate)
    assert matches.rows.tolist() == rows
    np.testing.assert_allclose(matches.scores, scores, atol=1e-6)
    assert (matches.rows.dtype, matches.scores.dtype) == (np.int64, np.float32)
    return matches


@pytest.mark.parametrize("k", [1, 7, 300, 1000])
def test_whole_gallery(gallery, k):
    query = np.random.default_rng(1).standard_normal(16)
    assert len(check(gallery, query, k).rows) == min(k, 300)


@pytest.mark.parametrize("seed", range(6))
def test_cells_of_mixed_levels_that_overlap_and_repeat(gallery, seed):
    rng = np.random.default_rng(seed)
    picked = gallery.leaf_ids[rng.integers(len(gallery), size=6)]
    cells = [s2.parents(picked[i : i + 1], level)[0] for i, level in enumerate([1, 4, 7, 9, 30, 9])]
    cells += [s2.parents(picked[:1], 6)[0], cells[2]]
    check(gallery, rng.standard_normal(16), 12, cell_ids=np.array(cells, np.uint64))


@pytest.mark.parametrize("area", [(-60, -50, 90, 80), (60, -80, -60, 80), (0, 0, 0, 0)])
def test_area_alone_and_with_cells(gallery, area):
    rng = np.random.default_rng(3)
    check(gallery, rng.standard_normal(16), 10, area=area)
    cells = np.unique(s2.parents(gallery.leaf_ids[rng.integers(300, size=4)], 2))
    check(gallery, rng.standard_normal(16), 10, cell_ids=cells, area=area)


def test_an_area_never_costs_matches(gallery):
    query = np.random.default_rng(4).standard_normal(16)
    for south in (-80, 0, 60):
        area = (-180, south, 180, 90)
        hits = len(gallery.rows_in_area(area))
        assert len(search(gallery, query, 25, area=area).rows) == min(25, hits)


def test_twins_tie_in_row_order(gallery):
    # Descriptors 0..4 and 150..154 of the inputs are equal, at different places.
    keys = [photo["key"] for photo in gallery.photos(range(len(gallery)))]
    for i in range(5):
        twins = sorted([keys.index(f"photo{i}"), keys.index(f"photo{150 + i}")])
        matches = search(gallery, gallery.descriptors[twins[0]], 2)
        assert matches.rows.tolist() == twins
        assert matches.scores[0] == matches.scores[1]
        assert search(gallery, gallery.descriptors[twins[0]], 1).rows.tolist() == twins[:1]


@pytest.mark.parametrize("dim", [1, 3, 33, 520])
def test_any_dimension_and_many_blocks(make_inputs, monkeypatch, dim):
    monkeypatch.setattr(search_module, "BLOCK_VALUES", 7 * dim)
    kept = Gallery.in_memory(**make_inputs(60, dim))
    query = np.random.default_rng(dim).standard_normal(dim)
    check(kept, query, 9)
    check(kept, query, 9, area=(-150, -70, 150, 70))


def test_near_ties_below_float32_rounding_are_told_apart(make_inputs):
    # All rows at one angle to the query but for float16's rounding: in the middle of the ranking
    # cosines lie closer than float32 sums can order.
    inputs = make_inputs(2000, 64)
    rng = np.random.default_rng(5)
    query = rng.standard_normal(64)
    query /= np.linalg.norm(query)
    across = rng.standard_normal((2000, 64))
    across -= (across @ query)[:, None] * query
    inputs["descriptors"] = query + across / np.linalg.norm(across, axis=1, keepdims=True)
    kept = Gallery.in_memory(**inputs)
    ranking, _ = brute_force(kept, query, 2000)
    for k in range(900, 1100):
        assert search(kept, query, k).rows.tolist() == ranking[:k]


def test_many_twins_in_any_dimension_come_in_row_order(make_inputs):
    for dim in (3, 31, 101, 257):
        inputs = make_inputs(103, dim)
        inputs["descriptors"][:] = inputs["descriptors"][0]
        kept = Gallery.in_memory(**inputs)
        query = np.random.default_rng(dim).standard_normal(dim)
        assert search(kept, query, 103).rows.tolist() == list(range(103))
        assert search(kept, query, 10).rows.tolist() == list(range(10))


def test_small_halves_count(make_inputs):
    # Subnormal float16 values, below 6e-5, go through the bit shift too.
    inputs = make_inputs(30, 8)
    inputs["descriptors"][:, 1:] *= 1e-5
    kept = Gallery.in_memory(**inputs)
    assert ((np.abs(kept.descriptors) > 0) & (np.abs(kept.descriptors) < 6e-5)).any()
    check(kept, np.array([1e-4, 1, -1, 1, 1, 1, 1, 1]), 5)


def test_an_empty_gate_gives_no_matches(gallery):
    query = np.ones(16)
    nowhere = s2.cell_ids(89.9, 0.0)
    for gate in ({"cell_ids": []}, {"cell_ids": nowhere}, {"area": (0, 89.5, 1, 89.6)}):
        matches = search(gallery, query, 5, **gate)
        assert len(matches.rows) == len(matches.scores) == 0


def test_one_photo_is_a_gallery(make_inputs):
    kept = Gallery.in_memory(**make_inputs(1))
    assert search(kept, 5 * kept.descriptors[0], 3).rows.tolist() == [0]
    assert search(kept, -kept.descriptors[0], 3).scores == pytest.approx([-1], abs=2e-3)


@pytest.mark.parametrize("seed", range(20))
def test_merged_ranges_cover_the_same_rows_once(seed):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 50, size=seed)
    ranges = np.stack([first, first + rng.integers(0, 6, size=seed)], axis=1)
    union = sorted({row for a, b in ranges.tolist() for row in range(a, b)})
    found = merged(ranges).tolist()
    assert [row for a, b in found for row in range(a, b)] == union
    assert all(b < c for (_, b), (c, _) in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        (np.ones(15), 1, "16 values"),
        (np.ones((1, 16)), 1, "16 values"),
        (np.zeros(16), 1, "NaN, infinite or zero"),
        (np.full(16, np.nan), 1, "NaN, infinite or zero"),
        (np.ones(16), 0, "k must be 1"),
    ],
)
def test_bad_queries_are_refused(gallery, query, k, message):
    with pytest.raises(ValueError, match=message):
        search(gallery, query, k)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1000.0])
def test_damaged_descriptors_are_refused(make_inputs, value):
    kept = Gallery.in_memory(**make_inputs(30))
    kept.descriptors[11, 2] = value
    with pytest.raises(ValueError, match="descriptor 11 of the gallery"):
        search(kept, np.ones(16), 3)
