"""Which triplets to learn from next: best positives and hard negatives, by the model's own view.

For a sample of queries the miner asks for descriptors, as the model makes them now, and picks

- as positive the photo nearest in descriptors among those within 10 m of the query,
- as negatives the nearest in descriptors of a pool, never one within 25 m.

The pools are those of the benchmark (Berton et al., "Deep Visual Geo-localization Benchmark", 2022,
https://arxiv.org/abs/2204.03444): `full` describes the whole database and draws a pool for each
query, which also holds the query's last hardest ones (Arandjelovic et al., "NetVLAD", 2016);
`partial` describes and shares one pool; `random` draws negatives and describes positives alone;
`msls_weighted` is `partial` with rare queries (night, sideways) drawn more often (Warburg et al.,
"Mapillary Street-Level Sequences", 2020).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.place_sets.near_positions import within
from data.places import POSITIVE_M, Places

METHODS = ("full", "partial", "random", "msls_weighted")

Rows = NDArray[np.int64]
Describe = Callable[[Rows], NDArray[np.float32]]  # rows -> descriptors (len(rows), D) of length 1


class Triplets(NamedTuple):
    """Rows to learn from.

    Attributes:
        queries: `(T,)`, of the queries.
        positives: `(T,)`, of the database.
        negatives: `(T, N)`, of the database.
    """

    queries: Rows
    positives: Rows
    negatives: Rows


@dataclass(frozen=True)
class MiningSettings:
    """How to mine.

    Attributes:
        method: One of `METHODS`.
        queries: Queries in a sample; the descriptors of one sample are that old at most.
        negatives: Of each query.
        pool: Negatives to choose from.
        soft_positive_m: Nearer photos are never negatives.
    """

    method: str = "partial"
    queries: int = 1000
    negatives: int = 10
    pool: int = 1000
    soft_positive_m: float = POSITIVE_M

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"mining must be one of {', '.join(METHODS)}, got {self.method!r}")
        if min(self.queries, self.negatives) < 1 or self.pool < self.negatives:
            raise ValueError("queries and negatives must be positive, and pool at least negatives")


class Miner:
    """Draws samples of queries and mines their triplets.

    Args:
        places: The training set, every query with a positive.
        settings: How.
        seed: Of all draws.
        query_weights: How often to draw each query, relative; for `msls_weighted`.

    Raises:
        ValueError: a query has no positive, or too few photos of the database are farther than the
            soft positives; or weights are missing or of no use.
    """

    def __init__(
        self,
        places: Places,
        settings: MiningSettings,
        seed: int = 0,
        query_weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.places, self.settings = places, settings
        self.random = np.random.default_rng(seed)
        self.soft = within(places.queries.utm_m, places.database.utm_m, settings.soft_positive_m)
        self.hardest: dict[int, Rows] = {}  # query -> its last hardest negatives
        self.chances = _chances(settings, query_weights, len(places.queries))
        if (places.positives.counts == 0).any():
            raise ValueError("a query without a positive cannot be learned from; drop it first")
        most = int(self.soft.counts.max())
        if len(places.database) - most < settings.negatives:
            raise ValueError(
                f"a query has {len(places.database) - most} photos farther than "
                f"{settings.soft_positive_m:g} m, fewer than {settings.negatives} negatives; take "
                "fewer negatives or a larger database"
            )

    def mine(self, describe_queries: Describe, describe_database: Describe) -> Triplets:
        """Draw a sample of queries and mine it.

        Args:
            describe_queries: Descriptors of rows of the queries.
            describe_database: Descriptors of rows of the database.
        """
        queries = self._draw_queries()
        pool = self._pool()
        needed = [pool, *(self.places.positives.of(query) for query in queries)]
        rows = np.unique(np.concatenate(needed))
        if self.settings.method == "full":
            rows = np.arange(len(self.places.database))
        database = describe_database(rows)
        described = describe_queries(queries)
        positives, negatives = [], []
        for query, descriptor in zip(queries.tolist(), described, strict=True):
            near = self.places.positives.of(query)
            scores = database[np.searchsorted(rows, near)] @ descriptor
            positives.append(near[np.argmax(scores)])
            negatives.append(self._negatives(query, descriptor, pool, rows, database))
        return Triplets(queries, np.array(positives), np.array(negatives))

    def _draw_queries(self) -> Rows:
        count = min(self.settings.queries, len(self.places.queries))
        return self.random.choice(
            len(self.places.queries), count, replace=False, p=self.chances, shuffle=True
        )

    def _pool(self) -> Rows:
        """The pool that all queries of the sample share; empty where each has its own."""
        if self.settings.method in ("full", "random"):
            return np.empty(0, np.int64)
        return self._draw_database()

    def _draw_database(self) -> Rows:
        count = min(self.settings.pool, len(self.places.database))
        # Their order does not matter.
        return self.random.choice(len(self.places.database), count, replace=False, shuffle=False)

    def _negatives(
        self,
        query: int,
        descriptor: NDArray[np.float32],
        pool: Rows,
        rows: Rows,
        database: NDArray[np.float32],
    ) -> Rows:
        wanted = self.settings.negatives
        if self.settings.method == "random":
            return self._fill(query, np.empty(0, np.int64))
        if self.settings.method == "full":
            remembered = self.hardest.get(query, np.empty(0, np.int64))
            pool = np.concatenate([self._draw_database(), remembered])
        candidates = _without(_ascending(pool), self.soft.of(query))
        is_whole = len(rows) == len(self.places.database)
        places = candidates if is_whole else np.searchsorted(rows, candidates)
        hardest = candidates[_highest(database[places] @ descriptor, wanted)]
        if self.settings.method == "full":
            self.hardest[query] = hardest
        return self._fill(query, hardest)

    def _fill(self, query: int, negatives: Rows) -> Rows:
        """Add random negatives until there are enough: a pool may lie mostly near the query."""
        missing = self.settings.negatives - len(negatives)
        if missing <= 0:
            return negatives
        taken = np.concatenate([self.soft.of(query), negatives])
        free = np.setdiff1d(np.arange(len(self.places.database)), taken)
        return np.concatenate([negatives, self.random.choice(free, missing, replace=False)])


def _ascending(rows: Rows) -> Rows:
    """Each row once, in order; np.unique hashes, which takes three times as long."""
    rows = np.sort(rows)
    return rows[np.concatenate([[True], rows[1:] != rows[:-1]])] if len(rows) else rows


def _without(ascending: Rows, few: Rows) -> Rows:
    """Numbers in ascending order without a few others."""
    places = np.searchsorted(ascending, few)
    few, places = few[places < len(ascending)], places[places < len(ascending)]
    is_kept = np.ones(len(ascending), bool)
    is_kept[places[ascending[places] == few]] = False
    return ascending[is_kept]


def _highest(scores: NDArray[np.float32], count: int) -> Rows:
    """Where the highest scores are, the highest first; equal ones in their order."""
    if count < len(scores):
        least = np.partition(scores, -count)[-count]
        found = np.flatnonzero(scores >= least)
    else:
        found = np.arange(len(scores))
    return found[np.argsort(-scores[found], kind="stable")[:count]]


def rarity_weights(groups: list[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Weights `(Q,)` of queries that lie in rare groups: 1, and N / n for each group of n of N."""
    weights = np.ones(len(groups[0]))
    for group in groups:
        if group.any():
            weights[group] += len(group) / group.sum()
    return weights


def _chances(
    settings: MiningSettings, weights: NDArray[np.float64] | None, num_queries: int
) -> NDArray[np.float64] | None:
    if settings.method != "msls_weighted":
        return None
    if weights is None or len(weights) != num_queries:
        raise ValueError("msls_weighted needs one weight for each query; see rarity_weights")
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError("weights of queries must be positive numbers")
    return weights / weights.sum()
