"""Recall of a retrieval run, each figure with its interval.

Recall@k as in the place-recognition field: a query is a hit if any of its first k predictions is
right (https://github.com/gmberton/VPR-methods-evaluation). Shares, intervals and photos within a
distance are counted by models/evaluation/intervals.py, for retrieval and geocells alike.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.evaluation.intervals import (
    WORLD_THRESHOLDS_KM,
    Share,
    bootstrap_interval,
    share_of,
    wilson_interval,
    within_km,
)

__all__ = [
    "WORLD_THRESHOLDS_KM",
    "Share",
    "answerable",
    "bootstrap_interval",
    "first_hits",
    "recall_at",
    "recall_of_ranks",
    "share_of",
    "wilson_interval",
    "within_km",
]

Ranked = NDArray[np.int64] | Sequence[Sequence[int]]
Positives = Sequence[Collection[int]] | Sequence[NDArray[np.int64]]


def answerable(positives: Positives) -> NDArray[np.bool_]:
    """Which queries have a positive at all, (N,).

    A query without one cannot be won or lost: leave it out of `recall_at` and report how many were.
    """
    return np.array([len(rows) > 0 for rows in positives], dtype=bool)


def first_hits(predictions: Ranked, positives: Positives) -> NDArray[np.int64]:
    """Rank, from 0, of the first right prediction of every query, (N,); -1 where none is right.

    Args:
        predictions: gallery rows, best first: an array (N, K) or a list of N lists, which may be
            shorter where a search found fewer. -1 is padding and never right.
        positives: the right gallery rows of each query.

    Raises:
        ValueError: the lengths differ, or a query has no positive.
    """
    if len(predictions) != len(positives):
        raise ValueError(f"{len(predictions)} queries were predicted, {len(positives)} have truth")
    lacking = np.flatnonzero(~answerable(positives))
    if len(lacking):
        raise ValueError(
            f"{len(lacking)} of {len(positives)} queries have no positive "
            f"(first: {lacking[:5].tolist()}); leave them out with `answerable(positives)` and "
            "report their number"
        )
    hits = np.full(len(positives), -1, dtype=np.int64)
    for query, (ranked, right) in enumerate(zip(predictions, positives, strict=True)):
        rows = np.asarray(ranked, dtype=np.int64)
        ranks = np.flatnonzero(np.isin(rows, np.fromiter(right, np.int64)) & (rows >= 0))
        if len(ranks):
            hits[query] = ranks[0]
    return hits


def recall_at(predictions: Ranked, positives: Positives, ks: Sequence[int]) -> dict[int, float]:
    """Share of queries with a right gallery row among their first k predictions.

    Args:
        predictions: as in `first_hits`; an array must be at least max(ks) wide (pad it with -1).
        positives: the right gallery rows of each query, none empty.
        ks: the depths, 1 or more.

    Returns:
        Recall in [0, 1] by k.

    Raises:
        ValueError: no query, a query without positives, a k below 1 or beyond the predictions.
    """
    if len(positives) == 0:
        raise ValueError("recall of no queries is not defined")
    if min(ks) < 1:
        raise ValueError(f"k must be 1 or more, not {min(ks)}")
    if isinstance(predictions, np.ndarray) and predictions.shape[1] < max(ks):
        raise ValueError(
            f"recall@{max(ks)} asked of {predictions.shape[1]} predictions a query: search deeper, "
            "or pad with -1 if the gallery held no more"
        )
    shares = recall_of_ranks(first_hits(predictions, positives), ks)
    return {k: share.share for k, share in shares.items()}


def recall_of_ranks(ranks: ArrayLike, ks: Sequence[int]) -> dict[int, Share]:
    """Share of queries whose first right answer stands among the first k.

    Args:
        ranks: rank, from 0, of each query's first right answer, (N,); -1 where none is right.
        ks: the depths.

    Raises:
        ValueError: no query.
    """
    first = np.asarray(ranks)
    return {k: share_of(int(((first >= 0) & (first < k)).sum()), len(first)) for k in ks}
