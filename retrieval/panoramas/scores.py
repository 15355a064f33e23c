"""How well tiles of a kind, width and number answer queries from the same or the next panorama.

"same": the query comes from a panorama of the database; right is that panorama. An upper bound: one
moment, one camera, only the geometry differs. "next": the query's own panorama is left out; right
is one taken within a radius of it. A panorama scores by its best tile.

The score is the margin: cosine of the best right tile less that of the best wrong one, over 0 where
the first answer is right. Queries of one panorama are not independent, so their mean is one case,
and intervals resample panoramas.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.panoramas.listing import Source
from models.evaluation.intervals import bootstrap_interval, wilson_interval
from partitioning.geodesy import haversine_km
from retrieval.panoramas.views import KINDS, Described, Views

TASKS = ("same", "next")
LEAST_CASES = 3  # panoramas; of fewer an interval says nothing


class Mean(NamedTuple):
    """A mean over panoramas with a 95% bootstrap interval; NaN ends where there are under three."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low != self.low:
            return f"{self.value:.3f} [no interval]"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Cell(NamedTuple):
    """One setting on one task.

    Attributes:
        task, kind, hfov_deg, tiles: The setting.
        panoramas, queries: How many were asked.
        recall: R@1, share of the queries.
        margin: See the top of this file.
        gain: Margin of undistorted tiles less this one's, of the same queries.
    """

    task: str
    kind: str
    hfov_deg: float
    tiles: int
    panoramas: int
    queries: int
    recall: Mean
    margin: Mean
    gain: Mean


def neighbours(sources: list[Source], near_m: float) -> NDArray[np.bool_]:
    """Which were taken within `near_m` of which others `(N, N)`; none without a position."""
    lat = np.array([np.nan if s.lat is None else s.lat for s in sources], np.float64)
    lon = np.array([np.nan if s.lon is None else s.lon for s in sources], np.float64)
    with np.errstate(invalid="ignore"):
        is_near = haversine_km(lat[:, None], lon[:, None], lat, lon) * 1000 <= near_m
    np.fill_diagonal(is_near, False)
    return is_near


def score(described: list[Described], is_near: NDArray[np.bool_], views: Views) -> list[Cell]:
    """Score every setting on both tasks; a task that no panorama can be asked is left out."""
    itself = np.eye(len(described), dtype=bool)
    rights = {"same": (itself, ~itself & ~is_near), "next": (is_near, ~itself & ~is_near)}
    queries = np.stack([one.queries for one in described])
    cells = []
    for place, fov in enumerate(views.fovs_deg):
        for count in views.counts:
            best = [
                _best(
                    queries, np.stack([one.tiles[kind, place] for one in described]), views, count
                )
                for kind in range(len(KINDS))
            ]
            for task, (right, wrong) in rights.items():
                margins = [_margins(similar, right, wrong) for similar in best]
                for kind, margin in zip(KINDS, margins, strict=True):
                    if len(margin):
                        cells.append(_cell(task, kind, fov, count, margin, margins[0]))
    return cells


def _best(
    queries: NDArray[np.float32], tiles: NDArray[np.float32], views: Views, count: int
) -> NDArray[np.float32]:
    """Cosine of each query's best tile of each panorama: `(N, queries, N)`."""
    chosen = tiles[:, views.rows(count)]
    return np.einsum("nqd,mtd->nqmt", queries, chosen, optimize=True).max(axis=3)


def _margins(
    similar: NDArray[np.float32], right: NDArray[np.bool_], wrong: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Margins `(panoramas that can be asked, queries)`."""
    asked = np.flatnonzero(right.any(axis=1) & wrong.any(axis=1))
    best_right = np.where(right[asked, None], similar[asked], -np.inf).max(axis=2)
    best_wrong = np.where(wrong[asked, None], similar[asked], -np.inf).max(axis=2)
    return (best_right - best_wrong).astype(np.float64)


def _cell(
    task: str,
    kind: str,
    fov: float,
    count: int,
    margin: NDArray[np.float64],
    undistorted: NDArray[np.float64],
) -> Cell:
    recall, gain = (margin > 0).mean(axis=1), (undistorted - margin).mean(axis=1)
    means = [mean_of(values) for values in (margin.mean(axis=1), gain)]
    return Cell(task, kind, fov, count, len(margin), margin.size, recall_of(recall), *means)


def recall_of(cases: NDArray[np.float64]) -> Mean:
    """As `mean_of`; where all queries hit, or none, Wilson's interval of so many panoramas.

    The bootstrap's has no width there, which claims too much.
    """
    if len(cases) >= LEAST_CASES and (cases.min() == 1 or cases.max() == 0):
        return Mean(float(cases[0]), *wilson_interval(int(cases.sum()), len(cases)))
    return mean_of(cases)


def mean_of(cases: NDArray[np.float64]) -> Mean:
    """Mean with an interval that resamples the cases."""
    value = float(cases.mean())
    if len(cases) < LEAST_CASES:
        return Mean(value, float("nan"), float("nan"))
    return Mean(value, *bootstrap_interval(cases, lambda drawn: float(drawn.mean())))
