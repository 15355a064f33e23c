"""The rows of a photo table that can be packed: those whose photo, or its URL, is known.

Columns hold numbers and text alone, so that millions of rows stay small.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.console import Console
from rich.progress import track

from data.tables import PhotoTable, read_photo_table
from setup.downloading.url_list import read_url_list
from setup.packing.packed import REFUSED_COLUMNS
from setup.packing.sample_metadata import READERS, SCENE_COLUMNS
from setup.packing.settings import PackSettings

CHUNK = 100_000  # rows of Python's objects at a time
COLUMNS = ["row", "image_id", "id", "path", "seg", "lat", "lon", *READERS]


def planned_rows(settings: PackSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the table and look its photos up.

    Returns:
        The usable rows with `COLUMNS`, and those of scenes if there are some, paths relative to
        their folders; and row, id and reason of the others.

    Raises:
        ValueError: the table is unusable, or not one photo of it is there.
    """
    table = read_photo_table(settings.csv, make_safe_keys=True)
    photos = _with_scenes(table.photos.assign(row=_rows_of(table)))
    if settings.url_csv:
        photos = _with_urls(photos, settings.url_csv)
        is_lost, why = photos["url"].isna(), "no url"
    else:
        assert settings.images
        photos = photos.assign(path=_photo_paths(photos, settings.images))
        is_lost, why = photos["path"].isna(), "no such photo"
    lost = photos.loc[is_lost, ["row", "image_id"]].rename(columns={"image_id": "id"})
    refused = pd.concat([table.refused[REFUSED_COLUMNS], lost.assign(reason=why)])
    photos = photos[~is_lost]
    if photos.empty:
        raise ValueError(
            f"none of the photos of {settings.csv} is in {settings.images or settings.url_csv}; "
            "photos must be named by their id"
        )
    if settings.seg:
        photos = photos.assign(seg=_map_paths(photos, settings.seg))
    scenes = [name for name in SCENE_COLUMNS if name in photos.columns]
    return photos.reindex(columns=COLUMNS + scenes), refused.sort_values("row", ignore_index=True)


def groups_of(photos: pd.DataFrame) -> pd.Series:
    """What stays in one split: an author's photos, or a photo of which no author is known."""
    authors = "author " + photos["author"].astype("str")
    return authors.where(photos["author"].notna(), "photo " + photos["id"])


def _rows_of(table: PhotoTable) -> np.ndarray:
    """Row numbers of the usable rows: those that are not refused, in order."""
    every = np.arange(1, len(table.photos) + len(table.refused) + 1)
    return np.setdiff1d(every, table.refused["row"])


def _with_scenes(photos: pd.DataFrame) -> pd.DataFrame:
    names = {column.strip().lower(): column for column in photos.columns}
    return photos.rename(columns={names[name]: name for name in SCENE_COLUMNS if name in names})


def _with_urls(photos: pd.DataFrame, url_csv: Path) -> pd.DataFrame:
    rows, chunks = read_url_list(url_csv), []
    while chunk := list(islice(rows, CHUNK)):
        chunks.append(pd.DataFrame(chunk, columns=["image_id", "url"], dtype="str"))
    urls = pd.concat(chunks, ignore_index=True)
    urls = urls[urls["url"] != ""].drop_duplicates("image_id").set_index("image_id")["url"]
    return photos.assign(url=urls.reindex(photos["image_id"]).array)


def _photo_paths(photos: pd.DataFrame, images: Path) -> pd.Series:
    from data.photos.folder_photos import photo_of  # brings torch, which --help can do without

    return _paths(photos, images, "find photos", lambda image_id, key: photo_of(images, image_id))


def _map_paths(photos: pd.DataFrame, seg: Path) -> pd.Series:
    from data.photos.folder_photos import map_of

    return _paths(
        photos, seg, "find maps", lambda image_id, key: map_of(seg, image_id) or map_of(seg, key)
    )


def _paths(
    photos: pd.DataFrame, folder: Path, what: str, find: Callable[[str, str], Path | None]
) -> pd.Series:
    """Where each photo's file is, relative to the folder; missing where there is none."""
    pairs: Iterable[tuple[str, str]] = zip(photos["image_id"], photos["id"], strict=True)
    console = Console(stderr=True)
    pairs = track(pairs, what, len(photos), console=console, disable=not console.is_terminal)
    found = (find(image_id, key) for image_id, key in pairs)
    # A tenth of the time that `relative_to` takes; "." stands in no path.
    paths = (str(path).removeprefix(f"{folder}/") if path else None for path in found)
    return pd.Series(pa.array(paths, pa.large_string()).to_pandas().array, photos.index)
