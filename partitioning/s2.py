"""S2 cells in numpy: ids, parents, children, ranges, tokens, centres and corners of many at once.

An S2 id is a uint64: 3 bits of cube face, two bits per level, then a 1 and zeros. All leaves below
a cell are one contiguous range of ids, which is what makes partitions and galleries fast: sort the
leaf ids once, and every cell on every level is a slice. Ids equal those of `s2sphere` and of
Google's library (http://s2geometry.io/devguide/s2cell_hierarchy) on every point.

Ids are uint64 (N,), positions float64 degrees (N,). Ids handed in are taken to be valid;
`check_ids` says whether they are.
"""

import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from partitioning.geodesy import check_positions, positions_of
from partitioning.hilbert import MAX_LEVEL, leaf_ids, squares
from partitioning.projection import cube_coordinate, cube_vectors, squares_of

# Positions are worked on in pieces whose some twenty temporaries stay in the second cache.
CHUNK = 8192
ONE = np.uint64(1)


def cell_ids(lat: npt.ArrayLike, lon: npt.ArrayLike, level: int = MAX_LEVEL) -> np.ndarray:
    """Ids uint64 (N,) of the cells of `level` that hold the positions (N,) in degrees.

    Raises:
        ValueError: a position is NaN, infinite or out of range (says how many and the first one),
            or the level is not 0 to 30.
    """
    lat, lon = (np.atleast_1d(np.asarray(x, np.float64)) for x in (lat, lon))
    check_positions(lat, lon)
    ids = np.empty(len(lat), np.uint64)
    for start in range(0, len(lat), CHUNK):
        piece = slice(start, start + CHUNK)
        ids[piece] = leaf_ids(*squares_of(lat[piece], lon[piece]))
    return ids if level == MAX_LEVEL else parents(ids, level)


def parents(ids: np.ndarray, level: int) -> np.ndarray:
    """The cells uint64 (N,) of `level` that hold the cells; a cell of that level is its own.

    Raises:
        ValueError: the level is not 0 to 30, or a cell is larger than those of that level.
    """
    lowest = _lowest_bit_of(level)
    result = (ids & ~((lowest << ONE) - ONE)) | lowest
    if np.any(_lowest_bits(ids) > lowest):
        raise ValueError(f"a cell of level {levels(ids).min()} has no parent of level {level}")
    return result


def children(ids: np.ndarray) -> np.ndarray:
    """The four cells (N, 4) of the next level in each cell, in ascending order.

    Raises:
        ValueError: a cell is a leaf.
    """
    lowest = _lowest_bits(ids)
    if np.any(lowest == ONE):
        raise ValueError(f"a leaf cell (level {MAX_LEVEL}) has no children")
    quarter = lowest >> np.uint64(2)
    # The first child's centre is three quarters below the parent's, the next ones two quarters on.
    return (ids - 3 * quarter)[:, None] + 2 * quarter[:, None] * np.arange(4, dtype=np.uint64)


def levels(ids: np.ndarray) -> np.ndarray:
    """Level int64 (N,) of each cell, 0 (a cube face) to 30 (a leaf, about 1 cm)."""
    zeros = np.bitwise_count(_lowest_bits(ids) - ONE)
    return MAX_LEVEL - zeros.astype(np.int64) // 2


def range_min(ids: np.ndarray) -> np.ndarray:
    """The lowest leaf id uint64 (N,) in each cell."""
    return ids - (_lowest_bits(ids) - ONE)


def range_max(ids: np.ndarray) -> np.ndarray:
    """The highest leaf id uint64 (N,) in each cell, itself in the cell."""
    return ids + (_lowest_bits(ids) - ONE)


def tokens(ids: np.ndarray) -> np.ndarray:
    """S2's short names of the cells, str (N,): 16 hexadecimal digits without the last zeros."""
    ids = np.asarray(ids, np.uint64)
    digits = np.frombuffer(ids.astype(">u8").tobytes().hex().encode(), "S16")
    return np.char.rstrip(digits.astype(np.str_), "0")


def from_tokens(names: Iterable[str]) -> np.ndarray:
    """Ids uint64 (N,) of tokens.

    Raises:
        ValueError: a token is not 1 to 16 lower-case hexadecimal digits, or names no cell.
    """
    names = [str(name) for name in names]
    for name in names:
        if not re.fullmatch("[0-9a-f]{1,16}", name):
            raise ValueError(f"{name!r} is no S2 token (1 to 16 hexadecimal digits)")
    ids = np.array([int(name.ljust(16, "0"), 16) for name in names], np.uint64)
    check_ids(ids)
    return ids


def check_ids(ids: np.ndarray) -> None:
    """Raise a ValueError, with the count and the first offender, unless all ids are S2 cells."""
    # The lowest bit of a cell stands at an even place, and there are faces 0 to 5.
    at_even_place = (_lowest_bits(ids) & np.uint64(0x1555555555555555)) != 0
    bad = np.flatnonzero(~at_even_place | (ids >> np.uint64(61) > 5))
    if len(bad):
        raise ValueError(f"{len(bad)} of {len(ids)} ids are no S2 cells, first {ids[bad[0]]:#018x}")


def centers(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (lat, lon) in degrees, each float64 (N,), of the cells."""
    return positions_of(*center_vectors(ids))


def center_vectors(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres of the cells, x, y, z (N,), as points of the cube, 1 to sqrt 3 away from 0."""
    face, i, j, size = _lower_corners(ids)
    return cube_vectors(face, cube_coordinate(i + size / 2), cube_coordinate(j + size / 2))


def corners(ids: np.ndarray) -> np.ndarray:
    """Corners (N, 4, 2) of the cells, (lat, lon) in degrees, counter-clockwise from outside."""
    return boundaries(ids, edge_points=1)


def boundaries(ids: np.ndarray, edge_points: int) -> np.ndarray:
    """Points (N, 4 x edge_points, 2) of the cells' edges: each corner and points after it.

    They are (lat, lon) in degrees, counter-clockwise from outside. An edge is a great circle, which
    is no straight line on most maps: large cells need points between the corners.
    """
    face, i, j, size = (x[:, None] for x in _lower_corners(ids))
    u = cube_coordinate(i + size * np.array([0, 1, 1, 0]))
    v = cube_coordinate(j + size * np.array([0, 0, 1, 1]))
    part = np.arange(edge_points) / edge_points
    u, v = (
        (x[:, :, None] + (np.roll(x, -1, axis=1) - x)[:, :, None] * part).reshape(len(ids), -1)
        for x in (u, v)
    )
    return np.stack(positions_of(*cube_vectors(face, u, v)), axis=-1)


def _lower_corners(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Face, lower i and j, and side length in leaves, each int64 (N,)."""
    face, i, j = squares(range_min(ids))
    size = np.int64(1) << (MAX_LEVEL - levels(ids))
    # The first leaf on the curve may be any corner of the cell.
    return face, i & -size, j & -size, size


def _lowest_bits(ids: np.ndarray) -> np.ndarray:
    return ids & (~ids + ONE)


def _lowest_bit_of(level: int) -> np.uint64:
    if not 0 <= level <= MAX_LEVEL:
        raise ValueError(f"S2 levels are 0 to {MAX_LEVEL}, not {level}")
    return np.uint64(1 << (2 * (MAX_LEVEL - level)))
