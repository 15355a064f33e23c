"""The street demo's test: every landmark photo in turn is a query that nothing has seen.

For each photo a gallery, a partition, geocell heads and their calibration are made from all the
others, and the photo is located as `geolocate.py` would. If another, different photo of its place
is left, the query is *known* and should be found; if not it is *unknown* and should be refused.
Photos that are the same picture are counted once; of two from nearly the same viewpoint, one never
serves as the answer to the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.bundles.session import Encoding
from models.decode import ancestors, nested_posterior
from models.evaluation.calibration import Validation, fit_calibration
from models.training.frozen_heads import apply_heads, cross_folds, fit_heads
from partitioning.geodesy import haversine_km
from partitioning.partition import LEVELS, Partition, build_partition
from retrieval.answering.decision import Street, World, decide
from retrieval.answering.fix import Fix
from retrieval.gallery import Gallery
from retrieval.search import search

# So few photos make only the smallest of partitions: a handful of photos a cell.
THRESHOLDS = {"coarse": (1, 40), "middle": (1, 15), "fine": (1, 5)}
REGION_MASSES = (0.5, 0.8, 0.95)
GATE_MASS = 0.8  # of the gated recall: with so few photos no region of 95% can be had
ACCURACY_M = 500.0  # how exact the table's positions are, see setup/landmarks.csv
NO_MODEL = "0" * 64  # an in-memory gallery needs no hash of weights


@dataclass(frozen=True)
class Photos:
    """Encoded landmark photos.

    Attributes:
        table: img_id, place, lat, lon, near_view, author, licence; one row a photo.
        summaries: the frozen backbone's `(N, D)`.
        descriptors: unit `(N, D)`.
    """

    table: pd.DataFrame
    summaries: NDArray[np.float32]
    descriptors: NDArray[np.float32]

    def take(self, rows: NDArray[np.int64]) -> "Photos":
        """Some of the photos."""
        table = self.table.iloc[rows].reset_index(drop=True)
        return Photos(table, self.summaries[rows], self.descriptors[rows])

    def others(self, row: int) -> NDArray[np.int64]:
        """Rows that may serve as gallery for `row`: not itself, not its near-copies."""
        table = self.table
        me = table.iloc[row]
        near = (table.near_view == me.img_id) | (table.img_id == me.near_view)
        return np.flatnonzero(~near.to_numpy() & (np.arange(len(table)) != row))


class FittedWorld(NamedTuple):
    """Attributes: world, cells and calibration; heads, level -> linear head."""

    world: World
    heads: dict


class RegionOutcome(NamedTuple):
    """A region of one nominal mass.

    Attributes:
        possible: the mass could be calibrated; if not, the region is all cells.
        held: it held the truth.
        cells: how many it has.
    """

    possible: bool
    held: bool
    cells: int


class Outcome(NamedTuple):
    """What became of one query.

    Attributes:
        img_id, place: the query.
        known: another photo of the place was in the gallery.
        rank: of the first photo of the place in the whole gallery, 0 = best; -1 if unknown.
        gated_rank: the same inside the region of `GATE_MASS`; -1 where the region lost it.
        fix: the answer.
        half: the answer of the cells, with the region of nominal 50%.
        cells_km: error of the cells' answer.
        fix_km: error of the answer.
        prior_km: error of always answering the fullest cell.
        regions: one for each of `REGION_MASSES`.
    """

    img_id: str
    place: str
    known: bool
    rank: int
    gated_rank: int
    fix: Fix
    half: Fix
    cells_km: float
    fix_km: float
    prior_km: float
    regions: tuple[RegionOutcome, ...]


def fit_cells(photos: Photos) -> tuple[Partition, dict]:
    """Cut the partition of these photos and fit heads on it."""
    lat, lon = photos.table.lat.to_numpy(), photos.table.lon.to_numpy()
    partition = build_partition(lat, lon, THRESHOLDS)
    labels = dict(zip(LEVELS, partition.assign(lat, lon).T, strict=True))
    num_cells = {level: len(cells) for level, cells in partition.levels.items()}
    return partition, fit_heads(photos.summaries, labels, num_cells)


def fit_world(photos: Photos) -> FittedWorld:
    """Fit cells and heads on these photos, and calibrate them by cross-validation.

    Held out are single photos, not places, as the queries will be; near-copies go together.
    """
    groups = np.where(photos.table.near_view == "", photos.table.img_id, photos.table.near_view)
    parts = [
        validate(photos.take(held), *fit_cells(photos.take(train)))
        for train, held in cross_folds(groups)
    ]
    partition, heads = fit_cells(photos)
    return FittedWorld(World(partition, LEVELS, fit_calibration(parts)), heads)


def validate(photos: Photos, partition: Partition, heads: dict) -> Validation:
    """Predict photos that cells and heads have not seen."""
    lat, lon = photos.table.lat.to_numpy(), photos.table.lon.to_numpy()
    logits = apply_heads(heads, photos.summaries)
    lineage = ancestors(partition)
    best = nested_posterior(logits, lineage).argmax(axis=1)
    errors_km = haversine_km(partition.fine.lat[best], partition.fine.lon[best], lat, lon)
    return Validation(logits, lineage, partition.fine.assign(lat, lon), errors_km)


def gallery_records(table: pd.DataFrame) -> list[dict]:
    """What a gallery's photo table keeps of each photo."""
    return [
        {
            "key": row.img_id,
            "path": f"img/{row.img_id}.jpg",
            "author": row.author,
            "licence": row.licence,
            "url": row.source_url,
        }
        for row in table.itertuples()
    ]


