"""Shares and medians with their intervals; here photos within a distance are counted.

A share comes with Wilson's interval (E. B. Wilson, "Probable inference, the law of succession, and
statistical inference", JASA 22, 1927) or with the percentile bootstrap's, any other statistic with
the bootstrap's (B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics
7, 1979). With 25 photos one photo is four points: never quote a figure bare.
"""

from collections.abc import Callable, Sequence
from math import ceil, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

WORLD_THRESHOLDS_KM = (1.0, 25.0, 200.0, 750.0, 2500.0)  # street, city, region, country, continent
RESAMPLES = 1000


class Share(NamedTuple):
    """`hits` of `n` cases with an interval; `share`, `low` and `high` lie in [0, 1]."""

    hits: int
    n: int
    share: float
    low: float
    high: float

    def percents(self) -> dict[str, Any]:
        """The same in percent, plain types, for tables and JSON."""
        return {
            "hits": self.hits,
            "n": self.n,
            "percent": 100 * self.share,
            "low": 100 * self.low,
            "high": 100 * self.high,
        }


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


def bootstrap_share_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of a share, without resampling.

    The hits among n cases drawn with replacement are binomial, so the quantiles are exact. Where
    all cases or none are hits the bootstrap's interval has no width, which claims too much:
    Wilson's stands in.

    Raises:
        ValueError: as `wilson_interval`.
    """
    wilson = wilson_interval(hits, n, confidence)
    if hits in (0, n):
        return wilson
    tail = (1 - confidence) / 2
    low, high = np.searchsorted(np.cumsum(binomial(n, hits / n)), [tail, 1 - tail])
    return float(low) / n, float(min(high, n)) / n


def binomial(n: int, p: float) -> NDArray[np.float64]:
    """Probabilities `(n + 1,)` of 0..n hits in n cases, each a hit with probability 0 < p < 1."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    hits = np.arange(n + 1)
    log_ways = log_factorial[n] - log_factorial - log_factorial[::-1]
    return np.exp(log_ways + hits * np.log(p) + (n - hits) * np.log1p(-p))


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[NDArray[Any]], float] = np.median,
    n: int = RESAMPLES,
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


def bootstrap_median_interval(
    values: ArrayLike, draws: int = 10_000, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """`bootstrap_interval` of the median, without resampling: 210,122 errors take 20 ms, not 10 s.

    To draw n of n sorted values with replacement is to draw n uniform numbers in 0..1 and take the
    values at n times them; the m-th smallest of n uniform numbers is a beta variable.

    Raises:
        ValueError: no values, or a NaN among them.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if n == 0 or np.isnan(ordered[-1]):
        raise ValueError("a bootstrap needs at least one value, and no NaN")
    rng, middle = np.random.default_rng(seed), (n + 1) // 2
    lower = upper = rng.beta(middle, n - middle + 1, draws)
    if n % 2 == 0:  # the median is the mean of two; the next smallest is a beta of what is left
        upper = lower + (1 - lower) * rng.beta(1, n - middle, draws)
    below, above = (ordered[np.minimum((n * u).astype(int), n - 1)] for u in (lower, upper))
    tail = (1 - confidence) / 2
    low, high = np.quantile((below + above) / 2, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def share_of(
    hits: int,
    n: int,
    confidence: float = 0.95,
    interval: Callable[[int, int, float], tuple[float, float]] = wilson_interval,
) -> Share:
    """`hits` of `n` with an interval.

    Raises:
        ValueError: as `wilson_interval`.
    """
    low, high = interval(hits, n, confidence)
    return Share(hits, n, hits / n, low, high)


def within_km(
    errors_km: ArrayLike,
    thresholds: Sequence[float] = WORLD_THRESHOLDS_KM,
    confidence: float = 0.95,
    interval: Callable[[int, int, float], tuple[float, float]] = wilson_interval,
) -> dict[float, Share]:
    """Share of photos placed within each distance of the truth.

    Args:
        errors_km: distance of every photo, (N,); inf where no position was given, which is a miss.
        thresholds: distances in km, inclusive.
        confidence: of the intervals.
        interval: `wilson_interval` or `bootstrap_share_interval`.

    Raises:
        ValueError: no photo, or an error that is NaN or negative.
    """
    errors = np.asarray(errors_km, dtype=np.float64)
    if errors.ndim != 1 or len(errors) == 0:
        raise ValueError(f"errors_km must be a list of at least one distance, not {errors.shape}")
    if not (errors >= 0).all():
        raise ValueError("errors_km holds NaN or negative distances; use inf for no answer")
    return {
        km: share_of(int((errors <= km).sum()), len(errors), confidence, interval)
        for km in thresholds
    }


def conformal_range(
    calibrated: int, tested: int, mass: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Where a test's coverage falls though all is well: chance in calibration and in the test.

    A threshold that is the k-th of n calibration scores, k = ceil((n + 1) mass), covers a share
    that is Beta(k, n + 1 - k) distributed, so that the covered among the tested are beta-binomial
    (V. Vovk, "Conditional validity of inductive conformal predictors", ACML 2012). For photos
    that are independent; those of one neighbourhood are not, and vary more.

    Raises:
        ValueError: nothing tested, or too few calibrated for such a region.
    """
    from scipy.stats import betabinom

    k = ceil((calibrated + 1) * mass)
    if tested < 1 or not 1 <= k <= calibrated:
        raise ValueError(
            f"{calibrated} calibration photos, {tested} tested: no regions of {mass:g} to judge"
        )
    chance = betabinom(tested, k, calibrated + 1 - k)
    tail = (1 - confidence) / 2
    return float(chance.ppf(tail) / tested), float(chance.ppf(1 - tail) / tested)


def _quantile(confidence: float) -> float:
    """The z that leaves (1 - confidence) / 2 above it; 1.96 for 0.95."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
