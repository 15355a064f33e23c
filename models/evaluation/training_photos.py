"""What a test wants to know of the photos that the model was trained on: authors, names of areas.

From the training table, the training shards, or the hashes that a bundle remembers.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.index import Index
from data.photos.facts import facts_of_shards, facts_of_table
from data.tables import read_photo_table
from models.evaluation.areas import Named
from models.evaluation.author_hashes import author_hashes, read_author_hashes

CHUNK = 10_000  # photos whose metadata is held at a time


class TrainingPhotos(NamedTuple):
    """What is known of the training photos.

    Attributes:
        authors: hashes of their authors, sorted; None where nobody knows them.
        areas: area -> photos whose area has a name.
    """

    authors: NDArray[np.uint64] | None
    areas: dict[str, Named]


def training_photos(bundle: Path, csv: Path | None, shards: Path | None) -> TrainingPhotos:
    """Read what there is.

    Args:
        bundle: the model's directory, for the authors it remembers where nothing else is given.
        csv: the table of the training photos.
        shards: the training shards.

    Raises:
        ValueError: unreadable, or it names neither author nor area of any photo.
    """
    if csv is not None:
        photos = read_photo_table(csv, make_safe_keys=True).photos
        facts = facts_of_table(photos, photos["image_id"].tolist())
        lat, lon = photos["lat"].to_numpy(float), photos["lon"].to_numpy(float)
    elif shards is not None:
        index = Index.open(shards)
        facts = facts_of_shards(index, np.arange(len(index)), index.keys())
        lat, lon = index.lat, index.lon
    else:
        return TrainingPhotos(read_author_hashes(bundle), {})
    authors = {author for author in facts.author if author}
    if not authors and not facts.areas:
        raise ValueError(f"{csv or shards} names no author and no area of any photo: leave it out")
    areas = {area: Named(lat, lon, names) for area, names in facts.areas.items()}
    return TrainingPhotos(np.unique(author_hashes(authors)) if authors else None, areas)


def authors_of_shards(index: Index, rows: NDArray[np.int64]) -> set[str] | None:
    """The authors of some rows of an index; None where no photo names one.

    What a bundle keeps as hashes (`models.export.save_bundle`): it reads every photo's metadata.
    """
    authors: set[str] = set()
    for start in range(0, len(rows), CHUNK):
        piece = rows[start : start + CHUNK]
        authors |= set(facts_of_shards(index, piece, [""] * len(piece)).author)
    return (authors - {""}) or None
