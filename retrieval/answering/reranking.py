"""Put the first matches of an answer into a better order: by comparing the photos themselves.

A match whose photo is not there or cannot be read stays in its place, and the answer says so. It
says it by rank, not by name: a capped answer (precision_cap.py) withholds what its matches are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.answering.query import Query
from retrieval.rerank import order_by


class Matcher(Protocol):
    """What compares photos: dense_matcher.py."""

    def maps(self, query: Query) -> NDArray[np.float32]:
        """What it needs to know of the photo that is asked about, `(C, h, w)`."""
        ...

    def scores(self, maps: NDArray[np.float32], paths: Sequence[Path]) -> NDArray[np.float64]:
        """How alike that photo and others are `(K,)`; NaN where one cannot be read."""
        ...


class Reordered(NamedTuple):
    """Matches in a new order.

    Attributes:
        order: old ranks from 0 on, best first, int64 `(K,)`.
        notes: what the reader of the answer should know.
    """

    order: NDArray[np.int64]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Reranking:
    """How matches are re-ranked.

    Attributes:
        matcher: compares photos.
        images: folder that the gallery's paths start from.
        top: matches that are re-ranked.
    """

    matcher: Matcher
    images: Path
    top: int

    def __call__(
        self, maps: NDArray[np.float32] | None, photos: Sequence[Mapping[str, Any]]
    ) -> Reordered:
        """Re-rank.

        Args:
            maps: what `matcher.maps` says of the photo that is asked about.
            photos: the matches' rows of the photo table, best first.

        Raises:
            ValueError: there are no maps.
        """
        if maps is None:
            raise ValueError("the photo was encoded without maps to re-rank by: encode it again")
        first = photos[: self.top]
        scores = self._scores(maps, first) if len(first) > 1 else np.full(len(first), np.nan)
        rest = np.arange(len(first), len(photos))
        return Reordered(np.concatenate([order_by(scores), rest]), _notes(scores))

    def _scores(
        self, maps: NDArray[np.float32], photos: Sequence[Mapping[str, Any]]
    ) -> NDArray[np.float64]:
        files = [file_within(self.images, photo.get("path") or "") for photo in photos]
        named = [rank for rank, file in enumerate(files) if file is not None]
        scores = np.full(len(photos), np.nan)
        if named:
            scores[named] = self.matcher.scores(maps, [file for file in files if file is not None])
        return scores


def file_within(folder: Path, path: str) -> Path | None:
    """A file by its path from a folder; None for a path that leads nowhere or out of it.

    A gallery may come from a stranger, and so may its paths.
    """
    pure = PurePath(path)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in path:
        return None
    return folder / pure


def _notes(scores: NDArray[np.float64]) -> tuple[str, ...]:
    """Say what was re-ranked and what could not be."""
    count, compared = len(scores), int(np.isfinite(scores).sum())
    if count < 2:
        return ("not re-ranked: there are not two matches",)
    if compared < 2:
        note = f"not re-ranked: the photos of {count - compared} of the first {count} matches"
        return (f"{note} are not in the folder --images, or cannot be read",)
    if compared == count:
        return (f"the first {count} matches were re-ranked by dense matching",)
    left = ", ".join(str(rank) for rank in np.flatnonzero(~np.isfinite(scores)) + 1)
    return (
        f"{compared} of the first {count} matches were re-ranked by dense matching",
        f"left in place, as not in the folder --images or unreadable: the photo of match {left}",
    )
