"""The area to collect: a rectangle of the map, read, checked, and cut into small boxes.

The boxes lie on one grid for the whole world, so that areas which overlap share boxes, and what
was asked for one area is not asked again for the other.
"""

import itertools
import math

from partitioning.geodesy import EARTH_RADIUS_KM

Box = tuple[float, float, float, float]  # west, south, east, north in degrees

MOST_KM2 = 2_500.0  # a large city with its suburbs
SMALLEST_DEG = 1e-4  # about ten metres: a box that is cut no further
DECIMALS = 7  # of a box's edges: about a centimetre
ORDER = "the order is west, south, east, north (longitude first), in degrees"


def parse_area(text: str) -> list[Box]:
    """Read "W,S,E,N"; an area across the antimeridian (W over E) is one box on each side of it.

    Raises:
        ValueError: not four numbers, off the map, without extent, or larger than `MOST_KM2`.
    """
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--area takes W,S,E,N, four numbers, got {text!r}; {ORDER}") from None
    # Written so that NaN fails too.
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= 90 and north >= -90):
        raise ValueError(f"--area {text} leaves the map; {ORDER}; are lat and lon swapped?")
    if not (south < north <= 90 and west != east):
        raise ValueError(f"--area {text} has no extent or its south above its north; {ORDER}")
    if west < east:
        boxes = [(west, south, east, north)]
    else:
        boxes = [(west, south, 180.0, north), (-180.0, south, east, north)]
        boxes = [box for box in boxes if box[0] < box[2]]
    _check_size(text, boxes)
    return boxes


def _check_size(text: str, boxes: list[Box]) -> None:
    size_km2 = sum(map(area_km2, boxes))
    if size_km2 <= MOST_KM2:
        return
    hint = "collect it in pieces, one after the other into the same --out"
    if len(boxes) > 1:
        hint = "its west is over its east, which means across the antimeridian; is that meant?"
    raise ValueError(f"--area {text} is {size_km2:,.0f} km2, over {MOST_KM2:,.0f}; {hint}; {ORDER}")


def area_km2(box: Box) -> float:
    """Its area on the sphere in square kilometres."""
    west, south, east, north = map(math.radians, box)
    return EARTH_RADIUS_KM**2 * (math.sin(north) - math.sin(south)) * (east - west)


def grid_boxes(area: Box, step_deg: float) -> list[Box]:
    """Cut an area along the multiples of `step_deg`; row by row from the south-west."""
    columns, rows = _cuts(area[0], area[2], step_deg), _cuts(area[1], area[3], step_deg)
    return [
        (west, south, east, north)
        for south, north in itertools.pairwise(rows)
        for west, east in itertools.pairwise(columns)
    ]


def _cuts(start: float, stop: float, step_deg: float) -> list[float]:
    first, last = math.floor(start / step_deg) + 1, math.ceil(stop / step_deg) - 1
    inner = (round(i * step_deg, DECIMALS) for i in range(first, last + 1))
    return [start, *(cut for cut in inner if start < cut < stop), stop]


def quarters(box: Box) -> list[Box]:
    """Cut a box in four; none where it is too small already."""
    west, south, east, north = box
    if max(east - west, north - south) < 2 * SMALLEST_DEG:
        return []
    lon, lat = round((west + east) / 2, DECIMALS), round((south + north) / 2, DECIMALS)
    return [
        (west, south, lon, lat),
        (lon, south, east, lat),
        (west, lat, lon, north),
        (lon, lat, east, north),
    ]


def box_text(box: Box) -> str:
    """A box as both services read it: `W,S,E,N`, without exponents."""
    return ",".join(f"{edge:.{DECIMALS}f}".rstrip("0").rstrip(".") for edge in box)
