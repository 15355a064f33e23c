"""Adaptive geocells: S2 cells that hold similar numbers of photos, the classes of a classifier.

Start with all S2 cells of a low level; a cell with more than `t_max` photos is split into its four
children, one with fewer than `t_min` is dropped, the others stay. This is the partition of
PlaNet (Weyand et al. 2016, https://arxiv.org/abs/1602.05314) with the thresholds of Müller-Budack
et al. 2018 (ECCV, Geolocation Estimation of Photos using a Hierarchical Model).

Each cell is one contiguous range of leaf ids, so the leaf ids are sorted once and every count is
two binary searches; no photo is touched again. Cells depend on the set of positions alone, and are
numbered in ascending order of their ids: the order of the photos changes nothing, to the last bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from partitioning import s2
from partitioning.geodesy import positions_of

NO_CLASS = -1
FACES = np.arange(1, 12, 2, dtype=np.uint64) << np.uint64(60)
# Vectors are summed as whole numbers of 2^-36 (0.1 mm on the ground): integer sums are exact, so
# differences of running sums lose nothing. A cell may hold 2^27 (134 million) photos.
VECTOR_UNIT = 2.0**-36


@dataclass(frozen=True, eq=False)
class Cells:
    """The geocells of one level of a partition; a cell's class id is its row.

    Attributes:
        ids: S2 ids uint64 (C,), ascending, no cell within another.
        photos: photos in each cell, int64 (C,).
        lat: latitude float64 (C,) in degrees of the mean on the sphere of each cell's photos, each
            photo taken at the centre of its leaf cell (within 1 cm).
        lon: longitude float64 (C,) of it.
        t_min: a cell with fewer photos was dropped.
        t_max: a cell with more photos was split.
    """

    ids: np.ndarray
    photos: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    t_min: int
    t_max: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def tokens(self) -> np.ndarray:
        """S2 tokens of the cells, str (C,)."""
        return s2.tokens(self.ids)

    def assign(self, lat: npt.ArrayLike, lon: npt.ArrayLike) -> np.ndarray:
        """Classes int64 (N,) of positions in degrees (N,); -1 where no cell holds one.

        Raises:
            ValueError: a position is NaN or out of range.
        """
        return self.assign_ids(s2.cell_ids(lat, lon))

    def assign_ids(self, ids: np.ndarray) -> np.ndarray:
        """Classes int64 (N,) of leaf ids, or of any cells that lie in one geocell each; else -1."""
        if not len(self):
            return np.full(len(ids), NO_CLASS)
        classes = np.searchsorted(s2.range_min(self.ids), ids, side="right") - 1
        # Ids before the first cell got -1, the row of the last, and keep it: it means none.
        classes[ids > s2.range_max(self.ids)[classes]] = NO_CLASS
        return classes


def build(
    lat: npt.ArrayLike,
    lon: npt.ArrayLike,
    t_min: int,
    t_max: int,
    min_level: int = 2,
    max_level: int = s2.MAX_LEVEL,
) -> Cells:
    """Partition the globe by positions in degrees (N,).

    A cell of `max_level` stays one however many photos it holds: a burst of photos at one spot
    must not be lost because it cannot be split.

    Raises:
        ValueError: a position is NaN or out of range, or the thresholds or levels make no sense.
    """
    leaves = np.sort(s2.cell_ids(lat, lon))
    return build_from_leaves(leaves, vector_sums(leaves), t_min, t_max, min_level, max_level)


def build_from_leaves(
    leaves: np.ndarray,
    sums: np.ndarray,
    t_min: int,
    t_max: int,
    min_level: int = 2,
    max_level: int = s2.MAX_LEVEL,
) -> Cells:
    """`build` for sorted leaf ids uint64 (N,) and their `vector_sums`."""
    check_thresholds(t_min, t_max, min_level, max_level)
    kept = list(_kept_cells(leaves, t_min, t_max, min_level, max_level))
    ids = np.sort(np.concatenate(kept)) if kept else np.empty(0, np.uint64)
    first, end = _rows(leaves, ids)
    lat, lon = positions_of(*(sums[:, end] - sums[:, first]).astype(np.float64))
    return Cells(ids, end - first, lat, lon, t_min, t_max)


def check_thresholds(t_min: int, t_max: int, min_level: int, max_level: int) -> None:
    """Raise a ValueError unless 1 <= t_min <= t_max and 0 <= min_level <= max_level <= 30."""
    if not 1 <= t_min <= t_max:
        raise ValueError(f"t_min {t_min} and t_max {t_max}: must be 1 <= t_min <= t_max")
    if not 0 <= min_level <= max_level <= s2.MAX_LEVEL:
        raise ValueError(
            f"min_level {min_level} and max_level {max_level}: "
            f"must be 0 <= min_level <= max_level <= {s2.MAX_LEVEL}"
        )


def _kept_cells(
    leaves: np.ndarray, t_min: int, t_max: int, min_level: int, max_level: int
) -> Iterator[np.ndarray]:
    """The ids of the cells that stay, level by level."""
    cells = FACES
    for level in range(max_level + 1):
        first, end = _rows(leaves, cells)
        photos = end - first
        split = photos > t_max if level >= min_level else photos > 0
        if level == max_level:
            split[:] = False
        if level >= min_level:
            yield cells[~split & (photos >= t_min)]
        cells = s2.children(cells[split]).ravel() if split.any() else cells[:0]


def _rows(leaves: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First row and end row, int64 (C,), of each cell among the sorted leaf ids."""
    first = np.searchsorted(leaves, s2.range_min(cells), side="left")
    return first, np.searchsorted(leaves, s2.range_max(cells), side="right")


def vector_sums(leaves: np.ndarray) -> np.ndarray:
    """Running sums int64 (3, N + 1), from 0, of the leaves' unit vectors in `VECTOR_UNIT`s."""
    sums = np.zeros((3, len(leaves) + 1), np.int64)
    for start in range(0, len(leaves), s2.CHUNK):
        x, y, z = s2.center_vectors(leaves[start : start + s2.CHUNK])
        scale = 1 / (np.sqrt(x * x + y * y + z * z) * VECTOR_UNIT)
        for row, component in zip(sums, (x, y, z), strict=True):
            row[start + 1 : start + 1 + len(x)] = np.rint(component * scale)
    return np.cumsum(sums, axis=1, out=sums)
