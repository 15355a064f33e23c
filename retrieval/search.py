"""Exact cosine search in the slices of a gallery, with nothing but numpy.

A gate of S2 cells is a few slices of rows (gallery.py). They are scanned with float32 matrix
products, which leaves every score within a known rounding error; all rows which that error could
bring among the k best are then scored again in float64, row by row. So the answer is that of an
exact scan of the gate, ties included: equal scores come in row order.

An area is a filter before the search: its rows are found exactly and only they are scored, so that
an area with at least k photos gives k matches. (Filtering the answers of an unfiltered index loses
them: benchmarks/search.py shows how many.)
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval.area import Area
from retrieval.gallery import Gallery

BLOCK_VALUES = 1 << 18  # the float32 copy of a block, 1 MB, stays in the second cache
LARGEST_COSINE = 1.01  # of two unit vectors, one rounded to float16; more means damaged rows
HALF_BITS = np.int32(-0x70002000)  # sign, exponent and mantissa of a float16 shifted left by 13
HALF_SCALE = 2.0**112  # between the exponent biases of float32 (127) and float16 (15)


class Matches(NamedTuple):
    """Gallery rows, best first, int64 (M,), and their cosines, float32 (M,)."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


def search(
    gallery: Gallery,
    query: ArrayLike,
    k: int,
    cell_ids: ArrayLike | None = None,
    area: Area | None = None,
) -> Matches:
    """The k gallery rows most like a query, among those in the gate.

    Args:
        gallery: to search in.
        query: descriptor (dim,) of any length but zero.
        k: number of matches wanted; fewer come only where the gate holds fewer.
        cell_ids: S2 cells uint64 (K,) of any levels, which may overlap; None for everywhere.
        area: (west, south, east, north) in degrees, on top of the cells; None for everywhere.

    Raises:
        ValueError: a query of another length, NaN or zero, k below 1, or a damaged gallery.
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
    unit = unit_query(query, gallery.dim)
    whole = np.array([[0, len(gallery)]])
    ranges = whole if cell_ids is None else merged(gallery.slices(cell_ids))
    rows, scores = _scan(gallery, unit, ranges, area)
    return _settle(gallery, unit, rows, scores, k)


def unit_query(query: ArrayLike, dim: int) -> NDArray[np.float64]:
    """A query (dim,) at unit length.

    Raises:
        ValueError: another shape, or a query without a direction.
    """
    vector = np.asarray(query, dtype=np.float64)
    if vector.shape != (dim,):
        raise ValueError(f"the gallery holds descriptors of {dim} values, the query {vector.shape}")
    norm = np.sqrt(vector @ vector)
    if not 0 < norm < np.inf:
        raise ValueError("the query descriptor is NaN, infinite or zero")
    return vector / norm


def merged(ranges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranges [first, last) (K, 2) in any order as ascending ones that neither touch nor overlap."""
    ranges = ranges[ranges[:, 0] < ranges[:, 1]]
    if len(ranges) < 2:
        return ranges
    first, last = ranges[np.argsort(ranges[:, 0], kind="stable")].T
    reach = np.maximum.accumulate(last)
    breaks = np.flatnonzero(first[1:] > reach[:-1])
    return np.stack([first[np.r_[0, breaks + 1]], reach[np.r_[breaks, len(reach) - 1]]], axis=1)


def _scan(
    gallery: Gallery, unit: NDArray[np.float64], ranges: NDArray[np.int64], area: Area | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """All rows of the gate, ascending, with their float32 scores."""
    step = max(1, BLOCK_VALUES // gallery.dim)
    query = (unit * HALF_SCALE).astype(np.float32)
    floats = np.empty((step, gallery.dim), dtype=np.int32)
    rows, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for first, last in ranges.tolist():
        found = np.arange(first, last) if area is None else gallery.rows_in_area(area, first, last)
        rows.append(found)
        for start in range(0, len(found), step):
            # A slice is a view, picked rows are a copy.
            block = found[start : start + step]
            picked = slice(block[0], block[-1] + 1) if area is None else block
            scores.append(_dots(gallery.descriptors[picked], query, floats))
    return np.concatenate(rows), np.concatenate(scores)


def _dots(
    halves: NDArray[np.float16], query: NDArray[np.float32], floats: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Products (n,) of float16 rows (n, dim) with a query (dim,) times HALF_SCALE.

    A float16's bits, moved to where float32 has its exponent, read as the same number times 2^-112.
    Two integer passes over a cached buffer are 6 times as fast as numpy's own conversion.
    """
    bits = floats[: len(halves)]
    np.left_shift(halves.view(np.int16), 13, out=bits, dtype=np.int32)
    np.bitwise_and(bits, HALF_BITS, out=bits)
    return bits.view(np.float32) @ query


def _settle(
    gallery: Gallery,
    unit: NDArray[np.float64],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    k: int,
) -> Matches:
    """The k best rows in exact order, from float32 scores of all of them."""
    if len(rows) and not np.abs(scores).max() <= LARGEST_COSINE:
        worst = rows[np.nanargmax(np.abs(scores))]
        raise ValueError(f"descriptor {worst} of the gallery is no unit vector: it is damaged")
    if len(rows) > k:
        # Rounding error of a dot product of n terms: n * 2^-24 for unit vectors (Higham, "Accuracy
        # and Stability of Numerical Algorithms", 3.1), and 2^-24 more for rounding the query.
        error = (gallery.dim + 2) * 2.0**-24 * LARGEST_COSINE
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = rows[scores >= kth - 2 * error]
    exact = _exact_scores(gallery, unit, rows)
    order = np.lexsort((rows, -exact))[:k]
    return Matches(rows[order], exact[order].astype(np.float32))


def _exact_scores(
    gallery: Gallery, unit: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosines of rows in float64, each from its own row alone.

    A matrix product would sum in an order that depends on a row's place, and twins must tie.
    """
    step = max(1, BLOCK_VALUES // gallery.dim)
    exact = np.empty(len(rows))
    for start in range(0, len(rows), step):
        block = gallery.descriptors[rows[start : start + step]].astype(np.float64)
        exact[start : start + step] = (block * unit).sum(axis=1)
    return exact
