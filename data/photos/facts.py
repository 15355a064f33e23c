"""What is known of each test photo besides its position: author, scene, names of its areas.

They make the rows of a test's table: photos of authors that training never saw, photos by scene,
and OSV-5M's areas (https://huggingface.co/datasets/osv5m/osv5m). From a table, columns in any
case; from shards, the samples' metadata.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.index import Index
from data.sample import NUM_SCENES, scene_of

SCENES = ("indoor", "natural", "urban")
AREAS = ("country", "region", "sub-region", "city")
AUTHOR_COLUMNS = ("author", "creator_id", "creator_username")
SCENE_COLUMNS = ("prob_indoor", "prob_natural", "prob_urban")


@dataclass(frozen=True)
class PhotoFacts:
    """Facts of N photos, "" or -1 where unknown.

    Attributes:
        keys: image ids.
        author: str `(N,)`.
        scene: 0 indoor, 1 natural, 2 urban, -1 unknown; int64 `(N,)`.
        areas: name of an area (of `AREAS`) -> str `(N,)`; those that the list has.
    """

    keys: list[str]
    author: NDArray[np.object_]
    scene: NDArray[np.int64]
    areas: dict[str, NDArray[np.object_]]

    def of(self, keys: Sequence[str]) -> "PhotoFacts":
        """The facts of some of the photos, in that order."""
        row_of = {key: row for row, key in enumerate(self.keys)}
        rows = np.array([row_of[key] for key in keys], dtype=np.int64)
        areas = {name: values[rows] for name, values in self.areas.items()}
        return PhotoFacts(list(keys), self.author[rows], self.scene[rows], areas)


def facts_of_table(photos: pd.DataFrame, keys: Sequence[str]) -> PhotoFacts:
    """Facts from a table's rows; `keys` are their image ids."""
    columns = {str(name).strip().lower(): photos[name] for name in photos.columns}
    areas = {
        area: _texts(columns[f"unique_{area}"]) for area in AREAS if f"unique_{area}" in columns
    }
    return PhotoFacts(list(keys), authors_of(photos), _scenes(columns, len(photos)), areas)


def facts_of_shards(index: Index, rows: NDArray[np.int64], keys: Sequence[str]) -> PhotoFacts:
    """Facts from the metadata of some rows of an index; `keys` are their image ids."""
    metadata = pd.DataFrame([index.read_metadata(int(row)) for row in rows])
    facts = facts_of_table(metadata, keys)
    return PhotoFacts(facts.keys, facts.author, index.scene[rows].astype(np.int64), facts.areas)


def authors_of(photos: pd.DataFrame) -> NDArray[np.object_]:
    """Author of each row as text, "" where unknown; the first of `AUTHOR_COLUMNS` there is."""
    columns = {str(name).strip().lower(): photos[name] for name in photos.columns}
    found = [columns[name] for name in AUTHOR_COLUMNS if name in columns]
    return _texts(found[0]) if found else np.full(len(photos), "", dtype=object)


def _texts(column: pd.Series) -> NDArray[np.object_]:
    return np.array([_text(value) for value in column.tolist()], dtype=object)


def _text(value: Any) -> str:
    """A name as text: a gap in a column of numbers makes pandas read author 7 as 7.0."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _scenes(columns: dict[str, pd.Series], n: int) -> NDArray[np.int64]:
    if all(name in columns for name in SCENE_COLUMNS):
        given = [pd.to_numeric(columns[name], errors="coerce") for name in SCENE_COLUMNS]
        probabilities = np.stack([column.to_numpy(float) for column in given], axis=1)
        known = np.isfinite(probabilities).all(axis=1) & (probabilities.sum(axis=1) > 0)
        return np.where(known, np.where(known[:, None], probabilities, 0).argmax(axis=1), -1)
    if "s3" not in columns:
        return np.full(n, -1, dtype=np.int64)
    return np.array([_scene(value) for value in columns["s3"].tolist()], dtype=np.int64)


def _scene(value: Any) -> int:
    """A label 0, 1 or 2, or a list of probabilities, which may be JSON."""
    try:
        value = json.loads(value) if isinstance(value, str) else value
        if isinstance(value, list):
            return scene_of({"s3": value})
        return int(value) if float(value) in range(NUM_SCENES) else -1
    except (TypeError, ValueError, OverflowError, RecursionError):  # nested until the stack ends
        return -1
