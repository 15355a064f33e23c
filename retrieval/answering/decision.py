"""Coarse to fine: from what the model says of a photo to a `Fix`.

1. The levels' probabilities are multiplied to one posterior over the finest cells
   (models/decode.py); an area, where one is given, removes cells outside it.
2. The region is the smallest set of cells that, by calibration, holds the truth with probability
   `mass` (models/evaluation/calibration.py).
3. The gallery is searched exactly inside the region: a soft gate, since the one likeliest cell
   alone would throw away most of what retrieval can win. Gallery photos that lie in no cell of the
   model are searched too: of their places the model can say nothing, not that they are unlikely.
4. Where a re-ranker is given (retrieval/answering/reranking.py), the first matches are put into its
   order. They keep the scores they were found by.
5. The best match is accepted where it stands out further than wrong matches do
   (retrieval/answering/novelty.py); otherwise the answer is the likeliest cell, or "unknown" where
   that cell's probability lies below the calibrated floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.bundles.session import Encoding
from models.decode import ancestors, nested_posterior
from models.evaluation.calibration import Calibration, region
from partitioning import s2
from partitioning.cells import Cells
from partitioning.geodesy import haversine_km
from partitioning.partition import Partition
from retrieval.answering.fix import CellGuess, Fix, Match
from retrieval.answering.novelty import Novelty
from retrieval.area import Area, cells_in_area, check_area, nearest_in_area
from retrieval.gallery import Gallery
from retrieval.search import Matches, search

if TYPE_CHECKING:
    from retrieval.answering.place_describer import PlaceDescriber
    from retrieval.answering.query import Query
    from retrieval.answering.reranking import Reranking

SCENES = ("indoor", "natural", "urban")
SHOWN_FACTS = ("author", "licence", "url", "heading", "captured_at")


@dataclass(frozen=True, eq=False)
class World:
    """What a model knows of the globe: its cells and how far to believe it.

    Attributes:
        partition: the cells its heads predict.
        levels: the levels it predicts, coarse to fine.
        calibration: see models/evaluation/calibration.py.
        knows_scenes: whether it was trained on scene labels.
    """

    partition: Partition
    levels: tuple[str, ...]
    calibration: Calibration
    knows_scenes: bool = False

    @property
    def cells(self) -> Cells:
        """The finest cells."""
        return self.partition.levels[self.levels[-1]]

    def posterior(self, encoding: Encoding) -> NDArray[np.float64]:
        """Posterior over the finest cells `(C,)`."""
        logits = {level: encoding.logits[level][None] for level in self.levels}
        lineage = ancestors(self.partition, self.levels)
        return nested_posterior(logits, lineage, self.calibration.temperature)[0]


class Street:
    """A gallery ready to be searched for one model.

    Args:
        gallery: the gallery.
        world: the model's cells.
        describer: the place model that described the gallery, where the model bundle did not.
        reranking: puts the first matches into another order.
    """

    def __init__(
        self,
        gallery: Gallery,
        world: World,
        describer: PlaceDescriber | None = None,
        reranking: Reranking | None = None,
    ) -> None:
        self.gallery, self.describer, self.reranking = gallery, describer, reranking
        self.novelty = Novelty(gallery)
        outside = world.cells.assign_ids(np.asarray(gallery.leaf_ids)) < 0
        self._outside = np.unique(np.asarray(gallery.leaf_ids)[outside])

    def encode(self, encoding: Encoding, query: Query) -> Encoding:
        """Put into an encoding what the gallery's own models say of the photo."""
        if self.describer is not None:
            encoding = encoding._replace(descriptor=self.describer(query))
        if self.reranking is not None:
            encoding = encoding._replace(maps=self.reranking.matcher.maps(query))
        return encoding

    def search(
        self, encoding: Encoding, cell_ids: NDArray[np.uint64], k: int, area: Area | None
    ) -> tuple[Matches, tuple[str, ...]]:
        """The k best photos inside the gate of cells, or in no cell of the model, and notes."""
        gate = np.concatenate([cell_ids, self._outside])
        reranking = self.reranking
        depth = k if reranking is None or k < 1 else max(k, reranking.top)
        found = search(self.gallery, encoding.descriptor, depth, gate, area)
        if reranking is None or not len(found.rows):
            return found, ()
        order, notes = reranking(encoding.maps, self.gallery.photos(found.rows.tolist()))
        return Matches(found.rows[order][:k], found.scores[order][:k]), notes


