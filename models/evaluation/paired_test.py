"""Is model B better than model A? Both on the same photos, so that the photos' difficulty cancels.

For each distance: how many photos only A placed within it, how many only B; the difference of
shares with the interval of a paired bootstrap (photos are drawn, each with both its answers); and
McNemar's exact test (Q. McNemar, Psychometrika 12, 1947): if neither were better, the photos that
only one of them placed would fall to either like a coin. The p-values are of single tests; with
five distances, one below 0.05 in four comparisons is chance.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.intervals import WORLD_THRESHOLDS_KM, binomial, bootstrap_interval

DRAWS = 10_000

FloatArray = NDArray[np.float64]


class Difference(NamedTuple):
    """B minus A at one distance.

    Attributes:
        photos: all photos.
        hits_a: photos that A placed within the distance.
        hits_b: photos that B did.
        only_a: photos that only A did.
        only_b: photos that only B did.
        low: lower end of the difference's 95% interval, a share.
        high: upper end.
        p: McNemar's exact two-sided p.
    """

    photos: int
    hits_a: int
    hits_b: int
    only_a: int
    only_b: int
    low: float
    high: float
    p: float

    def plain(self) -> dict[str, Any]:
        """Plain types, shares in percent, for tables and JSON."""
        counts = {**self._asdict(), "low": 100 * self.low, "high": 100 * self.high}
        points = 100 * (self.only_b - self.only_a) / self.photos
        return {
            **counts,
            "percent_a": 100 * self.hits_a / self.photos,
            "percent_b": 100 * self.hits_b / self.photos,
            "difference": points,
        }


def compare(
    errors_a_km: FloatArray,
    errors_b_km: FloatArray,
    thresholds: Sequence[float] = WORLD_THRESHOLDS_KM,
) -> dict[float, Difference]:
    """Compare two models' errors `(N,)` on the same photos, in the same order, by distance.

    Raises:
        ValueError: no photo, or not as many errors of both.
    """
    if len(errors_a_km) != len(errors_b_km) or not len(errors_a_km):
        raise ValueError(
            f"a paired test needs the same photos: {len(errors_a_km)} and {len(errors_b_km)}"
        )
    return {km: _difference(errors_a_km <= km, errors_b_km <= km) for km in thresholds}


def _difference(in_a: NDArray[np.bool_], in_b: NDArray[np.bool_]) -> Difference:
    only_a, only_b = int((in_a & ~in_b).sum()), int((in_b & ~in_a).sum())
    low, high = difference_interval(only_a, only_b, len(in_a))
    hits = int(in_a.sum()), int(in_b.sum())
    return Difference(len(in_a), *hits, only_a, only_b, low, high, mcnemar(only_a, only_b))


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p that a fair coin splits only_a + only_b photos at least this unevenly."""
    photos = only_a + only_b
    if photos == 0:
        return 1.0
    tail = binomial(photos, 0.5)[: min(only_a, only_b) + 1].sum()
    return min(1.0, 2 * float(tail))


def difference_interval(
    only_a: int, only_b: int, photos: int, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Paired bootstrap interval of the share of B minus that of A.

    A resample of the photos is a draw of how many are only A's, only B's, or neither's: the
    counts are multinomial, so no photo needs to be touched. Where the models differ on no photo
    the interval has no width; it then means "nothing seen", not "nothing there".
    """
    shares = np.array([only_a, only_b, photos - only_a - only_b]) / photos
    drawn = np.random.default_rng(seed).multinomial(photos, shares, DRAWS)
    tail = (1 - confidence) / 2
    differences = (drawn[:, 1] - drawn[:, 0]) / photos
    low, high = np.quantile(differences, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def median_difference(
    errors_a_km: FloatArray, errors_b_km: FloatArray
) -> tuple[float, float, float]:
    """Median error of B minus that of A, km, with its paired bootstrap interval."""

    def difference(pairs: FloatArray) -> float:
        return float(np.median(pairs[:, 1]) - np.median(pairs[:, 0]))

    pairs = np.stack([errors_a_km, errors_b_km], axis=1)
    return difference(pairs), *bootstrap_interval(pairs, difference)
