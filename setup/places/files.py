"""Write the files of a set of places: linked, copied or made smaller, each whole or not at all."""

import csv
import json
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from data.images import read_bytes
from partitioning.atomic_file import atomic_path
from setup.downloading.small_jpeg import as_small_jpeg
from setup.places.plan import Plan, Planned

TABLE = "photos.csv"
COLUMNS = (
    "img_id", "lat", "lon", "heading", "captured_at", "sequence", "author", "licence",
    "split", "part", "file",
)  # fmt: skip
JPEG_SUFFIXES = (".jpg", ".jpeg")


def write_files(
    plan: Plan, directory: Path, size: int = 0, copies: bool = False, workers: int = 2
) -> None:
    """Write images/{train,val,test}/{database,queries} and the table of all photos.

    Files that are there stay, for a stopped run goes on; those of another plan go.

    Args:
        plan: What to write.
        directory: Of the set.
        size: Short side of a photo, px; 0 leaves it as it is.
        copies: Copy what could be linked.
        workers: Threads.

    Raises:
        ImageError: a photo that could be read cannot be any more.
        OSError: the disk is full, or cannot be written to.
    """
    wanted = {_place(directory, planned): planned for planned in plan.photos if planned.folder}
    left = [(path, planned) for path, planned in wanted.items() if not path.is_file()]
    for path in (directory / "images").rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()
    for folder in {path.parent for path in wanted}:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        done = pool.map(lambda item: _write(item[0], item[1], size, copies), left)
        for _ in track(done, "writing photos", len(left), console=Console(stderr=True)):
            pass
    _write_table(directory / TABLE, plan.photos)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a report, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _place(directory: Path, planned: Planned) -> Path:
    return directory / "images" / planned.folder / planned.name


def _write(path: Path, planned: Planned, size: int, copies: bool) -> None:
    source = planned.photo.path
    if size or source.suffix.lower() not in JPEG_SUFFIXES:
        jpeg, _, _ = as_small_jpeg(read_bytes(source), planned.photo.name, size)
        with atomic_path(path) as temporary:
            temporary.write_bytes(jpeg)
        return
    if not copies:
        try:
            os.link(source.resolve(), path)
            return
        except OSError:  # another disk, or one that knows no links
            pass
    with atomic_path(path) as temporary:
        shutil.copyfile(source, temporary)


def _write_table(path: Path, photos: Iterable[Planned]) -> None:
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for planned in photos:
            photo, place = planned.photo, planned.folder
            heading = "" if photo.heading != photo.heading else f"{photo.heading:g}"
            rows.writerow([
                photo.name, f"{photo.lat:.7f}", f"{photo.lon:.7f}", heading, photo.day,
                photo.sequence, photo.author, photo.licence, planned.split,
                place.rpartition("/")[2], f"images/{place}/{planned.name}" if place else "",
            ])  # fmt: skip
