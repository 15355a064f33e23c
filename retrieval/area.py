"""A rectangle of the map, (west, south, east, north) in degrees, as `--area W,S,E,N` gives it.

Where west is greater than east it crosses the antimeridian: (170, -50, -170, -30) is 20 degrees
wide.
"""

import numpy as np
from numpy.typing import NDArray

Area = tuple[float, float, float, float]


def check_area(area: Area) -> None:
    """Raise a ValueError that says what is wrong with a rectangle, if anything is."""
    if len(area) != 4 or not np.isfinite(area).all():
        raise ValueError(f"an area is four numbers west, south, east, north, not {area}")
    west, south, east, north = area
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= 90 and north <= 90):
        raise ValueError(f"area {area} leaves the map; the order is west, south, east, north")
    if south > north:
        raise ValueError(f"area {area} has its south above its north")


def in_area(lat: NDArray[np.float64], lon: NDArray[np.float64], area: Area) -> NDArray[np.bool_]:
    """Which positions, each (N,), lie in the rectangle, its edges included: bool (N,).

    180 and -180 are one meridian: a photo stored on either side of it is found from both.
    """
    west, south, east, north = area
    across = (lon >= west) | (lon <= east) if west > east else (lon >= west) & (lon <= east)
    if 180 in (abs(west), abs(east)):
        across |= np.abs(lon) == 180
    return across & (lat >= south) & (lat <= north)