def decide(
    encoding: Encoding,
    world: World,
    street: Street | None = None,
    mass: float = 0.95,
    top_k: int = 20,
    area: Area | None = None,
    max_false_match: float = 0.05,
) -> Fix:
    """Turn an encoding into a fix.

    Args:
        encoding: what the model says of the photo.
        world: the model's cells.
        street: a gallery, where one covers the place.
        mass: probability with which the region is to hold the truth.
        top_k: matches to return.
        area: (west, south, east, north), degrees; the answer is looked for inside it.
        max_false_match: accept a match only if wrong ones would look as good at most this often.

    Raises:
        ValueError: `mass`, `top_k` or `area` is out of range, or neither a cell nor a gallery photo
            lies in the area.
    """
    if area is not None and street is not None and _only_the_gallery_reaches(area, world, street):
        fix, chosen = _blind_fix(encoding, world, mass, area), np.zeros(0, dtype=np.int64)
    else:
        fix, chosen = _cell_fix(encoding, world, mass, area)
    if street is None:
        return fix
    matches, notes = street.search(encoding, world.cells.ids[chosen], top_k, area)
    fix = replace(fix, notes=(*fix.notes, *notes))
    if not len(matches.rows):
        note = "the gallery holds no photo inside the region" + (" and area" if area else "")
        return replace(fix, notes=(*fix.notes, note))
    return _street_fix(fix, encoding, street, matches, max_false_match)


def _only_the_gallery_reaches(area: Area, world: World, street: Street) -> bool:
    """Whether gallery photos lie in an area that holds no cell of the model."""
    check_area(area)
    return not cells_in_area(world.cells.ids, area).any() and bool(
        len(street.gallery.rows_in_area(area))
    )


def _blind_fix(encoding: Encoding, world: World, mass: float, area: Area) -> Fix:
    """The answer for an area that the model knows nothing of, before the gallery is asked."""
    fix, _ = _cell_fix(encoding, world, mass, None)
    west, south, east, north = area
    lat, lon = nearest_in_area(fix.lat, fix.lon, area)
    corners_lat, corners_lon = np.array([south, south, north, north]), np.array([west, east] * 2)
    return replace(
        fix,
        lat=lat,
        lon=lon,
        radius_km=float(haversine_km(corners_lat, corners_lon, lat, lon).max()),
        level="unknown",
        confidence=0.0,
        calibrated=False,
        cells=(),
        notes=(
            *encoding.notes,
            "the model has no cell in the area: only the gallery can answer",
        ),
    )


