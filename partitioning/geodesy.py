"""Distances and means on the sphere: one Earth radius, one haversine, one reading of a position.

Positions are (lat, lon) in degrees, float64, in that order. The radius is the mean Earth radius R1
of IUGG (Moritz 2000, Geodetic Reference System 1980, https://doi.org/10.1007/s001900050278);
the sphere differs from the ellipsoid by at most 0.6% of a distance.
"""

import numpy as np
import numpy.typing as npt

EARTH_RADIUS_KM = 6371.0088


def haversine_km(
    lat1: npt.ArrayLike, lon1: npt.ArrayLike, lat2: npt.ArrayLike, lon2: npt.ArrayLike
) -> np.ndarray:
    """Great-circle distance in km between positions in degrees; the arguments broadcast."""
    phi1, theta1, phi2, theta2 = (
        np.radians(np.asarray(x, np.float64)) for x in (lat1, lon1, lat2, lon2)
    )
    half_chord_squared = (
        np.sin((phi2 - phi1) / 2) ** 2
        + np.cos(phi1) * np.cos(phi2) * np.sin((theta2 - theta1) / 2) ** 2
    )
    # Rounding can push antipodes over 1, where arcsin is NaN.
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(half_chord_squared, 1.0)))


def unit_vectors(lat: npt.ArrayLike, lon: npt.ArrayLike) -> np.ndarray:
    """Positions in degrees, each (N,), as points (N, 3) of the unit sphere."""
    phi, theta = np.radians(np.asarray(lat, np.float64)), np.radians(np.asarray(lon, np.float64))
    cos_phi = np.cos(phi)
    return np.stack([np.cos(theta) * cos_phi, np.sin(theta) * cos_phi, np.sin(phi)], axis=-1)


def positions_of(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The (lat, lon) in degrees, each like x, to which the vectors of any length point."""
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def position_problems(lat: npt.ArrayLike, lon: npt.ArrayLike) -> np.ndarray:
    """What is wrong with each position: an array of str (N,), "" where nothing is.

    "missing" is NaN or infinite; "swapped?" has |lat| > 90 but would be valid as (lon, lat);
    "out of range" is any other |lat| > 90 or |lon| > 180.
    """
    lat, lon = (np.atleast_1d(np.asarray(x, np.float64)) for x in (lat, lon))
    lat, lon = np.broadcast_arrays(lat, lon)
    finite = np.isfinite(lat) & np.isfinite(lon)
    valid = (np.abs(lat) <= 90) & (np.abs(lon) <= 180)
    valid_when_swapped = (np.abs(lon) <= 90) & (np.abs(lat) <= 180)
    return np.select(
        [~finite, valid, valid_when_swapped], ["missing", "", "swapped?"], "out of range"
    )


def check_positions(lat: np.ndarray, lon: np.ndarray) -> None:
    """Raise a ValueError with the count and the first offender unless all positions are valid."""
    if lat.shape != lon.shape:
        raise ValueError(f"{lat.size} latitudes but {lon.size} longitudes")
    # The comparison is False for NaN too; the texts are only made once something is wrong.
    if np.all((np.abs(lat) <= 90) & (np.abs(lon) <= 180)):
        return
    problems = position_problems(lat, lon)
    bad = np.flatnonzero(problems != "")
    first = bad[0]
    raise ValueError(
        f"{len(bad)} of {len(problems)} positions are not (lat, lon) in degrees; the first is "
        f"row {first}: lat {lat.flat[first]}, lon {lon.flat[first]} ({problems[first]})"
    )
