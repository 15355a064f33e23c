"""The country of a position, from outlines at 1:110 million: good for statistics, not for borders.

The shapes are Natural Earth's (public domain) from the npm package world-atlas (ISC licence, see
LICENSE-land-110m.txt, which holds for countries-110m.json too), and so are the names; where a
border is disputed, they show who holds the land. The outlines are coarse: they may be tens of
kilometres off, and have no Singapore, Malta or Monaco. A position in their sea is given to the
nearest country within 50 km, for most photos taken there were taken on a coast.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partitioning.geodesy import EARTH_RADIUS_KM, check_positions, haversine_km, unit_vectors
from partitioning.topojson import named_rings

COUNTRIES_FILE = Path(__file__).with_name("countries-110m.json")
COAST_KM = 50.0  # how far off a country's outline a position may lie in the sea and still be its
SPACING_KM = 5.0  # of points along the outlines: distances to them are 0.1 km too long at most
SEA = ""
NOWHERE = -1
SQUARE_REACH_DEG = 0.71  # from the middle of a square degree to its corners
AT_A_TIME = 1024  # positions whose distances to all outlines nearby are taken together


def country_of(lat: npt.ArrayLike, lon: npt.ArrayLike) -> np.ndarray:
    """Names of the countries, str (N,), of positions in degrees (N,); "" on the sea.

    Raises:
        ValueError: the arrays differ in length, or a position is out of range.
    """
    lat, lon = (np.atleast_1d(np.asarray(x, np.float64)) for x in (lat, lon))
    check_positions(lat, lon)
    # In the order of latitude, each edge of an outline meets one slice of the positions.
    order = np.argsort(lat, kind="stable")
    numbers = _containing(lat[order], lon[order])
    at_sea = np.flatnonzero(numbers == NOWHERE)
    numbers[at_sea] = _nearest(lat[order][at_sea], lon[order][at_sea])
    found = np.empty(len(lat), object)
    found[order] = np.array([*(name for name, _ in _outlines()), SEA], object)[numbers]
    return found


@cache
def _outlines() -> list[tuple[str, list[np.ndarray]]]:
    return list(named_rings(COUNTRIES_FILE, "countries"))


def _containing(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """The number of the country around each position, sorted by latitude; NOWHERE on the sea.

    Even-odd rule over all rings of a country: a ray from a position to the east meets
    them an odd number of times if it starts inside, and a hole counts out what its land counts in.
    """
    numbers = np.full(len(lat), NOWHERE)
    for number, (_, rings) in enumerate(_outlines()):
        for rows in _odd(lat, lon, rings):
            numbers[rows] = number
    return numbers


def _odd(lat: np.ndarray, lon: np.ndarray, rings: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Rows of the positions inside a country."""
    points = np.concatenate(rings)
    (south, west), (north, east) = points.min(axis=0), points.max(axis=0)
    first, last = np.searchsorted(lat, [south, north])
    near = first + np.flatnonzero((lon[first:last] >= west) & (lon[first:last] <= east))
    if not len(near):
        return
    here_lat, here_lon = lat[near], lon[near]
    is_odd = np.zeros(len(near), bool)
    for ring in rings:
        lower = np.minimum(ring[:-1, 0], ring[1:, 0])
        upper = np.maximum(ring[:-1, 0], ring[1:, 0])
        # Half-open: a position at the latitude of a corner meets one of its two edges.
        starts, ends = here_lat.searchsorted(lower), here_lat.searchsorted(upper)
        slopes = np.diff(ring[:, 1]) / np.where(upper > lower, np.diff(ring[:, 0]), 1)
        for edge in np.flatnonzero(ends > starts):
            rows = slice(starts[edge], ends[edge])
            crossing = ring[edge, 1] + (here_lat[rows] - ring[edge, 0]) * slopes[edge]
            is_odd[rows] ^= here_lon[rows] < crossing
    yield near[is_odd]


@cache
def _shores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latitude, unit vector and country of points along all outlines, sorted by latitude."""
    lines = [(number, ring) for number, (_, rings) in enumerate(_outlines()) for ring in rings]
    points = [_densified(ring) for _, ring in lines]
    numbers = np.repeat([number for number, _ in lines], [len(dense) for dense in points])
    lat, lon = np.concatenate(points).T
    order = np.argsort(lat)
    return lat[order], unit_vectors(lat[order], lon[order]), numbers[order]


def _densified(ring: np.ndarray) -> np.ndarray:
    """Points along a ring, SPACING_KM apart or less."""
    parts = []
    for start, end in pairwise(ring):
        pieces = max(1, int(np.ceil(haversine_km(*start, *end) / SPACING_KM)))
        parts.append(start + np.arange(pieces)[:, None] / pieces * (end - start))
    return np.concatenate(parts)


def _nearest(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """The country with the nearest outline within COAST_KM; NOWHERE if there is none."""
    numbers = np.full(len(lat), NOWHERE)
    square = np.floor(lat) * 360 + np.floor(lon)
    order = np.argsort(square, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(square[order])) + 1):
        if len(rows):
            numbers[rows] = _nearest_from_square(lat[rows], lon[rows])
    return numbers


def _nearest_from_square(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """`_nearest` for positions that lie within one square degree."""
    shore_lat, shore_vectors, shore_numbers = _shores()
    reach = COAST_KM / EARTH_RADIUS_KM
    south, west = np.floor(lat[0]), np.floor(lon[0])
    margin_deg = np.degrees(reach)
    band = slice(*shore_lat.searchsorted([south - margin_deg, south + 1 + margin_deg]))
    middle = unit_vectors(south + 0.5, west + 0.5)
    is_near = shore_vectors[band] @ middle >= np.cos(reach + np.radians(SQUARE_REACH_DEG))
    if not is_near.any():
        return np.full(len(lat), NOWHERE)
    vectors, numbers = shore_vectors[band][is_near], shore_numbers[band][is_near]
    found = []
    for first in range(0, len(lat), AT_A_TIME):
        rows = slice(first, first + AT_A_TIME)
        cosines = unit_vectors(lat[rows], lon[rows]) @ vectors.T
        is_reached = cosines.max(axis=1) >= np.cos(reach)
        found.append(np.where(is_reached, numbers[cosines.argmax(axis=1)], NOWHERE))
    return np.concatenate(found)
