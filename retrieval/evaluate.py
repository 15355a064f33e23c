"""Figures of a retrieval or geolocation run, each with its interval.

Recall@k as in the place-recognition field: a query is a hit if any of its first k predictions is
right (https://github.com/gmberton/VPR-methods-evaluation). A share comes with Wilson's interval
(E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22,
1927), any other statistic with a percentile bootstrap (B. Efron, "Bootstrap methods: another look
at the jackknife", Annals of Statistics 7, 1979). With 25 queries one query is four points: never
quote a figure bare.
"""

from collections.abc import Callable, Collection, Sequence
from math import sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

WORLD_THRESHOLDS_KM = (1.0, 25.0, 200.0, 750.0, 2500.0)  # street, city, region, country, continent

Ranked = NDArray[np.int64] | Sequence[Sequence[int]]
Positives = Sequence[Collection[int]] | Sequence[NDArray[np.int64]]


class Share(NamedTuple):
    """`hits` of `n` cases with the Wilson interval; `share`, `low` and `high` lie in [0, 1]."""

    hits: int
    n: int
    share: float
    low: float
    high: float


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
    hits = first_hits(predictions, positives)
    return {k: float(np.mean((hits >= 0) & (hits < k))) for k in ks}


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share: the p with |successes/n - p| <= z sqrt(p (1 - p) / n).

    Raises:
        ValueError: n is 0, successes outside 0..n, or confidence outside (0, 1).
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} cases have no interval")
    z = _quantile(confidence)
    share, weight = successes / n, z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * sqrt(share * (1 - share) / n + weight / (4 * n))
    # Rounding must not push the ends past the share that was seen, or past 0 and 1.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[NDArray[Any]], float] = np.median,
    n: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of `statistic(values)`.

    Args:
        values: one entry, or one row, per case, (N, ...); inf is allowed, NaN is not.
        statistic: takes resampled values (N, ...), gives a number.
        n: number of resamples.
        seed: of the resampling; the same seed gives the same interval.
        confidence: share of the resampled statistics inside.

    Raises:
        ValueError: no values, a NaN among them, or n below 1.
    """
    cases = np.asarray(values, dtype=np.float64)
    if cases.ndim == 0 or len(cases) == 0 or n < 1:
        raise ValueError("a bootstrap needs at least one value and one resample")
    if np.isnan(cases).any():
        raise ValueError(f"{int(np.isnan(cases).sum())} of the values to resample are NaN")
    tail = (1 - confidence) / 2
    _quantile(confidence)
    rng = np.random.default_rng(seed)
    draws = [float(statistic(cases[rng.integers(len(cases), size=len(cases))])) for _ in range(n)]
    # Order statistics, not interpolation: an infinite error must not turn the interval into NaN.
    low, high = np.quantile(draws, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def within_km(
    errors_km: ArrayLike,
    thresholds: Sequence[float] = WORLD_THRESHOLDS_KM,
    confidence: float = 0.95,
) -> dict[float, Share]:
    """Share of photos placed within each distance of the truth.

    Args:
        errors_km: distance of every photo, (N,); inf where no position was given, which is a miss.
        thresholds: distances in km, inclusive.
        confidence: of the Wilson intervals.

    Raises:
        ValueError: no photo, or an error that is NaN or negative.
    """
    errors = np.asarray(errors_km, dtype=np.float64)
    if errors.ndim != 1 or len(errors) == 0:
        raise ValueError(f"errors_km must be a list of at least one distance, not {errors.shape}")
    if not (errors >= 0).all():
        raise ValueError("errors_km holds NaN or negative distances; use inf for no answer")
    return {km: _share(int((errors <= km).sum()), len(errors), confidence) for km in thresholds}


def _share(hits: int, n: int, confidence: float) -> Share:
    return Share(hits, n, hits / n, *wilson_interval(hits, n, confidence))


def _quantile(confidence: float) -> float:
    """The z that leaves (1 - confidence) / 2 above it; 1.96 for 0.95."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
