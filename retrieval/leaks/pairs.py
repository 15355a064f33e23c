"""Pairs of photos that lie in different splits, and a kind of leak made of them."""

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.leaks.photos import SplitPhotos
from retrieval.nearest import nearest

MOST_KEPT = 1000  # pairs of a kind; all are counted
NEIGHBOURS = 5  # in the other split that are looked at for each photo


class Pair(NamedTuple):
    """Two photos of different splits, as rows; `score` ranks the pairs of one kind."""

    a: int
    b: int
    score: float
    text: str


@dataclass(frozen=True)
class Finding:
    """What one kind of check found.

    Attributes:
        kind: Its name.
        what: What was looked for, a sentence with every threshold.
        count: Pairs or groups found.
        pairs: The worst, worst first.
        is_leak: Whether they make the audit fail.
        by_splits: "train-test" -> number.
        facts: More that was measured.
    """

    kind: str
    what: str
    count: int
    pairs: list[Pair]
    is_leak: bool
    by_splits: dict[str, int]
    facts: dict[str, float | int | str]


def finding(
    kind: str,
    what: str,
    pairs: list[Pair],
    photos: SplitPhotos,
    facts: dict[str, float | int | str] | None = None,
    is_leak: bool | None = None,
) -> Finding:
    """Put pairs together, the highest score first; any pair is a leak if nothing else is said."""
    by_splits: dict[str, int] = {}
    for pair in pairs:
        name = f"{photos.splits[pair.a]}-{photos.splits[pair.b]}"
        by_splits[name] = by_splits.get(name, 0) + 1
    worst = sorted(pairs, key=lambda pair: (-pair.score, pair.a, pair.b))[:MOST_KEPT]
    found = bool(pairs) if is_leak is None else is_leak
    return Finding(kind, what, len(pairs), worst, found, by_splits, facts or {})


def near_pairs(
    vectors: NDArray[np.float32] | NDArray[np.float16],
    photos: SplitPhotos,
    is_usable: NDArray[np.bool_],
    most: float,
) -> list[tuple[int, int, float]]:
    """Pairs of photos of different splits whose vectors are near each other.

    Args:
        vectors: `(N, D)`.
        photos: N of them.
        is_usable: Which have a vector.
        most: Squared distance up to which a pair is near.

    Returns:
        (a, b, squared distance), up to five for each photo of the earlier split.
    """
    found = []
    for first, second in combinations(photos.names, 2):
        a, b = (rows[is_usable[rows]] for rows in map(photos.rows_of, (first, second)))
        if not len(a) or not len(b):
            continue
        answers = nearest(vectors[a], vectors[b], min(NEIGHBOURS, len(b)))
        query, rank = np.nonzero(answers.distances <= most)
        rows = answers.rows[query, rank]
        found += list(
            zip(
                a[query].tolist(),
                b[rows].tolist(),
                answers.distances[query, rank].tolist(),
                strict=True,
            )
        )
    return found
