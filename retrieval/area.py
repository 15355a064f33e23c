"""A rectangle of the map, (west, south, east, north) in degrees, as `--area W,S,E,N` gives it.

Where west is greater than east it crosses the antimeridian: (170, -50, -170, -30) is 20 degrees
wide.
"""

import numpy as np
from numpy.typing import NDArray

from partitioning import s2

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


def cells_in_area(ids: NDArray[np.uint64], area: Area) -> NDArray[np.bool_]:
    """Which S2 cells reach into the rectangle: bool (N,).

    A cell counts by its own bounding rectangle, so that none is missed, be the area a thin strip
    through its middle; a cell that stands askew may count though it only comes near.
    """
    outline = s2.boundaries(ids, edge_points=8)
    _, middle = s2.centers(ids)
    bulge = 0.01 * np.ptp(outline[..., 0], axis=1)  # edges bend between the points, by less
    lowest, highest = outline[..., 0].min(axis=1) - bulge, outline[..., 0].max(axis=1) + bulge
    offset = (outline[..., 1] - middle[:, None] + 180) % 360 - 180
    first, last = offset.min(axis=1), offset.max(axis=1)
    for row in np.flatnonzero(s2.levels(ids) == 0):  # a cube face may hold a pole
        pole = float(np.round(s2.centers(ids[row : row + 1])[0][0]))
        if abs(pole) == 90:
            lowest[row], highest[row] = min(lowest[row], pole), max(highest[row], pole)
            first[row], last[row] = -180, 180
    west, south, east, north = area
    width = east - west + (360 if west > east else 0)
    start = (middle + first - west) % 360
    across = (start <= width) | (start + last - first >= 360)
    return across & (lowest <= north) & (highest >= south)


def nearest_in_area(lat: float, lon: float, area: Area) -> tuple[float, float]:
    """The position if it lies in the rectangle, else the nearest by latitude and longitude."""
    west, south, east, north = area
    if not in_area(np.array([south]), np.array([lon]), area)[0]:
        lon = min(west, east, key=lambda edge: abs((lon - edge + 180) % 360 - 180))
    return min(max(lat, south), north), lon
