"""The Hilbert curve that numbers the leaf cells of a cube face: (face, i, j) <-> S2 leaf id.

A leaf id is 3 bits of face, 60 bits of position along the curve, and a final 1. The curve is S2's
(S2 Geometry, http://s2geometry.io/devguide/s2cell_hierarchy): on every level a square is crossed
through its four quarters in one of four orientations (bit 0 swaps i and j, bit 1 inverts both), and
each quarter passes its own orientation on. Five levels are looked up at a time: a 4096-row table
of int64 (32 KiB) stays in the first cache, and 30 levels are six steps with none left over.
"""

import numpy as np

MAX_LEVEL = 30
STEP_LEVELS = 5
STEP_MASK = (1 << STEP_LEVELS) - 1

# The quarter (2 i + j) visited at each position, by orientation, and what the position adds to it.
QUARTERS = np.array([[0, 1, 3, 2], [0, 2, 3, 1], [3, 2, 0, 1], [3, 1, 0, 2]])
TURNS = np.array([1, 0, 0, 3])


def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Tables ij -> position and position -> ij; index and value are (number << 2) + orientation."""
    position, start = np.divmod(np.arange(4 << (2 * STEP_LEVELS)), 4)
    i, j, orientation = np.zeros_like(position), np.zeros_like(position), start.copy()
    for level in reversed(range(STEP_LEVELS)):
        digit = (position >> (2 * level)) & 3
        quarter = QUARTERS[orientation, digit]
        i, j = (i << 1) | (quarter >> 1), (j << 1) | (quarter & 1)
        orientation ^= TURNS[digit]
    ij = (i << STEP_LEVELS) | j
    ij_to_position, position_to_ij = np.empty_like(position), np.empty_like(position)
    ij_to_position[(ij << 2) | start] = (position << 2) | orientation
    position_to_ij[(position << 2) | start] = (ij << 2) | orientation
    return ij_to_position, position_to_ij


IJ_TO_POSITION, POSITION_TO_IJ = _tables()


def leaf_ids(face: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Leaf ids uint64 (N,) of the squares (i, j), 0 to 2^30 - 1, of the faces; all int64 (N,)."""
    ids, orientation = face.copy(), face & 1
    for shift in range(MAX_LEVEL - STEP_LEVELS, -1, -STEP_LEVELS):
        index = i >> shift
        index &= STEP_MASK
        index <<= STEP_LEVELS
        low = j >> shift
        low &= STEP_MASK
        index |= low
        index <<= 2
        index |= orientation
        # "clip" skips the bounds check: no index can be out of bounds.
        found = IJ_TO_POSITION.take(index, mode="clip")
        orientation = found & 3
        found >>= 2
        ids <<= 2 * STEP_LEVELS
        ids |= found
    ids <<= 1
    ids |= 1
    return ids.view(np.uint64)


def squares(leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The inverse of `leaf_ids`: face, i, j, each int64 (N,), of leaf ids uint64 (N,)."""
    # Face 4 and 5 set bit 63: shift before the bits are read as signed.
    positions = (leaves >> np.uint64(1)).view(np.int64)
    face = positions >> (2 * MAX_LEVEL)
    i, j, orientation = np.zeros_like(face), np.zeros_like(face), face & 1
    for shift in range(2 * (MAX_LEVEL - STEP_LEVELS), -1, -2 * STEP_LEVELS):
        index = positions >> shift
        index &= (1 << (2 * STEP_LEVELS)) - 1
        index <<= 2
        index |= orientation
        found = POSITION_TO_IJ.take(index, mode="clip")
        orientation = found & 3
        found >>= 2
        i <<= STEP_LEVELS
        i |= found >> STEP_LEVELS
        found &= STEP_MASK
        j <<= STEP_LEVELS
        j |= found
    return face, i, j
