"""Coarse to fine: from what the model says of a photo to a `Fix`.

1. The levels' probabilities are multiplied to one posterior over the finest cells
   (models/decode.py); an area, where one is given, removes cells outside it.
2. The region is the smallest set of cells that, by calibration, holds the truth with probability
   `mass` (models/calibration.py).
3. The gallery is searched exactly inside the region: a soft gate, since the one likeliest cell
   alone would throw away most of what retrieval can win. Gallery photos that lie in no cell of the
   model are searched too: of their places the model can say nothing, not that they are unlikely.
4. The best match is accepted where it stands out further than wrong matches do
   (retrieval/novelty.py); otherwise the answer is the likeliest cell, or "unknown" where that
   cell's probability lies below the calibrated floor.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration, region
from models.decode import ancestors, nested_posterior
from models.session import Encoding
from partitioning import s2
from partitioning.cells import Cells
from partitioning.geodesy import haversine_km
from partitioning.partition import Partition
from retrieval.area import Area, in_area
from retrieval.fix import CellGuess, Fix, Match
from retrieval.gallery import Gallery
from retrieval.novelty import Novelty
from retrieval.search import Matches, search

SCENES = ("indoor", "natural", "urban")
SHOWN_FACTS = ("author", "licence", "url", "heading", "captured_at")


@dataclass(frozen=True, eq=False)
class World:
    """What a model knows of the globe: its cells and how far to believe it.

    Attributes:
        partition: the cells its heads predict.
        levels: the levels it predicts, coarse to fine.
        calibration: see models/calibration.py.
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
    """

    def __init__(self, gallery: Gallery, world: World) -> None:
        self.gallery = gallery
        self.novelty = Novelty(gallery)
        outside = world.cells.assign_ids(np.asarray(gallery.leaf_ids)) < 0
        self._outside = np.unique(np.asarray(gallery.leaf_ids)[outside])

    def search(
        self, encoding: Encoding, cell_ids: NDArray[np.uint64], k: int, area: Area | None
    ) -> Matches:
        """The k best photos inside the gate of cells, or in no cell of the model."""
        gate = np.concatenate([cell_ids, self._outside])
        return search(self.gallery, encoding.descriptor, k, gate, area)


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
        ValueError: `mass`, `top_k` or `area` is out of range, or no cell and no gallery photo
            lies in the area.
    """
    fix, chosen = _cell_fix(encoding, world, mass, area)
    if street is None:
        return fix
    matches = street.search(encoding, world.cells.ids[chosen], top_k, area)
    if not len(matches.rows):
        note = "the gallery holds no photo inside the region" + (" and area" if area else "")
        return replace(fix, notes=(*fix.notes, note))
    return _street_fix(fix, encoding, street, matches, max_false_match)


def _cell_fix(
    encoding: Encoding, world: World, mass: float, area: Area | None
) -> tuple[Fix, NDArray[np.int64]]:
    """The answer of the cells alone, and the region's classes, likeliest first."""
    cells, calibration = world.cells, world.calibration
    posterior = world.posterior(encoding)
    notes = [] if calibration.photos else ["not calibrated: the region's mass is unchecked"]
    if area is not None:
        posterior, share = _inside(posterior, cells, area)
        notes.append(f"the area holds {share:.1%} of the unrestricted posterior")
    threshold = calibration.threshold(mass)
    chosen = region(posterior, threshold)
    if not np.isfinite(threshold):
        notes.append(
            f"no set of cells is known to hold {mass:.0%}: of {calibration.photos} validation "
            "photos too many lay in no cell, or they are too few"
        )
    best = int(chosen[0])
    confidence = float(posterior[best])
    guesses = tuple(_guess(cells, int(row), float(posterior[row])) for row in chosen)
    return Fix(
        lat=float(cells.lat[best]),
        lon=float(cells.lon[best]),
        radius_km=_radius_km(cells, chosen),
        level="cell" if confidence >= calibration.floor else "unknown",
        confidence=confidence,
        mass=mass,
        calibrated=calibration.photos > 0 and bool(np.isfinite(threshold)),
        cells=guesses,
        scene=_scene(encoding) if world.knows_scenes else {},
        notes=tuple(notes),
    ), chosen


def _inside(
    posterior: NDArray[np.float64], cells: Cells, area: Area
) -> tuple[NDArray[np.float64], float]:
    """Posterior restricted to cells that touch the area, renormalised, and the share it had."""
    corners = s2.corners(cells.ids)
    touching = in_area(corners[..., 0], corners[..., 1], area).any(axis=1)
    touching |= in_area(cells.lat, cells.lon, area)
    west, south, _, _ = area
    corner_of_area = cells.assign([south], [west])  # an area inside one cell holds no corner of it
    touching[corner_of_area[corner_of_area >= 0]] = True
    share = float(posterior[touching].sum())
    if not touching.any() or share == 0:
        raise ValueError(f"none of the model's cells lies in the area {area}: widen it")
    return np.where(touching, posterior, 0) / share, share


def _radius_km(cells: Cells, chosen: NDArray[np.int64]) -> float:
    """Radius of the disc about the best cell's point that holds every cell of the region."""
    corners = s2.corners(cells.ids[chosen]).reshape(-1, 2)
    best = chosen[0]
    return float(haversine_km(corners[:, 0], corners[:, 1], cells.lat[best], cells.lon[best]).max())


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