def _cell_fix(
    encoding: Encoding, world: World, mass: float, area: Area | None
) -> tuple[Fix, NDArray[np.int64]]:
    """The answer of the cells alone, and the region's classes, likeliest first."""
    cells, calibration = world.cells, world.calibration
    posterior = world.posterior(encoding)
    notes = [*encoding.notes]
    if not calibration.photos:
        notes.append("not calibrated: the region's mass is unchecked")
    inside = np.ones(len(cells), dtype=np.bool_)
    if area is not None:
        inside = _inside(posterior, cells, area)
        share = float(posterior[inside].sum())
        posterior = np.where(inside, posterior, 0) / share
        notes.append(f"the area holds {share:.1%} of the unrestricted posterior")
    threshold = calibration.threshold(mass)
    chosen = region(posterior, threshold, reach=not calibration.thresholds)
    chosen = chosen[inside[chosen]]  # a region that is to hold everything takes cells of mass 0 too
    if not np.isfinite(threshold):
        notes.append(
            f"no set of cells is known to hold {mass:.0%}: of {calibration.photos} validation "
            "photos too many lay in no cell, or they are too few"
        )
    best = int(chosen[0])
    lat, lon = float(cells.lat[best]), float(cells.lon[best])
    if area is not None:  # a cell may reach beyond it, and so may its photos
        lat, lon = nearest_in_area(lat, lon, area)
    confidence = float(posterior[best])
    guesses = tuple(_guess(cells, int(row), float(posterior[row])) for row in chosen)
    return Fix(
        lat=lat,
        lon=lon,
        radius_km=_radius_km(cells.ids[chosen], lat, lon),
        level="cell" if confidence >= calibration.floor else "unknown",
        confidence=confidence,
        mass=mass,
        calibrated=calibration.photos > 0 and bool(np.isfinite(threshold)),
        cells=guesses,
        scene=_scene(encoding) if world.knows_scenes else {},
        notes=tuple(notes),
    ), chosen


def _inside(posterior: NDArray[np.float64], cells: Cells, area: Area) -> NDArray[np.bool_]:
    """Which cells an area leaves: bool (C,)."""
    check_area(area)
    inside = cells_in_area(cells.ids, area)
    if not posterior[inside].sum() > 0:
        raise ValueError(f"none of the model's cells lies in the area {area}: widen it")
    return inside


def _radius_km(ids: NDArray[np.uint64], lat: float, lon: float) -> float:
    """Radius of the disc about a position that holds these cells."""
    corners = s2.corners(ids).reshape(-1, 2)
    return float(haversine_km(corners[:, 0], corners[:, 1], lat, lon).max())


def _guess(cells: Cells, row: int, probability: float) -> CellGuess:
    token = str(s2.tokens(cells.ids[row : row + 1])[0])
    return CellGuess(
        token, probability, float(cells.lat[row]), float(cells.lon[row]), int(cells.photos[row])
    )


def _scene(encoding: Encoding) -> dict[str, float]:
    exponential = np.exp(encoding.scene - encoding.scene.max())
    probability = (exponential / exponential.sum()).tolist()
    return dict(zip(SCENES, probability, strict=True)) if len(probability) == len(SCENES) else {}


def _street_fix(
    fix: Fix, encoding: Encoding, street: Street, matches: Matches, max_false_match: float
) -> Fix:
    """Add the matches, and move the fix to the best one where it can be believed."""
    found = _matches(street.gallery.photos(matches.rows.tolist()), matches.scores.tolist())
    fix = replace(fix, matches=found)
    novelty, best = street.novelty, int(matches.rows[0])
    standout = novelty.standout(encoding.descriptor, best, float(matches.scores[0]))
    p_value = novelty.p_value(standout)
    if novelty.smallest_p_value > max_false_match:
        places = len(novelty.wrong_standouts)
        note = f"a gallery of {places} comparable photos is too small to accept a match"
        return replace(fix, notes=(*fix.notes, note))
    if p_value > max_false_match:
        note = f"best match refused: wrong matches look this good in {p_value:.0%} of cases"
        return replace(fix, notes=(*fix.notes, note))
    return replace(
        fix,
        lat=found[0].lat,
        lon=found[0].lon,
        radius_km=street.gallery.accuracy_m / 1000,
        level="street",
        confidence=1 - p_value,
    )


def _matches(photos: Sequence[dict], scores: Sequence[float]) -> tuple[Match, ...]:
    return tuple(
        Match(
            key=photo["key"],
            lat=photo["lat"],
            lon=photo["lon"],
            score=score,
            path=photo.get("path") or "",
            facts={name: photo[name] for name in SHOWN_FACTS if photo.get(name) is not None},
        )
        for photo, score in zip(photos, scores, strict=True)
    )
