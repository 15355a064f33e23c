"""Who is asked what: queries of a set of places or of photos of named places, and night copies.

A night copy is a query by day, turned night by data/night.py: SYNTHETIC. It has the right answers
of the query that it was made of, so that what night costs is told from the same queries.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.night_photos import NightMaker, write_nights
from data.photos.journal import PhotoJournal, remove_made
from data.places import Photos, Places
from retrieval.bars import bar
from retrieval.night.conditions import COPIED
from retrieval.testing.evaluation import Job, photos_of
from retrieval.untrained_sets import set_of_labels

Rows = NDArray[np.int64]
JOURNAL = "night.jsonl"


class Asked(NamedTuple):
    """Queries and what is right.

    Attributes:
        database: Photos that are searched.
        queries: Photos that ask, each with a right answer.
        positives: Of each query its rows of the database.
        own: `(Q,)`, the row of the database that is the query itself and no answer, -1 for none.
        left_out: Queries that nothing of the database can answer.
        places: Positions; None of photos that are labelled by place.
        names: `(Q,)`, the condition of each query.
        pairs: `(P, 2)`, rows of a query by day and of its night copy.
    """

    database: list[Path]
    queries: list[Path]
    positives: list[Rows]
    own: Rows
    left_out: int
    places: Places | None = None
    names: NDArray[np.str_] = np.zeros(0, np.str_)
    pairs: Rows = np.zeros((0, 2), np.int64)


def asked_of_places(data: Path, split: str, radius_m: float) -> Asked:
    """Queries of a set of places; what cannot be used of it is said on stderr.

    Raises:
        ValueError: as `data.places.read_places`.
    """
    places = photos_of(Job(data, data, split, radius_m=radius_m))[2]
    assert places is not None
    kept = np.flatnonzero(places.positives.counts)
    left_out = len(places.queries) - len(kept)
    if left_out:
        places = Places.of(places.database, places.queries.take(kept), radius_m)
    return _of(places, left_out)


def asked_of_labels(table: Path, images: Path, but: Sequence[str] = ()) -> Asked:
    """Photos of named places; each asks all the others.

    Raises:
        ValueError: as `retrieval.untrained_sets.set_of_labels`.
    """
    photos = set_of_labels(table, images, tuple(but))
    queries = [photos.paths[row] for row in photos.queries]
    return Asked(photos.paths, queries, photos.positives, photos.queries, photos.left_out)


def with_night_copies(asked: Asked, folder: Path, maker: NightMaker, workers: int = 2) -> Asked:
    """Ask queries by day as night copies too, behind all queries.

    Args:
        asked: With the condition of each query.
        folder: For the copies; those that are there already stay, but for those of photos that
            ask no more. A photo that cannot be read has none.
        maker: Of the nights.
        workers: Threads.

    Raises:
        ValueError: there is no query by day, or `folder` holds copies of another kind or seed.
        OSError: a copy cannot be written.
    """
    by_day = np.flatnonzero(asked.names == "day")
    if not len(by_day):
        raise ValueError("there is no query by day to turn night; leave out --night_copy")
    copies = _written([asked.queries[row] for row in by_day], folder, maker, workers)
    rows = by_day[[copy is not None for copy in copies]]
    everyone = np.concatenate([np.arange(len(asked.queries)), rows])
    queries = [*asked.queries, *(copy for copy in copies if copy)]
    if asked.places:
        taken = asked.places.queries.take(everyone)
        moved = Photos(queries, taken.utm_m, taken.zones)
        database, radius_m = asked.places.database, asked.places.radius_m
        both = _of(Places.of(database, moved, radius_m), asked.left_out)
    else:
        positives = [asked.positives[row] for row in everyone]
        both = asked._replace(queries=queries, positives=positives, own=asked.own[everyone])
    names = np.concatenate([asked.names, np.full(len(rows), COPIED)])
    pairs = np.stack([rows, len(asked.queries) + np.arange(len(rows))], axis=1)
    return both._replace(names=names, pairs=pairs)


def _written(
    queries: Sequence[Path], folder: Path, maker: NightMaker, workers: int
) -> list[Path | None]:
    """The night copy of each query, None of one that cannot be read."""
    common = Path(os.path.commonpath([path.parent for path in queries]))
    places = [path.relative_to(common).with_name(f"night_{path.name}") for path in queries]
    photos = {
        place.as_posix(): (path, folder / place)
        for path, place in zip(queries, places, strict=True)
    }
    copies = []
    with (
        PhotoJournal(folder / JOURNAL, maker.plain()) as journal,
        bar("turning queries night", len(photos)) as advance,
    ):
        for name in journal.facts.keys() - photos:  # withdrawn photos are not kept as copies
            remove_made(folder, name)
            journal.forget(name)
        for name, why in write_nights(photos, maker, journal, workers):
            copies.append(None if why else photos[name][1])
            advance(1)
    return copies


def _of(places: Places, left_out: int) -> Asked:
    positives = [places.positives.of(query) for query in range(len(places.queries))]
    own = np.full(len(positives), -1)
    return Asked(places.database.paths, places.queries.paths, positives, own, left_out, places)
