"""Rectangles, across the antimeridian too."""

import numpy as np
import pytest

from retrieval.area import check_area, in_area

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
