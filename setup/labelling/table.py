"""Label the photos of a table: the table again, with the field's columns of scenes.

The labels are first gathered line by line in a file beside the output, so a stopped run goes on;
then the table is written whole.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from data.images import ImageError, read_bytes
from data.photos.folder_photos import photo_of
from data.places365 import KINDS
from data.tables import PhotoTable, read_photo_table
from partitioning.atomic_file import atomic_path
from setup.labelling.scene_labels import Labeller, Photo
from setup.segmenting.progress import show_photos

NAMES = {"image_id": "IMG_ID", "lat": "LAT", "lon": "LON", "author": "AUTHOR"}
LABELS = ("S3_Label", "S16_Label", "S365_Label", *(f"Prob_{kind}" for kind in KINDS))


def label_table(
    images: Path, csv: Path, output: Path, labeller: Labeller, source: dict[str, str]
) -> tuple[int, int]:
    """Write the table with S3_Label, S16_Label, S365_Label, Prob_indoor, ..., or go on doing so.

    A photo that is not there or cannot be decoded keeps its row, without labels; such rows, and
    those that the table's reader refuses, are listed in OUTPUT.refused.csv.

    Args:
        images: folder of photos named by their ids.
        csv: table of id, lat and lon.
        output: the new table.
        labeller: of the photos.
        source: what to note of the network while the work goes on.

    Returns:
        How many rows are labelled, and how many are listed.

    Raises:
        ValueError: the table or the folder cannot be used, no photo of it is there, or the output
            was begun with another network or table.
    """
    if not images.is_dir():
        raise ValueError(f"no folder {images}")
    if output.exists() and output.samefile(csv):
        raise ValueError(f"{output} is the table itself; give another name for --output")
    table = read_photo_table(csv, make_safe_keys=True)
    if not any(photo_of(images, image_id) for image_id in table.photos["image_id"]):
        raise ValueError(
            f"none of the {len(table)} photos of {csv} is in {images}; photos must be named by "
            "their id"
        )
    gathered = output.with_name(output.name + ".labels")
    head = json.dumps(source | {"rows": len(table), "csv": str(csv.absolute())})
    found = _read_gathered(gathered, head)
    with gathered.open("a", encoding="utf-8") as file:
        for row, line in _labels(table, images, labeller, len(found)):
            found.append(line)
            file.write(json.dumps(line) + "\n")
            if row % 256 == 0:
                file.flush()
    listed = _write(table, found, output)
    gathered.unlink()
    return sum("s3" in line for line in found), listed


def _read_gathered(path: Path, head: str) -> list[dict[str, Any]]:
    """Labels of the first rows, from a run that was stopped; what it wrote half is cut off."""
    if not path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_text(head + "\n", encoding="utf-8")
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.decode().splitlines()
    if not lines or lines[0] != head:
        raise ValueError(f"{path} is of another network or table; remove it to begin anew")
    with path.open("r+b") as file:
        file.truncate(len(whole))
    return [json.loads(line) for line in lines[1:]]


def _labels(
    table: PhotoTable, images: Path, labeller: Labeller, first: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    ids = table.photos["image_id"].tolist()

    def read(image_id: str) -> bytes:
        path = photo_of(images, image_id)
        if path is None:
            raise ImageError("no such photo")
        return read_bytes(path)

    photos = (Photo(ids[row], partial(read, ids[row]), row) for row in range(first, len(ids)))
    with show_photos(len(ids), first) as advance:
        for row, labels in labeller.labels(photos):
            if isinstance(labels, ImageError):
                yield row, {"error": str(labels)}
            else:
                yield row, labels._asdict()
            advance(1)


def _write(table: PhotoTable, found: list[dict[str, Any]], output: Path) -> int:
    """Write the table and the list of rows without labels; returns the length of the list."""
    photos = table.photos.drop(columns=["id", "s3", "s16", "s365"], errors="ignore")
    old = [name for name in photos.columns if name.strip().lower() in {n.lower() for n in LABELS}]
    photos = photos.drop(columns=old).rename(columns=NAMES)
    photos = photos[["IMG_ID", *photos.columns.drop("IMG_ID")]]
    labels = pd.DataFrame([_fields(line) for line in found], columns=list(LABELS), dtype=object)
    with atomic_path(output) as temporary:
        pd.concat([photos, labels], axis=1).to_csv(temporary, index=False)
    listed = _listed(table, found)
    with atomic_path(output.with_name(output.name + ".refused.csv")) as temporary:
        listed.to_csv(temporary, index=False)
    return len(listed)


def _fields(line: dict[str, Any]) -> list[Any]:
    if "s3" not in line:
        return [None] * len(LABELS)
    s3 = line["s3"]
    return [s3.index(max(s3)), line["s16"], line["s365"], *s3]


def _listed(table: PhotoTable, found: list[dict[str, Any]]) -> pd.DataFrame:
    rows = sorted(set(range(1, len(table) + len(table.refused) + 1)) - set(table.refused["row"]))
    unlabelled = [
        (row, image_id, f"unlabelled: {line['error']}")
        for row, image_id, line in zip(rows, table.photos["image_id"], found, strict=True)
        if "error" in line
    ]
    both = pd.concat([table.refused, pd.DataFrame(unlabelled, columns=["row", "id", "reason"])])
    return both.sort_values("row", ignore_index=True)
