"""Does a photo's descriptor depend on which photos lie in its batch?

It must not: some models mix the images of a batch, and score up to 18 points more when a query's
neighbours are in it. Each audited query is described alone, and again in a shuffled batch of
eight; descriptors, first answers and the recall of both are compared.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.place_sets.photos import PlacePhotos
from models.places.embedder import Embedder
from retrieval.descriptor_cache import Engine, describe
from retrieval.nearest import nearest

AUDITED = 256  # queries
SHUFFLED_BATCH = 8
TOLERANCE = 1e-3  # of each number of a unit descriptor: far above rounding, far below mixing
HALF_TOLERANCE = 3e-2  # likewise where the backbone runs in bfloat16


class BatchAudit(NamedTuple):
    """What was compared.

    Attributes:
        queries: Number of them.
        largest_difference: Of any number of a descriptor.
        changed_answers: Queries with another first answer.
        is_passed: The differences are rounding.
    """

    queries: int
    largest_difference: float
    changed_answers: int
    is_passed: bool

    def __str__(self) -> str:
        return (
            f"batch audit {'passed' if self.is_passed else 'FAILED'}: {self.queries} queries alone "
            f"and in shuffled batches of {SHUFFLED_BATCH}: descriptors differ by "
            f"{self.largest_difference:.1e} at most, {self.changed_answers} first answers differ"
        )


def audit_batches(
    embedder: Embedder,
    queries: Sequence[Path],
    database: NDArray[Any],
    size: tuple[int, int],
    engine: Engine,
    seed: int = 0,
) -> BatchAudit:
    """Compare.

    Args:
        embedder: To audit.
        queries: Their photos; the first 256 of a random order are taken.
        database: Descriptors `(N, D)`, not shortened.
        size: Of the photos, px.
        engine: How photos are described; its batch is not used.
        seed: Of the orders.
    """
    random = np.random.default_rng(seed)
    rows = random.permutation(len(queries))[:AUDITED]
    photos = PlacePhotos(queries, size)
    alone = describe(embedder, photos, rows, engine._replace(batch=1))[:, 0]
    order = random.permutation(len(rows))
    mixed = np.empty_like(alone)
    mixed[order] = describe(embedder, photos, rows[order], engine._replace(batch=SHUFFLED_BATCH))[
        :, 0
    ]
    largest = float(np.abs(alone - mixed).max())
    firsts = [nearest(found, database, 1).rows[:, 0] for found in (alone, mixed)]
    changed = int((firsts[0] != firsts[1]).sum())
    allowed = HALF_TOLERANCE if engine.is_bf16 else TOLERANCE
    return BatchAudit(len(rows), largest, changed, largest <= allowed)
