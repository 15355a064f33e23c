"""Pairs of photos of one place for GeoWarp's weak losses: a query and a right answer near to it.

A right answer lies within the radius of the query; only those count whose descriptors differ by
less than a squared distance (1.2 in the source), so that both photos show something in common.
"""

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from data.place_sets.photos import PlacePhotos, Rows
from data.places import Places
from models.geowarp import GeoWarp
from models.places.embedder import Embedder
from retrieval.bars import bar
from retrieval.descriptor_cache import Descriptors, Engine, describe
from retrieval.geowarp.views import drawn_rows, shown_to
from retrieval.nearest import nearest

ANSWERS = 20  # of each query
_STREAM = 3  # of random numbers; others are in views.py


def find_weak_pairs(
    embedder: Embedder, places: Places, size: tuple[int, int], engine: Engine, threshold: float
) -> Rows:
    """Search each query's place among the database.

    Args:
        embedder: On the engine's device.
        places: With positives.
        size: Height and width of the photos, px.
        engine: How photos are described.
        threshold: Squared distance below which a right answer counts.

    Returns:
        `(N, 2)`: row of the query, row of the database.

    Raises:
        ValueError: there is no such pair.
    """
    (queries, no_query), (database, no_photo) = (
        _described(embedder, PlacePhotos(photos.paths, size), engine, what)
        for photos, what in ((places.queries, "queries"), (places.database, "database"))
    )
    found = nearest(queries, database, min(ANSWERS, len(database)), no_photo)
    near = [
        (query, int(row))
        for query in np.setdiff1d(np.arange(len(queries)), no_query).tolist()
        for row, distance in zip(found.rows[query], found.distances[query], strict=True)
        if distance < threshold and row in places.positives.of(query)
    ]
    if not near:
        raise ValueError(
            f"none of {len(queries):,} queries has a right answer among the first {ANSWERS} with a "
            f"squared distance below {threshold:g}: raise --qp_threshold, take a model that knows "
            "such places (--model), or learn from synthetic views only: --consistency_w 0 "
            "--features_wise_w 0"
        )
    return np.array(near, np.int64)


class WeakPairs:
    """Batches of such pairs.

    Args:
        model: Its backbone says how photos are normalised.
        queries: Photos.
        database: Likewise.
        pairs: `(N, 2)`, as `find_weak_pairs`.
        shape: Batches of an epoch, pairs of a batch.
        engine: Device and threads.
        seed: Of the order.
    """

    def __init__(
        self,
        model: GeoWarp,
        queries: PlacePhotos,
        database: PlacePhotos,
        pairs: Rows,
        shape: tuple[int, int],
        engine: Engine,
        seed: int,
    ) -> None:
        self.model, self.queries, self.database = model, queries, database
        self.pairs, self.shape, self.engine, self.seed = pairs, shape, engine, seed

    def __call__(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised photos `(B, 3, H, W)` of queries and of their answers, batch by batch."""
        random = np.random.default_rng([self.seed, _STREAM, epoch])
        batches, batch = self.shape
        chosen = self.pairs[drawn_rows(len(self.pairs), batches * batch, random)]
        sides = (
            side.batches(chosen[:, column], batch, self.engine.workers)
            for column, side in enumerate((self.queries, self.database))
        )
        for (_, queries), (_, answers) in zip(*sides, strict=True):
            yield (
                shown_to(self.model, queries, self.engine),
                shown_to(self.model, answers, self.engine),
            )


def _described(
    embedder: Embedder, photos: PlacePhotos, engine: Engine, what: str
) -> tuple[Descriptors, Rows]:
    """Descriptors `(N, D)` and the rows of photos that cannot be read."""
    with bar(f"weak pairs: {what}", len(photos)) as on_done:
        found = describe(embedder, photos, None, engine, on_done=on_done)[:, 0]
    lost = [row for row in range(len(photos)) if not photos.is_readable(row)]
    return found, np.array(lost, np.int64)
