"""An operator's cap on precision: no answer finer than a given radius leaves the program.

A capped position is the centre of an S2 cell at least as wide as the cap, so that many queries
cannot be averaged to something finer; gallery matches, whose positions would give it away, are
withheld, and cells finer than the cap are merged into the coarser cell that holds them. The radius
is measured from these coarse cells alone: were it to follow the position, it would tell it. A
street answer becomes one of its coarse cell and keeps its confidence.
"""

from dataclasses import replace

import numpy as np

from partitioning import s2
from partitioning.geodesy import EARTH_RADIUS_KM, haversine_km
from retrieval.answering.fix import CellGuess, Fix

# The least width of a level-0 cell; each level halves it (S2 geometry, kMinWidth = 2 sqrt(2) / 3
# radians for the quadratic projection).
_MIN_WIDTH_KM = 2 * np.sqrt(2) / 3 * EARTH_RADIUS_KM


def cap_level(cap_km: float) -> int:
    """The finest S2 level whose cells are all at least `cap_km` wide.

    Raises:
        ValueError: the cap is not positive.
    """
    if not 0 < cap_km < np.inf:
        raise ValueError(f"a precision cap must be a number of km above 0, got {cap_km}")
    return int(np.clip(np.floor(np.log2(_MIN_WIDTH_KM / cap_km)), 0, s2.MAX_LEVEL))


def check_uncapped(area: object, cap_km: float) -> None:
    """Raise a ValueError for an area under a precision cap."""
    if area is not None and cap_km:
        raise ValueError(
            "no area goes with a precision cap: answers for many rectangles would tell the "
            "position that the cap withholds; ask without one of the two"
        )


def capped(fix: Fix, cap_km: float) -> Fix:
    """Coarsen a fix to `cap_km`; 0 leaves it as it is."""
    if cap_km == 0:
        return fix
    level = cap_level(cap_km)
    snapped = s2.cell_ids([fix.lat], [fix.lon], level)
    center_lat, center_lon = (float(x[0]) for x in s2.centers(snapped))
    cells, held, accuracy_km = _merged(fix.cells, level), snapped, fix.radius_km
    if fix.level != "street":
        held = np.concatenate([snapped, s2.from_tokens(cell.token for cell in cells)])
        accuracy_km = 0.0
    corners = s2.corners(held).reshape(-1, 2)
    reach_km = float(haversine_km(center_lat, center_lon, corners[:, 0], corners[:, 1]).max())
    return replace(
        fix,
        lat=center_lat,
        lon=center_lon,
        radius_km=max(cap_km, reach_km + accuracy_km),
        level="cell" if fix.level == "street" else fix.level,
        cells=cells,
        matches=(),
        notes=(*fix.notes, f"precision capped at {cap_km:g} km by the operator"),
    )


def _merged(cells: tuple[CellGuess, ...], level: int) -> tuple[CellGuess, ...]:
    """Replace cells finer than `level` by their ancestors there, adding up probabilities."""
    merged: dict[str, CellGuess] = {}
    for cell in cells:
        cell_id = s2.from_tokens([cell.token])
        if int(s2.levels(cell_id)[0]) > level:
            cell_id = s2.parents(cell_id, level)
            lat, lon = s2.centers(cell_id)
            cell = CellGuess(
                str(s2.tokens(cell_id)[0]),
                cell.probability,
                float(lat[0]),
                float(lon[0]),
                cell.photos,
            )
        known = merged.get(cell.token)
        if known is not None:
            total = min(1.0, known.probability + cell.probability)  # rounding may carry it over
            cell = replace(known, probability=total, photos=known.photos + cell.photos)
        merged[cell.token] = cell
    return tuple(sorted(merged.values(), key=lambda cell: -cell.probability))