def leave_one_out(photos: Photos) -> Iterator[Outcome]:
    """Locate every photo with all the others."""
    for row in range(len(photos.table)):
        yield locate_one(photos, row)


def locate_one(photos: Photos, row: int) -> Outcome:
    """Locate one photo with all the others; see the module's docstring."""
    rest, me = photos.take(photos.others(row)), photos.table.iloc[row]
    world, heads = fit_world(rest)
    table = rest.table
    gallery = Gallery.in_memory(
        rest.descriptors,
        table.lat.to_numpy(),
        table.lon.to_numpy(),
        gallery_records(table),
        NO_MODEL,
        ACCURACY_M,
    )
    street = Street(gallery, world)
    logits = apply_heads(heads, photos.summaries[row : row + 1])
    encoding = Encoding(
        {level: values[0] for level, values in logits.items()},
        np.zeros(3, np.float32),
        photos.descriptors[row],
    )
    fix = decide(encoding, world, street, top_k=len(table))
    gated = decide(encoding, world, street, GATE_MASS, len(table))
    cells_only = decide(encoding, world)
    ranked = [
        p["key"] for p in gallery.photos(search(gallery, encoding.descriptor, len(table)).rows)
    ]
    same_place = set(table.img_id[table.place == me.place])
    fullest = int(world.cells.photos.argmax())

    def error_km(lat: float, lon: float) -> float:
        return float(haversine_km(lat, lon, me.lat, me.lon))

    return Outcome(
        me.img_id,
        me.place,
        bool(same_place),
        first_rank(ranked, same_place),
        first_rank([match.key for match in gated.matches], same_place),
        fix,
        decide(encoding, world, mass=0.5),
        error_km(cells_only.lat, cells_only.lon),
        error_km(fix.lat, fix.lon),
        error_km(world.cells.lat[fullest], world.cells.lon[fullest]),
        tuple(
            region_outcome(encoding, world, mass, float(me.lat), float(me.lon))
            for mass in REGION_MASSES
        ),
    )


def region_outcome(
    encoding: Encoding, world: World, mass: float, lat: float, lon: float
) -> RegionOutcome:
    """Whether the region of nominal `mass` holds the true position."""
    fix = decide(encoding, world, mass=mass)
    truth = world.cells.assign([lat], [lon])[0]
    held = truth >= 0 and str(world.cells.tokens[truth]) in {cell.token for cell in fix.cells}
    return RegionOutcome(fix.calibrated, bool(held), len(fix.cells))


def first_rank(keys: list[str], wanted: set[str]) -> int:
    """Position of the first wanted key, -1 if there is none."""
    return next((i for i, key in enumerate(keys) if key in wanted), -1)
