"""Is the best match really of the place? Refuse what a gallery's own wrong matches also reach.

A similarity means nothing by itself: it depends on the model and on what else is in the gallery.
So two things are measured on the gallery alone, with no labelled queries:

- *standout*: the best score less the mean of the five best scores among a cohort, gallery photos
  of other places. It asks whether the match is better than the gallery's usual look-alikes
  (adaptive score normalisation, known from speaker verification: Cumani et al., Interspeech 2011).
- *wrong standouts*: gallery photos take the part of queries whose place is not in the gallery;
  their best match elsewhere is wrong by construction. It is looked for in the whole gallery, as a
  query's is: the best of many stands out further than the best of few. Of n such standouts, a
  query's p-value is
  (1 + how many are at least as high) / (1 + n): if its place were missing too, so low a value
  would come up at most that often (a conformal p-value: Bates et al., "Testing for outliers with
  conformal p-values", 2023). That holds for queries like the gallery's photos; others go lower.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partitioning.atomic_file import atomic_path
from partitioning.geodesy import EARTH_RADIUS_KM, haversine_km, unit_vectors
from retrieval.gallery import Gallery

PLACE_RADIUS_M = 100.0  # photos closer than this may show the same place
COHORT_PHOTOS = 1000
COHORT_BEST = 5
MAX_PAIRS = 100_000_000  # comparisons made once a gallery, a second or a few
FEWEST_PROBES = 100  # p-values down to one in a hundred are worth more than that second
BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Novelty:
    """The yardstick of one gallery.

    Attributes:
        gallery: the gallery.
        place_radius_m: photos closer than this count as one place.
    """

    gallery: Gallery
    place_radius_m: float = PLACE_RADIUS_M

    @cached_property
    def _cohort(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows spread evenly over the gallery (in S2 order: over its ground), and descriptors."""
        count = min(COHORT_PHOTOS, len(self.gallery))
        rows = np.linspace(0, len(self.gallery) - 1, count).round().astype(np.int64)
        return rows, np.asarray(self.gallery.descriptors[rows], dtype=np.float32)

    def _elsewhere(self, row: int) -> NDArray[np.bool_]:
        rows, _ = self._cohort
        gallery = self.gallery
        distance_km = haversine_km(
            gallery.lat[rows], gallery.lon[rows], gallery.lat[row], gallery.lon[row]
        )
        return distance_km * 1000 > self.place_radius_m

    def standout(self, query: NDArray[np.floating], row: int, score: float) -> float:
        """How far a match stands out from the look-alikes; NaN where there are none elsewhere.

        Args:
            query: unit descriptor `(D,)`.
            row: the best match.
            score: its cosine.
        """
        others = self._elsewhere(row)
        if not others.any():
            return float("nan")
        scores = np.sort(self._cohort[1][others] @ np.asarray(query, dtype=np.float32))
        return float(score - scores[-COHORT_BEST:].mean())

    @cached_property
    def wrong_standouts(self) -> NDArray[np.float64]:
        """Standouts of cohort photos matched to another place than their own, ascending.

        Read from the gallery's directory where `save` has put them.

        Raises:
            ValueError: what lies there is not what `save` writes.
        """
        stored = self._path
        return self._measured() if stored is None or not stored.is_file() else self._read(stored)

    @property
    def _path(self) -> Path | None:
        """Where the wrong standouts of this place radius lie; None for a gallery in memory."""
        directory = self.gallery.directory
        return directory and directory / f"wrong_standouts_{self.place_radius_m:g}m.json"

    def save(self) -> None:
        """Measure the wrong standouts now and keep them in the gallery's directory.

        A large gallery takes seconds, which would otherwise be part of its first answer.
        """
        if self._path is not None:
            with atomic_path(self._path) as temporary:
                temporary.write_text(json.dumps(self._measured().tolist()))

    def _read(self, path: Path) -> NDArray[np.float64]:
        try:
            values = np.array(json.loads(path.read_text()), dtype=np.float64)
            if values.ndim == 1 and np.isfinite(values).all() and (np.diff(values) >= 0).all():
                return values
        except (TypeError, ValueError, OverflowError, RecursionError):
            pass  # as unusable as values that are out of order
        raise ValueError(f"{path} is damaged; remove it, and it is measured again")

    def _measured(self) -> NDArray[np.float64]:
        rows, descriptors = self._cohort
        count = min(len(rows), max(FEWEST_PROBES, MAX_PAIRS // len(self.gallery)))
        probes = np.linspace(0, len(rows) - 1, count).round().astype(np.int64)
        found = []
        best = self._best_elsewhere(rows[probes], descriptors[probes])
        for probe, match, score in zip(probes, *best, strict=True):
            others = self._elsewhere(int(rows[probe])) & self._elsewhere(int(match))
            if np.isfinite(score) and others.any():
                look_alikes = np.sort(descriptors[others] @ descriptors[probe])[-COHORT_BEST:]
                found.append(float(score - look_alikes.mean()))
        return np.sort(np.asarray(found))

    def _best_elsewhere(
        self, rows: NDArray[np.int64], descriptors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Best match of each row `(N,)` in all the gallery but its own place; score -inf = none."""
        gallery = self.gallery
        places = unit_vectors(gallery.lat[rows], gallery.lon[rows])
        near = np.cos(self.place_radius_m / 1000 / EARTH_RADIUS_KM)
        best, best_score = np.zeros(len(rows), np.int64), np.full(len(rows), -np.inf, np.float32)
        for start in range(0, len(gallery), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            scores = descriptors @ np.asarray(gallery.descriptors[block], dtype=np.float32).T
            scores[
                places @ unit_vectors(gallery.lat[block], gallery.lon[block]).T >= near
            ] = -np.inf
            top = scores.argmax(axis=1)
            top_score = scores[np.arange(len(rows)), top]
            better = top_score > best_score
            best[better], best_score[better] = start + top[better], top_score[better]
        return best, best_score

    def p_value(self, standout: float) -> float:
        """Share of wrong matches that stand out at least as far; 1 where nothing can be said."""
        if np.isnan(standout):
            return 1.0
        wrong = self.wrong_standouts
        at_least = len(wrong) - int(np.searchsorted(wrong, standout, side="left"))
        return (1 + at_least) / (1 + len(wrong))

    @property
    def smallest_p_value(self) -> float:
        """The p-value nothing can fall below: a gallery of few places cannot prove much."""
        return 1 / (1 + len(self.wrong_standouts))
