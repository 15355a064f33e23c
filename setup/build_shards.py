"""Pack a folder of photos and their table into shards for `train_vit.py`.

    python -m setup.build_shards --images DIR --csv photos.csv --output DIR [--seg DIR]

Writes OUTPUT/train and OUTPUT/val (and OUTPUT/test), each with manifest and index (data/shards.py),
and OUTPUT/refused.csv: every row that did not get in, and why. Photos are found by their id, with
or without an extension, or by the key that `setup.download_images` names them by. JPEGs are packed
as they are, orientation tag included, which our readers obey; other formats become upright JPEGs.
The same input gives the same bytes.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simplejpeg
from rich.console import Console
from rich.progress import Progress

from data.images import ImageError, decode_rgb, decode_seg, read_bytes
from data.shards import ShardWriter
from data.tables import PhotoTable, read_photo_table
from partitioning.atomic_file import atomic_path
from setup.sample_metadata import metadata, with_scene_column
from setup.split_photos import SPLITS, split_photos

REFUSED = "refused.csv"
JPEG_QUALITY = 95


@dataclass
class Packed:
    """What was packed.

    Attributes:
        samples: in each split.
        refused: row (1 is the first under the header), id, reason.
        encoded: photos that were no JPEG.
        without_map: photos that had no segmentation map.
        unreadable: metadata values left out, by column.
        authors: whether the splits are disjoint by photographer.
    """

    samples: dict[str, int]
    refused: pd.DataFrame
    encoded: int = 0
    without_map: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    authors: bool = False


class Packer:
    """Packs the rows of one table; see `build_shards`."""

    def __init__(self, images: Path, seg: Path | None, table: PhotoTable) -> None:
        self.images, self.seg = images, seg
        self.photos = with_scene_column(table.photos)
        rows = np.arange(1, len(table.photos) + len(table.refused) + 1)
        self.row_numbers = np.setdiff1d(rows, table.refused["row"])
        self.packed = Packed(dict.fromkeys(SPLITS, 0), table.refused)
        self.lost: list[tuple[int, str, str]] = []

    def find_all(self) -> list[Path | None]:
        """Where each row's photo is; a row without one is refused."""
        from data.folder_photos import EXTENSIONS, find  # brings torch

        keys = zip(self.photos["image_id"], self.photos["id"], strict=True)
        paths = [
            find(self.images, image_id, EXTENSIONS) or find(self.images, key, (".jpg",))
            for image_id, key in keys
        ]
        for at, path in enumerate(paths):
            if path is None:
                self.refuse(at, f"no photo of it in {self.images}")
        return paths

    def refuse(self, at: int, reason: str) -> None:
        """List a row that is not packed."""
        image_id = str(self.photos["image_id"].iloc[at])
        self.lost.append((int(self.row_numbers[at]), image_id, reason))

    def groups(self, rows: np.ndarray) -> list[tuple[str, str]]:
        """What must stay in one split: an author's photos, or a photo without an author."""
        authors = self.photos.get("author", pd.Series(None, self.photos.index, dtype=object))
        self.packed.authors = bool(authors.notna().any())
        pairs = zip(authors.iloc[rows], self.photos["id"].iloc[rows], strict=True)
        return [("photo", key) if pd.isna(a) else ("author", str(a)) for a, key in pairs]

    def samples(self, rows: np.ndarray, paths: list[Path | None]) -> Iterator[Any]:
        """Yield (row, key, jpg, metadata, map) of each photo, or (row,) of one that cannot be."""
        columns = self.photos.columns
        for at in rows:
            try:
                jpg, seg = self.read(paths[at], str(self.photos["image_id"].iloc[at]))
                row = dict(zip(columns, self.photos.iloc[at], strict=True))
                yield at, row["id"], jpg, metadata(row, self.packed.unreadable), seg
            except ImageError as error:
                self.refuse(at, str(error))
                yield (at,)
