"""Countries: known cities, a plain ray-casting loop, and the rule for coasts."""

import json
from itertools import pairwise

import numpy as np
import pytest

from partitioning.countries import COAST_KM, COUNTRIES_FILE, _outlines, country_of
from partitioning.geodesy import haversine_km

CITIES = {
    "France": (48.857, 2.352),
    "Germany": (52.52, 13.405),
    "United States of America": (39.739, -104.99),
    "Brazil": (-15.794, -47.882),
    "Japan": (35.682, 139.69),
    "Australia": (-35.281, 149.13),
    "Kenya": (-1.286, 36.817),
    "Russia": (55.756, 37.617),
    "India": (28.614, 77.209),
    "South Africa": (-29.118, 26.22),
    "Lesotho": (-29.6, 28.25),  # inside South Africa, a hole of its outline
    "Iceland": (64.9, -18.5),
    "New Zealand": (-44.0, 171.0),
    "Mongolia": (47.886, 106.906),
    "Antarctica": (-85.0, 10.0),
}


def test_cities():
    lat, lon = np.array(list(CITIES.values())).T
    assert country_of(lat, lon).tolist() == list(CITIES)


def test_both_sides_of_the_antimeridian():
    assert country_of([67.0, 67.0], [179.5, -179.5]).tolist() == ["Russia", "Russia"]


def test_coasts_and_seas():
    """Harbour towns that the coarse outlines leave in the sea; the open ocean; far islands."""
    towns = {"Portugal": (38.69, -9.42), "Italy": (45.434, 12.339), "Norway": (60.39, 5.32)}
    lat, lon = np.array(list(towns.values())).T
    assert country_of(lat, lon).tolist() == list(towns)
    assert country_of([0.0, 30.0, 47.0, 90.0], [-30.0, -150.0, -20.0, 0.0]).tolist() == [""] * 4
    # Singapore is not on this map; Malaysia is 20 km off. Malta's nearest land is 90 km off.
    assert country_of([1.29, 35.9], [103.85, 14.45]).tolist() == ["Malaysia", ""]


def is_inside(rings, lat, lon):
    """The even-odd rule, one edge after the other."""
    inside = False
    for ring in rings:
        for (lat1, lon1), (lat2, lon2) in pairwise(ring):
            if (lat1 > lat) != (lat2 > lat):
                inside ^= lon < lon1 + (lat - lat1) / (lat2 - lat1) * (lon2 - lon1)
    return inside


def kilometres_to(rings, lat, lon):
    """Distance to the nearest of many points between the corners of the rings."""
    least = np.inf
    for ring in rings:
        if np.abs(ring[:, 0] - lat).min() > 30:
            continue
        for start, end in pairwise(ring):
            points = start + np.linspace(0, 1, 40)[:, None] * (end - start)
            least = min(least, haversine_km(lat, lon, *points.T).min())
    return least


def test_equals_a_loop():
    """Random places of a corner of Europe with islands, lakes and a dozen countries."""
    rng = np.random.default_rng(3)
    lat, lon = rng.uniform(35, 61, 50), rng.uniform(-10, 30, 50)
    outlines = [
        (name, rings) for name, rings in _outlines() if any(kilometres_box(ring) for ring in rings)
    ]
    for y, x, found in zip(lat, lon, country_of(lat, lon), strict=True):
        around = [name for name, rings in outlines if is_inside(rings, y, x)]
        if around:
            assert [found] == around
            continue
        off = {name: kilometres_to(rings, y, x) for name, rings in outlines}
        nearest = min(off, key=off.get)
        assert found == (nearest if off[nearest] <= COAST_KM else ""), (y, x, off[nearest])


def kilometres_box(ring):
    """Whether a ring comes near the corner of Europe that is tried."""
    (south, west), (north, east) = ring.min(axis=0), ring.max(axis=0)
    return south < 63 and north > 33 and west < 33 and east > -13


def test_order_and_company_do_not_matter():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-90, 90, 400), rng.uniform(-180, 180, 400)
    together = country_of(lat, lon)
    assert together[::-1].tolist() == country_of(lat[::-1], lon[::-1]).tolist()
    assert together[:20].tolist() == [country_of(lat[i], lon[i])[0] for i in range(20)]
    assert 0.2 < (together != "").mean() < 0.7


def test_none_and_bad_positions():
    assert country_of([], []).tolist() == []
    assert country_of(48.857, 2.352).tolist() == ["France"]
    with pytest.raises(ValueError, match="swapped"):
        country_of([120.0], [45.0])
    with pytest.raises(ValueError, match="2 latitudes but 1"):
        country_of([1.0, 2.0], [1.0])


def test_every_country_of_the_file_can_be_found():
    """A place well inside each: the mean of three corners in a row, where that is inside."""
    geometries = json.loads(COUNTRIES_FILE.read_text())["objects"]["countries"]["geometries"]
    expected = {shape["properties"]["name"] for shape in geometries}
    places = {}
    for name, rings in _outlines():
        for ring in rings:
            triples = (ring[:-2] + ring[1:-1] + ring[2:]) / 3
            if name not in places:
                inside = (place for place in triples if is_inside([ring], *place))
                if (place := next(inside, None)) is not None:
                    places[name] = place
    assert places.keys() == expected
    lat, lon = np.array(list(places.values())).T
    assert country_of(lat, lon).tolist() == list(places)
