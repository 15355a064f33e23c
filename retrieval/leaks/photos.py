"""All photos of a set of places, split by split, with what is known of each.

Positions and panoramas are read from the names (data/place_sets/names.py), authors and sequences
from a table, which names photos by their file name, with or without the extension.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.place_sets.names import PlaceName
from data.places import SPLITS, read_photos
from partitioning.csv_columns import read_columns

NAMES = ("path", "file", "file_name", "filename", "image_id", "img_id", "id", "name")
GROUPS = {
    "author": ("author", "author_id", "creator", "creator_username", "creator_id"),
    "sequence": ("sequence", "sequence_id", "sequence_key"),
}
Texts = NDArray[np.object_]


@dataclass(frozen=True)
class SplitPhotos:
    """N photos of two or three splits.

    Attributes:
        paths: Of the files.
        splits: Name of each one's split `(N,)`.
        utm_m: `(N, 2)` float64, metres east and north.
        zones: UTM zones `(N,)`, 0 where unknown.
        groups: panorama, author, sequence -> name of each photo's `(N,)`, "" where unknown.
        refused: Photos whose name holds no position; they are left out.
    """

    paths: list[Path]
    splits: Texts
    utm_m: NDArray[np.float64]
    zones: NDArray[np.int64]
    groups: dict[str, Texts]
    refused: int = 0

    def rows_of(self, split: str) -> NDArray[np.int64]:
        """Rows of one split."""
        return np.flatnonzero(self.splits == split)

    @property
    def names(self) -> list[str]:
        """The splits there are, in the order of training."""
        return [name for name in SPLITS if (self.splits == name).any()]

    def apart_m(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
        """Distance of photos `a` from photos `b`, m; inf where their zones differ."""
        apart = np.hypot(*np.moveaxis(self.utm_m[a] - self.utm_m[b], -1, 0))
        return np.where(self.zones[a] == self.zones[b], apart, np.inf)


def read_splits(directory: Path, table: Path | None = None) -> SplitPhotos:
    """Read the photos of all splits of DIR/images/{train,val,test} or DIR/{train,val,test}.

    Args:
        directory: Set of places.
        table: CSV of names with authors or sequences.

    Raises:
        ValueError: there are not two splits with photos, or the table cannot be read or is of
            other photos.
    """
    root = directory / "images" if (directory / "images").is_dir() else directory
    parts = [(name, read_photos(root / name)) for name in SPLITS if (root / name).is_dir()]
    if sum(len(photos) > 0 for _, photos in parts) < 2:
        found = ", ".join(f"{name} {len(photos)}" for name, photos in parts) or "none"
        raise ValueError(
            f"{directory}: an audit needs photos in two of {', '.join(SPLITS)}; found: {found}"
        )
    paths = [path for _, photos in parts for path in photos.paths]
    groups = {"panorama": _texts([PlaceName.parse(path.name).pano_id for path in paths])}
    if table is not None:
        groups |= _of_table(table, paths)
    return SplitPhotos(
        paths,
        _texts([name for name, photos in parts for _ in photos.paths]),
        np.concatenate([photos.utm_m for _, photos in parts]),
        np.concatenate([photos.zones for _, photos in parts]),
        groups,
        sum(len(photos.refused) for _, photos in parts),
    )


def _of_table(table: Path, paths: list[Path]) -> dict[str, Texts]:
    rows = read_columns(table)[0].to_pandas().fillna("")
    rows.columns = [str(name).strip().lower() for name in rows.columns]
    row_of: dict[str, int] = {}
    for column in (name for name in NAMES if name in rows):
        for row, text in enumerate(rows[column].tolist()):
            for name in (Path(str(text)).name, Path(str(text)).stem):
                row_of.setdefault(name, row)
    # A place's name has dots in its numbers: only what ends it like a photo's is an extension.
    found = [row_of.get(path.name, row_of.get(path.stem, -1)) for path in paths]
    columns = {
        group: next((rows[name] for name in names if name in rows), None)
        for group, names in GROUPS.items()
    }
    if max(found, default=-1) < 0 or all(column is None for column in columns.values()):
        raise ValueError(
            f"{table}: no row names a photo of the set, or there is no column for author or "
            f"sequence; found {', '.join(rows.columns)}; names are looked for in {', '.join(NAMES)}"
        )
    return {
        group: _texts([str(column.iloc[row]).strip() if row >= 0 else "" for row in found])
        for group, column in columns.items()
        if isinstance(column, pd.Series)
    }


def _texts(values: list[str]) -> Texts:
    return np.array(values, dtype=object)
