"""Rings cut at 180 degrees and around the poles."""

import numpy as np
import pytest

from partitioning.antimeridian import map_rings


def area(ring):
    """Signed area in square degrees on the map (shoelace formula); positive counter-clockwise."""
    lat, lon = ring.T
    return np.sum(lon[:-1] * lat[1:] - lon[1:] * lat[:-1]) / 2


def square(west, east, south=-10.0, north=10.0):
    return np.array([[south, west], [south, east], [north, east], [north, west]])


def test_a_ring_off_the_antimeridian_is_only_closed():
    ring = square(10, 30)
    (found,) = map_rings(ring)
    np.testing.assert_array_equal(found, np.concatenate([ring, ring[:1]]))
    (again,) = map_rings(found)
    np.testing.assert_array_equal(again, found)


def test_a_ring_across_the_antimeridian_is_cut_in_two():
    rings = map_rings(square(170, -160))
    assert sorted(area(ring) for ring in rings) == pytest.approx([200, 400])
    for ring in rings:
        assert np.abs(ring[:, 1]).max() == 180
        np.testing.assert_array_equal(ring[0], ring[-1])
        assert np.ptp(ring[:, 1]) <= 20


@pytest.mark.parametrize(
    ("west", "east"),
    [(170, 180), (170, -180), (180, -170), (-180, -170), (170, -180 + 1e-12), (180 - 1e-12, -170)],
)
def test_a_ring_that_ends_at_the_antimeridian_stays_one(west, east):
    (ring,) = map_rings(square(west, east))
    assert area(ring) == pytest.approx(200)
    assert np.ptp(ring[:, 1]) == pytest.approx(10)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_corner_at_a_pole_becomes_a_line(sign):
    ring = np.array([[60.0, 0], [60, 90], [90, 33]]) * [sign, 1]
    (found,) = map_rings(ring)
    assert abs(area(found)) == pytest.approx(30 * 90)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_ring_around_a_pole_is_led_along_the_border(sign):
    ring = np.array([[70.0, lon] for lon in (-150, -60, 30, 120)]) * [sign, 1]
    rings = map_rings(ring)
    assert sum(abs(area(part)) for part in rings) == pytest.approx(20 * 360)
    assert max(np.abs(part[:, 1]).max() for part in rings) == 180


def test_a_line_on_the_antimeridian_is_no_ring():
    assert map_rings(np.array([[0.0, 180], [10, 180], [5, -180]])) == []
