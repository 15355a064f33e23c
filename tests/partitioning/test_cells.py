"""Adaptive cells against a naive partition with s2sphere."""

import numpy as np
import pytest

from partitioning import s2
from partitioning.cells import build
from partitioning.geodesy import haversine_km, positions_of, unit_vectors


def assert_same_as_naive(cells, kept, lat, lon):
    assert dict(zip(cells.ids.tolist(), cells.photos.tolist(), strict=True)) == {
        cell: len(rows) for cell, rows in kept.items()
    }
    assert np.all(np.diff(cells.ids.astype(object)) > 0)
    classes = np.full(len(lat), -1)
    for class_id, cell in enumerate(cells.ids.tolist()):
        rows = kept[cell]
        classes[rows] = class_id
        mean = positions_of(*unit_vectors(lat[rows], lon[rows]).sum(axis=0))
        error_km = haversine_km(*mean, cells.lat[class_id], cells.lon[class_id])
        assert error_km < 1e-5, "the mean is off by more than 1 cm"
    np.testing.assert_array_equal(cells.assign(lat, lon), classes)


@pytest.mark.parametrize(
    ("t_min", "t_max", "min_level", "max_level"),
    [
        (50, 1000, 2, 30),
        (5, 40, 2, 30),
        (1, 1, 2, 30),
        (20, 60, 0, 7),
        (3, 30, 4, 4),
        (1, 9, 6, 12),
    ],
)
def test_cells_equal_the_naive_algorithm(towns, oracle, t_min, t_max, min_level, max_level):
    lat, lon = towns
    kept = oracle.partition(lat, lon, t_min, t_max, min_level, max_level)
    cells = build(lat, lon, t_min, t_max, min_level, max_level)
    assert len(cells) > 3
    assert_same_as_naive(cells, kept, lat, lon)


def test_cells_do_not_depend_on_the_order_of_photos(towns):
    lat, lon = towns
    # Several photos in one leaf cell, whose order no sorting of ids can settle.
    lat, lon = np.concatenate([lat, lat[:500] + 1e-9]), np.concatenate([lon, lon[:500]])
    shuffled = np.random.default_rng(1).permutation(len(lat))
    cells, other = build(lat, lon, 10, 100), build(lat[shuffled], lon[shuffled], 10, 100)
    for name in ("ids", "photos", "lat", "lon"):
        np.testing.assert_array_equal(getattr(cells, name), getattr(other, name))
    np.testing.assert_array_equal(
        cells.assign(lat, lon)[shuffled], other.assign(lat[shuffled], lon[shuffled])
    )


def test_a_burst_at_one_spot_stays_a_leaf_cell():
    cells = build(np.full(300, 48.137), np.full(300, 11.575), t_min=50, t_max=100)
    assert s2.levels(cells.ids).tolist() == [30]
    assert cells.photos.tolist() == [300]
    assert cells.assign([48.137, 48.138], [11.575, 11.575]).tolist() == [0, -1]


def test_thresholds_are_inclusive(oracle):
    """More than t_max splits and fewer than t_min drops: exactly so many do neither."""
    lat, lon = np.full(100, 10.0), np.full(100, 20.0)
    assert s2.levels(build(lat, lon, 100, 100).ids).tolist() == [2]
    assert s2.levels(build(lat, lon, 50, 99).ids).tolist() == [30]
    assert len(build(lat[:99], lon[:99], 100, 100)) == 0


def test_no_photo_and_no_cell():
    cells = build([], [], 1, 10)
    assert len(cells) == 0
    assert cells.assign([1.0], [2.0]).tolist() == [-1]
    assert cells.assign([], []).shape == (0,)
    assert build([1.0], [2.0], 1, 1).assign([], []).shape == (0,)


def test_positions_before_the_first_and_after_the_last_cell_have_none():
    """Face 0 sorts before, face 5 after a cell on face 2, the north."""
    cells = build([85.0], [30.0], 1, 1)
    assert cells.assign([0, 85, -85], [0, 30, 0]).tolist() == [-1, 0, -1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 10), "1 <= t_min"),
        ((11, 10), "t_min 11 and t_max 10"),
        ((1, 10, 5, 4), "min_level 5 and max_level 4"),
        ((1, 10, 2, 31), "max_level 31"),
    ],
)
def test_senseless_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build([1.0], [2.0], *arguments)


def test_bad_positions_are_refused():
    with pytest.raises(ValueError, match="1 of 2 positions"):
        build([1.0, np.nan], [2.0, 3.0], 1, 10)
