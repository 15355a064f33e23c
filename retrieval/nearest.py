"""The k nearest of a database that need not fit into memory: searched in chunks, answers merged.

The database is any array of rows, a memory map of float16 for instance; only one chunk of it is in
memory as float32 at a time. Exact: each chunk is searched whole by faiss, and the best of all
chunks are the best of the whole.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 256 * 2**20  # of the database as float32
QUERY_BYTES = 256 * 2**20  # likewise of the queries


class Nearest(NamedTuple):
    """Rows of the database, best first, and how near they are, each `(Q, K)`.

    Attributes:
        rows: int64; -1 where the database held fewer than K.
        distances: Squared Euclidean, float32; inf at -1. Of vectors of length 1: 2 - 2 cosine.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]


def nearest(
    queries: NDArray[Any],
    database: NDArray[Any],
    k: int,
    left_out: NDArray[np.int64] | None = None,
    on_done: Callable[[int], None] | None = None,
) -> Nearest:
    """Find the k nearest rows of each query.

    Args:
        queries: `(Q, D)`, any kind of float.
        database: `(N, D)`, likewise.
        k: 1 or more.
        left_out: Rows that are never answers: photos that could not be read.
        on_done: Called after each chunk with its number of rows times queries.

    Raises:
        ValueError: k below 1, an empty side, widths that differ.
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more, got {k}")
    if not len(queries) or not len(database) or queries.shape[1] != database.shape[1]:
        raise ValueError(
            f"queries {queries.shape} cannot be searched for in a database {database.shape}"
        )
    step = max(1, QUERY_BYTES // (4 * queries.shape[1]))
    parts = [
        _nearest(np.asarray(queries[i : i + step], np.float32), database, k, left_out, on_done)
        for i in range(0, len(queries), step)
    ]
    return Nearest(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _nearest(
    queries: NDArray[np.float32],
    database: NDArray[Any],
    k: int,
    left_out: NDArray[np.int64] | None,
    on_done: Callable[[int], None] | None,
) -> Nearest:
    best = Nearest(
        np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf, np.float32)
    )
    queries = np.ascontiguousarray(queries)
    step = max(1, CHUNK_BYTES // (4 * database.shape[1]))
    for start in range(0, len(database), step):
        chunk = np.ascontiguousarray(database[start : start + step], np.float32)
        rows = np.arange(start, start + len(chunk))
        if left_out is not None:
            is_kept = ~np.isin(rows, left_out)
            rows = rows[is_kept]
            chunk = chunk if is_kept.all() else chunk[is_kept]
        if len(rows):
            distances, found = faiss.knn(queries, chunk, min(k, len(rows)))
            best = _merged(best, Nearest(rows[found], distances), k)
        if on_done:
            on_done((len(database[start : start + step])) * len(queries))
    return best


def _merged(a: Nearest, b: Nearest, k: int) -> Nearest:
    """The k best of two lists of each query; equal ones by row."""
    rows = np.concatenate([a.rows, b.rows], axis=1)
    distances = np.concatenate([a.distances, b.distances], axis=1).clip(min=0)
    order = np.lexsort((rows, distances), axis=1)[:, :k]
    return Nearest(
        np.take_along_axis(rows, order, axis=1), np.take_along_axis(distances, order, axis=1)
    )
