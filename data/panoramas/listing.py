"""Panoramas of a folder, or of a table with a row each.

A table may be what a collector of street imagery writes (image_id, lat, lon, heading, captured_at,
is_panorama, author, licence, ...) or any CSV that names files; its positions and headings go before
those in the files, as does what part of the sphere a panorama shows (pano_width, pano_height,
pano_left, pano_top, as `setup.collect_street` writes them). A photo is found by its `path` (or
`file`), or by its id, beside the table, in `images/` beside it, or in a folder of its own.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from data.panoramas.tags import Crop
from data.photos.folder_photos import find, photo_of
from data.places import EXTENSIONS
from data.sample import key_problem, safe_key
from partitioning.csv_columns import read_columns

IDS, PATHS = ("image_id", "img_id", "id"), ("path", "file", "filename")
KINDS = ("is_panorama", "is_pano", "pano", "projection")
NUMBERS = {
    "lat": ("lat", "latitude"),
    "lon": ("lon", "lng", "longitude"),
    "heading": ("heading", "compass_angle", "computed_compass_angle"),
}
FACTS = {
    "captured_at": ("captured_at", "datetime", "date_taken", "datetaken"),
    "author": ("author", "creator", "creator_username", "author_id"),
    "licence": ("licence", "license"),
    "sequence": ("sequence", "sequence_id"),
    "url": ("url", "source_url"),
}
# Of a panorama that shows a part of the sphere: pixels, in the order of `Crop`.
CROP = ("pano_width", "pano_height", "pano_left", "pano_top", "width", "height")
YES, NO = ("1", "true", "yes", "spherical", "equirectangular"), ("0", "false", "no", "perspective")


@dataclass(frozen=True)
class Source:
    """One photo that may be a panorama.

    Attributes:
        key: Its id, fit for a file name.
        path: Of its file.
        lat, lon: Degrees; None where the table gives none.
        heading_deg: Likewise.
        is_panorama: What the table says; None where it says nothing.
        facts: captured_at, author, licence, sequence, url, those that are known.
        crop: Where it lies in the sphere; None where the table does not say.
    """

    key: str
    path: Path
    lat: float | None = None
    lon: float | None = None
    heading_deg: float | None = None
    is_panorama: bool | None = None
    facts: dict[str, str] = field(default_factory=dict)
    crop: Crop | None = None


@dataclass(frozen=True)
class Sources:
    """Photos, and rows of a table that name none: (id, reason)."""

    photos: list[Source]
    refused: list[tuple[str, str]] = field(default_factory=list)


def find_sources(data: Path, images: Path | None = None) -> Sources:
    """List the photos of a folder, or of a CSV.

    Args:
        data: Folder, searched with the folders in it, or CSV.
        images: Where the photos of a CSV are, if not beside it.

    Raises:
        ValueError: there is no photo, two would have one id, or the CSV cannot be read.
    """
    if data.is_dir():
        found = Sources([_of_file(data, path) for path in _files(data)])
    elif data.is_file():
        found = _of_table(data, images)
    else:
        raise ValueError(f"no folder or CSV {data}")
    if not found.photos:
        why = "".join(f"; of its rows, {name}: {text}" for name, text in found.refused[:1])
        raise ValueError(f"no photo ({', '.join(EXTENSIONS)}) in {data}{why}")
    keys: dict[str, Path] = {}
    for photo in found.photos:
        if photo.key in keys:
            raise ValueError(f"{keys[photo.key]} and {photo.path} have one id; rename one of them")
        keys[photo.key] = photo.path
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in EXTENSIONS]


def _of_file(folder: Path, path: Path) -> Source:
    return Source(safe_key(path.relative_to(folder).with_suffix("").as_posix()), path)


def _of_table(csv: Path, images: Path | None) -> Sources:
    columns, malformed = read_columns(csv)
    table = columns.to_pandas().fillna("")
    table.columns = [str(name).strip().lower() for name in table.columns]
    if not any(name in table for name in (*IDS, *PATHS)):
        raise ValueError(
            f"{csv}: no column for id or path; found {', '.join(table.columns)}; accepted (in any "
            f"case) {', '.join((*IDS, *PATHS))}"
        )
    folders = [images] if images else [csv.parent / "images", csv.parent]
    refused = [(f"row {row.row}", row.reason) for row in malformed]
    photos = []
    for row in table.to_dict("records"):
        name, path = _first(row, (*IDS, *PATHS)), _path(row, folders)
        has_file_name = _first(row, IDS) == "" and Path(name).name
        key = safe_key(str(Path(name).with_suffix("")) if has_file_name else name)
        if problem := key_problem(key) or ("" if path else "no such photo"):
            refused.append((name, problem))
        elif path:
            photos.append(_source(key, path, row))
    return Sources(photos, refused)


def _path(row: dict[str, str], folders: list[Path]) -> Path | None:
    """The photo of a row; a table is a stranger's text and reaches nothing outside the folders."""
    name, key = _first(row, PATHS), _first(row, IDS)
    for folder in folders:
        path = (name and find(folder, name, ("",))) or (key and photo_of(folder, key))
        if path:
            return path
    return None


def _source(key: str, path: Path, row: dict[str, str]) -> Source:
    numbers = {name: _number(_first(row, synonyms)) for name, synonyms in NUMBERS.items()}
    lat, lon, heading = numbers["lat"], numbers["lon"], numbers["heading"]
    if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180:
        lat = lon = None
    kind = _first(row, KINDS).lower()
    is_panorama = {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}.get(kind)
    facts = {name: _first(row, synonyms) for name, synonyms in FACTS.items()}
    known = {name: text for name, text in facts.items() if text}
    place = [_number(_first(row, (name,))) for name in CROP]
    crop = None if None in place else Crop(*(value or 0.0 for value in place))
    return Source(key, path, lat, lon, heading, is_panorama, known, crop)


def _first(row: dict[str, str], names: tuple[str, ...]) -> str:
    return next((str(row[name]).strip() for name in names if str(row.get(name, "")).strip()), "")


def _number(text: str) -> float | None:
    value = pd.to_numeric(text, errors="coerce") if text else math.nan
    return float(value) if math.isfinite(value) else None
