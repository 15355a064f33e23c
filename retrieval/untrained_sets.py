"""Sets of photos to try untrained features on: a set of places, or photos labelled by place."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.places import EXTENSIONS, read_places


class PhotoSet(NamedTuple):
    """Photos, which of them ask, and what is right.

    Attributes:
        name: Of the set.
        paths: Of all photos.
        database: Rows that may be answers.
        queries: Rows that ask; a query that is in the database too is never its own answer.
        positives: For each query the rows of the database that show its place.
        left_out: Queries without any.
    """

    name: str
    paths: list[Path]
    database: NDArray[np.int64]
    queries: NDArray[np.int64]
    positives: list[NDArray[np.int64]]
    left_out: int = 0


def set_of_places(directory: Path, split: str = "test") -> PhotoSet:
    """The queries of a set of places that have a positive.

    Raises:
        ValueError: as `data.places.read_places`.
    """
    places = read_places(directory, split, drop_without_positive=True)
    count = len(places.database)
    return PhotoSet(
        directory.resolve().name,
        [*places.database.paths, *places.queries.paths],
        np.arange(count),
        np.arange(count, count + len(places.queries)),
        [places.positives.of(query) for query in range(len(places.queries))],
        places.dropped,
    )


def set_of_labels(table: Path, images: Path, but: tuple[str, ...] = ()) -> PhotoSet:
    """Photos of named places: each asks all the others, where another shows its place.

    Args:
        table: CSV with the columns img_id and place.
        images: Folder of the photos, img_id and an extension.
        but: Ids to leave out: further copies of a picture.

    Raises:
        ValueError: a column or photo is missing, or no place has two photos.
    """
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"img_id", "place"} <= rows[0].keys():
        raise ValueError(f"{table} needs the columns img_id and place, and a row")
    unknown = set(but) - {row["img_id"] for row in rows}
    if unknown:
        raise ValueError(f"{table} has no {', '.join(sorted(unknown))} to leave out")
    rows = [row for row in rows if row["img_id"] not in but]
    paths = [_photo(images, row["img_id"]) for row in rows]
    labels = np.array([row["place"] for row in rows])
    same = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    queries = np.flatnonzero(same.any(axis=1))
    if not len(queries):
        raise ValueError(f"{table}: no place has two photos, so none can be found again")
    positives = [np.flatnonzero(same[query]) for query in queries]
    left_out = len(labels) - len(queries)
    return PhotoSet(table.stem, paths, np.arange(len(labels)), queries, positives, left_out)


def _photo(images: Path, name: str) -> Path:
    found = [images / f"{name}{end}" for end in EXTENSIONS if (images / f"{name}{end}").is_file()]
    if not found:
        raise ValueError(f"no photo {name} in {images}")
    return found[0]
