"""Which photos there are: in a folder, in shards, or by a download's report.

A photo of the field's tables is called 3f/a9/5136118018.jpg; other tools flatten that to
3f_a9_5136118018.jpg, and `setup.download_images` names the file by `data.sample.safe_key`.
"""

import csv
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq

from data.sample import safe_key
from data.sharding.index_tables import INDEX

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")
_FLATTENED = re.compile(r"([0-9a-f]{2,3})_([0-9a-f]{2,3})_(\d+(?:\.\w+)?)")


class PhotosThere:
    """A set of photos that ids are looked up in.

    Args:
        names: keys, or paths below the folder of photos.
    """

    def __init__(self, names: Iterator[str]) -> None:
        self._names = set(names)

    @classmethod
    def find(cls, place: Path) -> "PhotosThere":
        """Find the photos of a folder, of a folder of shards (or of its splits), or of a download.

        Args:
            place: the folder, or a download's report.csv or ledger.sqlite.

        Raises:
            ValueError: there is nothing of these, or shards without an index.
        """
        if place.is_file():
            return cls(_of_ledger(place) if place.suffix == ".sqlite" else _of_report(place))
        if not place.is_dir():
            raise ValueError(f"no folder of photos or shards, and no report: {place}")
        indexes = [path for path in (place / INDEX, *place.glob(f"*/{INDEX}")) if path.is_file()]
        if indexes:
            return cls(key for path in indexes for key in _of_index(path))
        if any(place.glob("*.tar")):
            raise ValueError(
                f"{place} holds shards without an index; run `python -m data.shards index {place}`"
            )
        return cls(_of_folder(place))

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, photo: str) -> bool:
        """Whether there is a photo of this id."""
        return any(name in self._names for name in _spellings(photo))


def _spellings(photo: str) -> Iterator[str]:
    """Names that a photo may have, the likely ones first."""
    yield photo
    yield (key := safe_key(photo))
    yield key + ".jpg"
    yield from (photo + extension for extension in EXTENSIONS)
    match = _FLATTENED.fullmatch(photo)
    other = "/".join(match.groups()) if match else photo.replace("/", "_")
    if other != photo:
        yield other
        yield from (other + extension for extension in EXTENSIONS)
    if photo.lower().endswith(EXTENSIONS):  # other makers' shards leave it out of their keys
        for name in (photo, other):
            yield name.rpartition(".")[0]


def _of_folder(folder: Path, below: str = "") -> Iterator[str]:
    """Paths below the folder of all photos in it that are not empty."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _of_folder(Path(entry.path), f"{below}{entry.name}/")
            elif entry.name.lower().endswith(EXTENSIONS) and entry.stat().st_size:
                yield below + entry.name


def _of_index(path: Path) -> Iterator[str]:
    """Keys of a folder of shards."""
    for batch in pq.ParquetFile(path).iter_batches(columns=["key"]):
        yield from batch["key"].to_pylist()


def _of_report(path: Path) -> Iterator[str]:
    """Keys of the photos that a download's report says are there."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, restval="")
        if not {"key", "error"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path}: not a report of setup.download_images, which has key, error")
        yield from (row["key"] for row in reader if not row["error"])


def _of_ledger(path: Path) -> Iterator[str]:
    """Keys of the photos that a download has, whether it is finished or not."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as ledger:
            for (key,) in ledger.execute("SELECT key FROM photos WHERE sha256 != ''"):
                yield str(key)
    except sqlite3.Error as error:
        raise ValueError(f"{path}: not a ledger of setup.download_images ({error})") from None
