"""Land outlines: closed, in range, and over land."""

import numpy as np
import pytest

from partitioning.coastline import land_polygons


@pytest.fixture(scope="module")
def rings():
    return land_polygons()


def is_land(rings, lat, lon):
    """The even-odd rule over all rings: a hole counts out what its land counts in."""
    inside = False
    for ring in rings:
        y, x = ring[:-1].T
        next_y, next_x = ring[1:].T
        crosses = (y > lat) != (next_y > lat)
        with np.errstate(divide="ignore", invalid="ignore"):
            east = lon < x + (lat - y) / (next_y - y) * (next_x - x)
        inside ^= bool(np.sum(crosses & east) % 2)
    return inside


@pytest.mark.parametrize(
    ("lat", "lon"),
    [(48.1, 11.6), (40, -100), (-25, 135), (0, 20), (72, -40), (68, 178), (68, -178), (-85, 5)],
)
def test_inland_places_are_land(rings, lat, lon):
    assert is_land(rings, lat, lon)


@pytest.mark.parametrize(
    ("lat", "lon"), [(0, -30), (0, -150), (-40, 80), (41.9, 50.6), (88, 10), (30, -179.9), (35, 18)]
)
def test_seas_are_not_land(rings, lat, lon):
    assert not is_land(rings, lat, lon)


def test_rings_are_closed_and_lie_on_the_map(rings):
    assert len(rings) > 100
    for ring in rings:
        assert ring.dtype == np.float64
        np.testing.assert_array_equal(ring[0], ring[-1])
        assert np.abs(ring[:, 0]).max() <= 90
        assert np.abs(ring[:, 1]).max() <= 180 + 1e-9
        along_border = np.abs(ring[:, 0]) > 89
        jumps = np.abs(np.diff(ring[:, 1]))[~along_border[1:]]
        assert jumps.max() < 180, "the ring crosses the map"


def test_land_covers_29_percent_of_the_globe(rings):
    """The area under each edge on the sphere, by the trapezoid of its sines; holes subtract."""
    land = 0.0
    for ring in rings:
        lat, lon = np.radians(ring.T)
        land += np.sum(np.diff(lon) * (np.sin(lat[1:]) + np.sin(lat[:-1])) / 2)
    assert abs(land) / (4 * np.pi) == pytest.approx(0.29, abs=0.01)
