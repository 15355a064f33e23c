"""Which points of a plane lie within a radius of which others: exact, by a grid.

Points are sorted by the square of a grid that they lie in, whose squares are as wide as the radius;
the neighbours of a point then lie in nine squares, each one run of the sorted points.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CHUNK = 65_536  # queries at a time, which bounds the memory for candidates


class Neighbours(NamedTuple):
    """For query i: `indices[offsets[i]:offsets[i + 1]]`, ascending, and their `distances_m`."""

    offsets: NDArray[np.int64]
    indices: NDArray[np.int64]
    distances_m: NDArray[np.float64]

    def of(self, query: int) -> NDArray[np.int64]:
        """The neighbours of one query."""
        return self.indices[self.offsets[query] : self.offsets[query + 1]]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many neighbours each query has."""
        return np.diff(self.offsets)


def within(
    queries_m: NDArray[np.float64], points_m: NDArray[np.float64], radius_m: float
) -> Neighbours:
    """Find all points within a radius of each query, the radius included.

    Args:
        queries_m: `(Q, 2)`, metres east and north.
        points_m: `(N, 2)`, likewise.
        radius_m: Not negative.

    Raises:
        ValueError: the radius is negative, or a coordinate is not finite.
    """
    if not radius_m >= 0:
        raise ValueError(f"radius_m must not be negative, got {radius_m}")
    if not (np.isfinite(queries_m).all() and np.isfinite(points_m).all()):
        raise ValueError("positions must be finite numbers of metres")
    grid = _Grid(points_m, max(radius_m, 1e-3))
    parts = [
        _pairs(queries_m[start : start + CHUNK], points_m, radius_m, grid, start)
        for start in range(0, len(queries_m), CHUNK)
    ]
    nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    query, point, distance = (
        np.concatenate(column) for column in zip(*(parts or [nothing]), strict=True)
    )
    offsets = np.concatenate([[0], np.cumsum(np.bincount(query, minlength=len(queries_m)))])
    return Neighbours(offsets.astype(np.int64), point, distance)


class _Grid:
    """Points sorted by their square."""

    def __init__(self, points_m: NDArray[np.float64], edge_m: float) -> None:
        self.edge_m = edge_m
        self.low = points_m.min(axis=0) if len(points_m) else np.zeros(2)
        squares = self.squares(points_m)
        self.rows = int(squares[:, 1].max()) + 3 if len(squares) else 3
        numbers = self.numbers(squares)
        self.order = np.argsort(numbers, kind="stable")
        self.sorted = numbers[self.order]

    def squares(self, positions_m: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.floor((positions_m - self.low) / self.edge_m).astype(np.int64)

    def numbers(self, squares: NDArray[np.int64]) -> NDArray[np.int64]:
        # A query may lie outside: rows are clipped to one beyond, where no point is.
        return squares[..., 0] * self.rows + np.clip(squares[..., 1], -1, self.rows - 2)


def _pairs(
    queries_m: NDArray[np.float64],
    points_m: NDArray[np.float64],
    radius_m: float,
    grid: _Grid,
    first: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """(query, point, distance) of some queries, by query, then by point."""
    found = []
    squares = grid.squares(queries_m)
    for across in (-1, 0, 1):
        # Squares one above the other are neighbours in the order: one run for all three.
        low = grid.numbers(squares + np.array([across, -1]))
        high = grid.numbers(squares + np.array([across, 1]))
        starts = np.searchsorted(grid.sorted, low, "left")
        counts = np.maximum(np.searchsorted(grid.sorted, high, "right") - starts, 0)
        query = np.repeat(np.arange(len(queries_m)), counts)
        begins = np.repeat(starts - np.cumsum(counts) + counts, counts)
        point = grid.order[begins + np.arange(len(query))]
        offset = queries_m[query] - points_m[point]
        distance = np.hypot(offset[:, 0], offset[:, 1])
        near = distance <= radius_m
        found.append((query[near], point[near], distance[near]))
    query, point, distance = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((point, query))
    return query[order] + first, point[order], distance[order]
