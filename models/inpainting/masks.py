"""Random irregular holes, of exactly the share of the photo that is asked for.

One idea for all kinds: a random field over the photo, and the hole is where the field is lowest.
For strokes it is the distance to a few random paths, for polygons the signed distance to random
convex ones, for blobs smooth noise; so strokes and polygons grow until the share is reached. Liu et
al., 2018 (https://arxiv.org/abs/1804.07723, section 4.1) train on irregular holes of up to 60%.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Hole = NDArray[np.bool_]

MOST_FIGURES, MOST_TURNS = 4, 3
COARSE = (3, 8)  # cells of the noise along the long side


def random_hole(
    size: tuple[int, int],
    random: np.random.Generator,
    share: tuple[float, float] = (0.05, 0.4),
    kind: str = "any",
) -> Hole:
    """Draw a hole.

    Args:
        size: Height and width, px.
        random: Its state decides everything.
        share: Least and greatest share of the pixels; drawn evenly between them.
        kind: strokes, polygons, blobs, or any of them.

    Returns:
        `(H, W)`, True in the hole; its pixels are the drawn share of all, rounded.

    Raises:
        ValueError: an unknown kind, no pixel, or shares that are not 0 <= least <= greatest <= 1.
    """
    if kind not in (*FIELDS, "any"):
        raise ValueError(f"no holes of kind {kind!r}; there are {', '.join(FIELDS)} and any")
    if not 0 <= share[0] <= share[1] <= 1 or min(size) < 1:
        raise ValueError(f"size {size} and shares {share}: need pixels and 0 <= least <= most <= 1")
    wanted = round(random.uniform(*share) * size[0] * size[1])
    chosen = kind if kind != "any" else str(random.choice(list(FIELDS)))
    lowest_first = np.argsort(FIELDS[chosen](size, random), axis=None, kind="stable")
    hole = np.zeros(size[0] * size[1], bool)
    hole[lowest_first[:wanted]] = True
    return hole.reshape(size)


def strokes(size: tuple[int, int], random: np.random.Generator) -> Field:
    """Distance to the nearest of some random paths, in units of each path's own thickness."""
    y, x = _pixels(size)
    field = np.full(size, np.inf)
    for _ in range(random.integers(1, MOST_FIGURES + 1)):
        turns = random.uniform(-1, 1, (random.integers(1, MOST_TURNS + 1), 2)) * max(size) / 2
        corners = _point(size, random) + np.concatenate([[(0, 0)], turns.cumsum(axis=0)])
        thickness = random.uniform(0.5, 2)
        for start, end in pairwise(corners):
            field = np.minimum(field, _to_segment(y, x, start, end) / thickness)
    return field


def polygons(size: tuple[int, int], random: np.random.Generator) -> Field:
    """How far outside of the nearest of some random convex polygons; negative inside."""
    y, x = _pixels(size)
    field = np.full(size, np.inf)
    for _ in range(random.integers(1, MOST_FIGURES + 1)):
        middle = _point(size, random)
        angles = random.uniform(0, 2 * np.pi, random.integers(3, 8))
        edges = random.uniform(0.05, 0.2, len(angles)) * min(size)
        beyond = [
            np.sin(angle) * (y - middle[0]) + np.cos(angle) * (x - middle[1]) - edge
            for angle, edge in zip(angles, edges, strict=True)
        ]
        field = np.minimum(field, np.max(beyond, axis=0))
    return field


def blobs(size: tuple[int, int], random: np.random.Generator) -> Field:
    """Smooth noise: normal values on a coarse grid, between them the cosine's gentle way."""
    cells = random.integers(COARSE[0], COARSE[1] + 1)
    coarse = random.normal(size=(cells + 1, cells + 1))
    by_row = _smooth(coarse, size[0], size[0] / max(size))
    return _smooth(by_row.T, size[1], size[1] / max(size)).T


FIELDS: dict[str, Callable[[tuple[int, int], np.random.Generator], Field]] = {
    "strokes": strokes,
    "polygons": polygons,
    "blobs": blobs,
}


def _pixels(size: tuple[int, int]) -> tuple[Field, Field]:
    """Row `(H, 1)` and column `(1, W)` numbers."""
    return np.arange(size[0], dtype=np.float64)[:, None], np.arange(size[1], dtype=np.float64)[None]


def _point(size: tuple[int, int], random: np.random.Generator) -> Field:
    return random.uniform(0, 1, 2) * size


def _to_segment(y: Field, x: Field, start: Field, end: Field) -> Field:
    along = end - start
    length = max(float(along @ along), 1e-9)
    share = np.clip(((y - start[0]) * along[0] + (x - start[1]) * along[1]) / length, 0, 1)
    return np.hypot(y - start[0] - share * along[0], x - start[1] - share * along[1])


def _smooth(coarse: Field, length: int, extent: float) -> Field:
    """Rows of a grid, over `extent` of its cells, to `length` rows."""
    place = (np.arange(length) + 0.5) / length * (len(coarse) - 1) * extent
    row = place.astype(int)
    weight = (1 - np.cos((place - row) * np.pi))[:, None] / 2
    return coarse[row] * (1 - weight) + coarse[np.minimum(row + 1, len(coarse) - 1)] * weight
