"""Distances and means on the sphere against formulas and known cities."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioning.geodesy import (
    EARTH_RADIUS_KM,
    check_positions,
    haversine_km,
    position_problems,
    unit_vectors,
)

LAT = st.floats(-90, 90)
LON = st.floats(-180, 180)


def angle_between_km(a, b):
    """The angle of two vectors by atan2 of cross and dot product: no haversine in it."""
    vectors = []
    for lat, lon in (a, b):
        phi, theta = math.radians(lat), math.radians(lon)
        vectors.append(
            (math.cos(phi) * math.cos(theta), math.cos(phi) * math.sin(theta), math.sin(phi))
        )
    cross = np.cross(*vectors)
    return EARTH_RADIUS_KM * math.atan2(math.hypot(*cross), np.dot(*vectors))


@given(LAT, LON, LAT, LON)
def test_haversine_is_the_angle_between_vectors(lat1, lon1, lat2, lon2):
    expected = angle_between_km((lat1, lon1), (lat2, lon2))
    # Haversine loses digits near antipodes: 1 cm there, far better elsewhere.
    tolerance_km = 1e-6 if expected < 0.99 * math.pi * EARTH_RADIUS_KM else 0.2
    assert haversine_km(lat1, lon1, lat2, lon2) == pytest.approx(expected, abs=tolerance_km)


def test_haversine_on_distances_known_by_hand():
    quarter = EARTH_RADIUS_KM * math.pi / 2
    assert haversine_km(0, 0, 90, 77) == pytest.approx(quarter)
    assert haversine_km(0, 0, 0, 180) == pytest.approx(2 * quarter)
    assert haversine_km(0, 179, 0, -179) == pytest.approx(quarter / 45)
    assert haversine_km(90, 5, 90, -100) == pytest.approx(0, abs=1e-9)
    assert haversine_km(12, 34, 12, 34) == 0


def test_haversine_broadcasts():
    distances = haversine_km(np.zeros((3, 1)), np.zeros((3, 1)), np.zeros(4), np.arange(4.0))
    assert distances.shape == (3, 4)
    np.testing.assert_allclose(distances[2], EARTH_RADIUS_KM * np.radians(np.arange(4)))
    assert haversine_km([], [], [], []).shape == (0,)


def test_unit_vectors_point_where_they_should():
    lat, lon = [0, 0, 90, -90, 0], [0, 90, 12, 0, 180]
    expected = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [-1, 0, 0]]
    np.testing.assert_allclose(unit_vectors(lat, lon), expected, atol=1e-15)
    assert unit_vectors([], []).shape == (0, 3)


def test_position_problems_names_each_kind():
    lat = [48.1, np.nan, 1, np.inf, 120, 120, -90, 90.001, -91, 10]
    lon = [11.2, 1, np.nan, 0, 45, 95, 180, 180.5, 10, -180.1]
    expected = ["", "missing", "missing", "missing", "swapped?", "out of range"]
    expected += ["", "out of range", "swapped?", "out of range"]
    assert position_problems(lat, lon).tolist() == expected
    assert position_problems([], []).shape == (0,)


def test_check_positions_counts_and_shows_the_first_offender():
    lat, lon = np.array([1.0, 200, 100, np.nan]), np.array([1.0, 0, 20, 2])
    with pytest.raises(ValueError, match=r"3 of 4 .* row 1: lat 200.0, lon 0.0 \(out of range\)"):
        check_positions(lat, lon)
    with pytest.raises(ValueError, match="4 latitudes but 2 longitudes"):
        check_positions(lat, lon[:2])
    check_positions(np.array([90.0, -90]), np.array([180.0, -180]))


def test_haversine_of_antipodes_is_half_the_circumference():
    """Rounding pushes some of the squared half chords over 1, where an arcsine could be NaN."""
    lat, lon = np.random.default_rng(0).uniform(-90, 0, (2, 1000)).round(2)
    half = math.pi * EARTH_RADIUS_KM
    np.testing.assert_allclose(haversine_km(lat, lon, -lat, lon + 180), half, atol=0.2)
