"""Rectangles, across the antimeridian too."""

import numpy as np
import pytest

from partitioning import s2
from partitioning.geodesy import haversine_km
from retrieval.area import cells_in_area, check_area, in_area, nearest_in_area

LAT = np.array([0.0, 10.0, 10.0, -89.0, 0.0, 0.0])
LON = np.array([0.0, 179.5, -179.5, 0.0, 180.0, -180.0])


@pytest.mark.parametrize(
    ("area", "rows"),
    [
        ((-1, -1, 1, 1), [0]),
        ((0, 0, 0, 0), [0]),
        ((-180, -90, 180, 90), [0, 1, 2, 3, 4, 5]),
        ((170, 0, -170, 20), [1, 2, 4, 5]),
        ((170, 5, -179.6, 20), [1]),
        ((170, 0, 180, 20), [1, 4, 5]),
        ((-180, 0, -170, 20), [2, 4, 5]),
        ((-180, 0, -180, 0), [4, 5]),
        ((170, 0, 179.9, 20), [1]),
        ((5, 5, 6, 6), []),
    ],
)
def test_in_area_by_hand(area, rows):
    check_area(area)
    assert np.flatnonzero(in_area(LAT, LON, area)).tolist() == rows


def test_edges_are_exact_to_the_last_bit():
    # float32 would put both on the same side (SQLite's R*Tree does).
    edge = 2.3522
    lon = np.array([np.nextafter(edge, 0), edge, np.nextafter(edge, 9)])
    inside = in_area(np.zeros(3), lon, (edge, -1, 3, 1))
    assert inside.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("area", "message"),
    [
        ((0, 1, 2), "four numbers"),
        ((0, 1, float("nan"), 3), "four numbers"),
        ((0, 5, 2, 3), "south above"),
        ((-181, 0, 2, 3), "leaves the map"),
        ((0, 0, 2, 91), "leaves the map"),
    ],
)
def test_check_area_refuses(area, message):
    with pytest.raises(ValueError, match=message):
        check_area(area)


@pytest.mark.parametrize("seed", range(4))
def test_no_cell_that_reaches_into_the_area_is_lost(seed):
    rng = np.random.default_rng(seed)
    poles = np.array([[89.0, 30.0], [-89.9, -150.0], [10.0, 179.99]])
    for trial in range(120):
        lat, lon = rng.uniform(-90, 90), rng.uniform(-180, 180)
        if trial % 4 == 0:
            lat, lon = poles[trial % 3]
        cell = s2.cell_ids([lat], [lon], int(rng.integers(0, 9)))
        low, high = int(s2.range_min(cell)[0]), int(s2.range_max(cell)[0])
        leaves = rng.integers(low, high, 60, dtype=np.uint64, endpoint=True) | np.uint64(1)
        wide, tall = 10 ** rng.uniform(-3, 2, 2)
        west, south = lon + rng.uniform(-1, 1) * wide, np.clip(lat - rng.uniform(0, tall), -90, 90)
        west, east = ((x + 180) % 360 - 180 for x in (west, west + wide))
        area = (west, south, east, min(south + tall, 90))
        if in_area(*s2.centers(leaves), area).any():
            assert cells_in_area(cell, area)[0], (s2.tokens(cell), area)


def test_a_cube_face_about_a_pole_is_found_all_around():
    faces = {lat: s2.cell_ids([lat], [0.0], 0) for lat in (-90.0, 90.0)}
    for west in range(-180, 180, 3):
        for lat, face in faces.items():
            low, high = sorted((lat, lat * 0.9))
            assert cells_in_area(face, (west, low, west + 2, high))[0]
            assert not cells_in_area(face, (west, -30, west + 2, 30))[0]


def test_cells_far_from_the_area_are_not_taken(partition):
    ids = partition.fine.ids
    lat, lon = s2.centers(ids)
    for area in ((0.0, 40.0, 9.0, 50.0), (170.0, -50.0, -95.0, -20.0)):
        got = cells_in_area(ids, area)
        near = [nearest_in_area(a, o, area) for a, o in zip(lat, lon, strict=True)]
        away = haversine_km(lat, lon, *np.transpose(near))
        size = haversine_km(lat[:, None], lon[:, None], *np.moveaxis(s2.corners(ids), 2, 0))
        assert not np.any(got & (away > 3 * size.max(axis=1)))


@pytest.mark.parametrize(
    ("position", "nearest"),
    [((5, 175), (5, 175)), ((5, 20), (5, 170)), ((50, -100), (10, -160)), ((-50, 180), (-10, 180))],
)
def test_nearest_position_of_an_area(position, nearest):
    assert nearest_in_area(*position, (170, -10, -160, 10)) == nearest
