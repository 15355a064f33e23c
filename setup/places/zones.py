"""Positions in degrees as metres on the map of one UTM zone.

UTM (universal transverse Mercator) cuts the globe into zones 6 degrees wide, with metres of their
own: those of two zones cannot be compared. A town that a border of zones or the equator runs
through is written in one zone, whose map goes on a little beyond its edge (4 degrees from its
middle, scale is wrong by 0.2%). Arithmetic: the package utm, to the millimetre.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import utm
from numpy.typing import NDArray

FROM_MIDDLE_DEG = 4.0  # a zone's own edge is 3 from it
SOUTH, NORTH = -80.0, 84.0  # beyond these, UTM has no zones
SOUTHERN_M = 10_000_000.0  # added to northings on the southern half, so that none is negative


@dataclass(frozen=True)
class ZonePhotos:
    """Photos of one zone.

    Attributes:
        zone: 1 to 60.
        rows: Of the photos, among all, int64 `(N,)`.
        utm_m: `(N, 2)`, metres east and north.
        letters: Of their bands of latitude.
    """

    zone: int
    rows: NDArray[np.int64]
    utm_m: NDArray[np.float64]
    letters: list[str]


def in_zones(lat: Sequence[float], lon: Sequence[float]) -> list[ZonePhotos]:
    """Sort photos into zones, the fullest first; those next to a zone's edge join a fuller one.

    Args:
        lat: Degrees, within `SOUTH` and `NORTH`.
        lon: Degrees.
    """
    lats, lons = np.asarray(lat, np.float64), np.asarray(lon, np.float64)
    own = np.array([utm.latlon_to_zone_number(a, o) for a, o in zip(lats, lons, strict=True)])
    left = np.ones(len(lats), bool)
    found = []
    while left.any():
        zone = int(np.bincount(own[left]).argmax())
        middle = utm.zone_number_to_central_longitude(zone)
        away_deg = np.abs((lons - middle + 180) % 360 - 180)
        rows = np.flatnonzero(left & ((own == zone) | (away_deg <= FROM_MIDDLE_DEG)))
        left[rows] = False
        found.append(_zone(zone, rows, lats[rows], lons[rows]))
    return sorted(found, key=lambda photos: (-len(photos.rows), photos.zone))


def _zone(
    zone: int, rows: NDArray[np.int64], lat: NDArray[np.float64], lon: NDArray[np.float64]
) -> ZonePhotos:
    is_north = bool((lat >= 0).mean() >= 0.5)
    east, north = np.empty(len(lat)), np.empty(len(lat))
    for half in (lat >= 0, lat < 0):
        if half.any():  # the package takes one half of the globe at a time
            east[half], north[half], *_ = utm.from_latlon(
                lat[half], lon[half], force_zone_number=zone, force_northern=True
            )
    own_letters = [str(utm.latitude_to_zone_letter(value)) for value in lat]
    edge = "N" if is_north else "M"
    letters = [
        letter if (value >= 0) == is_north else edge
        for letter, value in zip(own_letters, lat, strict=True)
    ]
    northings = north if is_north else north + SOUTHERN_M
    return ZonePhotos(zone, rows, np.stack([east, northings], axis=1), letters)


def describe_zones(zones: Sequence[ZonePhotos]) -> str:
    """Zones and how many photos lie in them, as text."""
    return ", ".join(f"{zone.zone} ({len(zone.rows):,} photos)" for zone in zones)
