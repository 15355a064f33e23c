"""Rings of the sphere cut so that they draw right on a map from 180 W to 180 E.

A ring that crosses the antimeridian becomes one ring on each side of it (RFC 7946, section 3.1.9).
One that touches a pole runs along the map's upper or lower border, where the pole is a line.
"""

import numpy as np

POLE_DEG = 90 - 1e-9
WIDTH_DEG = 1e-9


def map_rings(ring: np.ndarray) -> list[np.ndarray]:
    """Cut a ring into closed rings (M, 2), (lat, lon) in degrees, each within -180 to 180.

    Args:
        ring: points (N, 2), (lat, lon) in degrees, closed or not, each less than 180 degrees of
            longitude from the next, save at a pole.
    """
    ring = ring[:-1] if np.array_equal(ring[0], ring[-1]) else ring
    ring = _unwrapped(_poles_as_lines(ring))
    west, east = ring[:, 1].min(), ring[:, 1].max()
    turns = range(int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360)))
    rings = [_between(ring, -180 + 360 * turn, 180 + 360 * turn) for turn in turns]
    return [
        np.concatenate([part, part[:1]]) - [0, 360 * turn]
        for turn, part in zip(turns, rings, strict=True)
        # A ring that only touches the antimeridian leaves a line of no width beyond it.
        if len(part) and np.ptp(part[:, 1]) > WIDTH_DEG
    ]


def _poles_as_lines(ring: np.ndarray) -> np.ndarray:
    """Replace a point at a pole by two, on the meridians of the points before and after it."""
    points = []
    for k, (lat, lon) in enumerate(ring):
        if abs(lat) < POLE_DEG:
            points.append((lat, lon))
        else:
            points += [(lat, ring[k - 1, 1]), (lat, ring[(k + 1) % len(ring), 1])]
    return np.array(points)


def _unwrapped(ring: np.ndarray) -> np.ndarray:
    """Let longitudes run on past 180; a ring around a pole is led along the map's border."""
    closed = np.concatenate([ring, ring[:1]])
    lat, lon = closed[:, 0], np.unwrap(closed[:, 1], period=360)
    if abs(lon[-1] - lon[0]) < 180:
        return np.stack([lat[:-1], lon[:-1]], axis=1)
    pole = np.copysign(90, lat.mean())
    return np.stack([[*lat, pole, pole], [*lon, lon[-1], lon[0]]], axis=1)


def _between(ring: np.ndarray, west: float, east: float) -> np.ndarray:
    """The part of an open ring between two meridians (Sutherland and Hodgman 1974)."""
    for limit, side in ((west, 1), (east, -1)):
        if len(ring) and np.any(side * (ring[:, 1] - limit) < 0):
            ring = _one_side(ring, limit, side)
    return ring


def _one_side(ring: np.ndarray, limit: float, side: int) -> np.ndarray:
    points = []
    for (lat, lon), (next_lat, next_lon) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        here, there = side * (lon - limit), side * (next_lon - limit)
        if here >= 0:
            points.append((lat, lon))
        if here * there < 0:
            part = here / (here - there)
            points.append((lat + part * (next_lat - lat), limit))
    return np.array(points).reshape(-1, 2)
