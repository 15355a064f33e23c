"""Photos to make a set of places from: the files of a folder, the rows of a CSV, or both.

A CSV has an id or path for each photo, its latitude and longitude under any of the names that
partitioning/positions_csv.py knows, and may have heading, captured_at, sequence and author. What it
does not say of a photo, the photo's own EXIF may (setup/places/scan.py).
"""

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from data.photos.exif import day_of, heading_of
from data.photos.facts import authors_of
from data.photos.folder_photos import EXTENSIONS, photo_of
from partitioning.csv_columns import read_names
from partitioning.positions_csv import COLUMN_SYNONYMS, read_positions

PATH_NAMES = ("path", "file", "file_name", "filename", "image", "image_path")  # in place of an id
SYNONYMS = {
    "heading": ("heading", "compass_angle", "computed_compass_angle", "bearing", "azimuth"),
    "captured_at": ("captured_at", "date_taken", "datetaken", "datetime", "date", "timestamp"),
    "sequence": ("sequence", "sequence_id", "sequence_key"),
    "licence": ("licence", "license"),
}
QUERY_WORDS = ("1", "true", "yes", "query", "queries")
Refused = dict[str, str]


@dataclass(frozen=True)
class SourcePhoto:
    """One photo that might become part of the set.

    Attributes:
        path: Of the file.
        name: Of the photo in tables and reports: its path from the folder on.
        lat: Degrees, NaN where only its EXIF can tell.
        lon: Likewise.
        heading: Degrees from north, clockwise; NaN where unknown.
        day: "YYYY-MM-DD", or as much of it as is known.
        sequence: That it was taken in, "" where unknown.
        author: "" where unknown.
        licence: "" where unknown.
        is_query: As somebody said; None where nobody did.
    """

    path: Path
    name: str
    lat: float = math.nan
    lon: float = math.nan
    heading: float = math.nan
    day: str = ""
    sequence: str = ""
    author: str = ""
    licence: str = ""
    is_query: bool | None = None


def find_sources(
    images: Path | None,
    table: Path | None = None,
    query_folder: Path | None = None,
    query_column: str = "",
) -> tuple[list[SourcePhoto], Refused]:
    """All photos that a user names, and rows of the CSV that lead to none.

    Args:
        images: Folder, with folders in it; None takes that of the CSV, and its rows alone.
        table: CSV.
        query_folder: Folder whose photos are queries, all others database.
        query_column: Column of the CSV that says so by 1, true, yes or query.

    Raises:
        ValueError: no such folder, the CSV cannot be read, or there is no photo.
    """
    if images is None and table is None:
        raise ValueError("give a folder of photos (--images), a table of them (--csv), or both")
    for folder in (images, query_folder):
        if folder is not None and not folder.is_dir():
            raise ValueError(f"no folder {folder}")
    found: dict[Path, SourcePhoto] = {}
    refused: Refused = {}
    if table is not None:
        found, refused = _of_table(table, images or table.parent, query_column)
    for path in _files(images) if images else []:
        name = path.relative_to(images or path).as_posix()
        found.setdefault(path.resolve(), SourcePhoto(path, name))
    if query_folder is not None:
        found = _with_queries(found, query_folder)
    if not found:
        kinds = ", ".join(EXTENSIONS[1:5])
        raise ValueError(f"no photo ({kinds}) in {images or table}{_first(refused)}")
    return sorted(found.values(), key=lambda photo: photo.name), refused


def _with_queries(found: dict[Path, SourcePhoto], folder: Path) -> dict[Path, SourcePhoto]:
    """All photos, those of a folder as queries; they may be among the others or not."""
    asked = {path.resolve(): path for path in _files(folder)}
    taken = {photo.name for photo in found.values()}
    for key, path in asked.items():
        name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
        photo = SourcePhoto(path, str(path) if name in taken else name)
        found.setdefault(key, photo)
    return {key: replace(photo, is_query=key in asked) for key, photo in found.items()}


def _files(folder: Path) -> list[Path]:
    """Photos under a folder; what begins with a dot is no photo but a program's own file."""
    return [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS[1:]
        and not path.name.startswith(".")
        and path.is_file()
    ]


def _of_table(
    table: Path, images: Path, query_column: str
) -> tuple[dict[Path, SourcePhoto], Refused]:
    rows, bad = _read(table)
    refused = {f"{table.name} row {r.row}: {r.id}": str(r.reason) for r in bad.itertuples()}
    columns = _columns(rows)
    if query_column:
        if query_column not in rows.columns:
            raise ValueError(
                f"{table}: no column {query_column}; found {', '.join(map(str, rows.columns))}"
            )
        columns["is_query"] = rows[query_column]
    columns["author"] = pd.Series(authors_of(rows))
    found: dict[Path, SourcePhoto] = {}
    for row, (key, lat, lon) in enumerate(zip(rows["id"], rows["lat"], rows["lon"], strict=True)):
        path = photo_of(images, key)
        if path is None:
            refused[key] = f"no such photo in {images}"
        elif path.resolve() in found:
            refused[key] = f"the same file as another row: {found[path.resolve()].name}"
        else:
            facts = {name: values.iloc[row] for name, values in columns.items()}
            name = path.relative_to(images).as_posix()
            found[path.resolve()] = SourcePhoto(path, name, lat, lon, **_facts(facts))
    return found, refused


def _facts(values: dict[str, Any]) -> dict[str, Any]:
    """A row's values as attributes of `SourcePhoto`."""
    read = {"heading": heading_of, "captured_at": day_of, "is_query": _is_query}
    named = {name: read.get(name, _text)(value) for name, value in values.items()}
    return {"day" if name == "captured_at" else name: value for name, value in named.items()}


def _is_query(value: Any) -> bool:
    return _text(value).lower() in QUERY_WORDS


def _text(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _columns(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Our name -> the first column that has one of its synonyms."""
    found = {}
    for name, synonyms in SYNONYMS.items():
        by_name = {str(column).strip().lower(): column for column in reversed(rows.columns)}
        known = [by_name[synonym] for synonym in synonyms if synonym in by_name]
        if known:
            found[name] = rows[known[0]]
    return found


def _read(table: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and refused rows; a column of paths does as ids where there are none."""
    names = [name.strip().lower() for name in read_names(table)]
    paths = [name for name in PATH_NAMES if name in names]
    if not paths or any(name in COLUMN_SYNONYMS["id"] for name in names):
        return read_positions(table)
    with TemporaryDirectory() as folder:
        renamed = Path(folder) / table.name
        _rename(table, renamed, names.index(paths[0]))
        try:
            return read_positions(renamed)
        except ValueError as error:
            raise ValueError(str(error).replace(str(renamed), str(table))) from None


def _rename(table: Path, renamed: Path, column: int) -> None:
    """Copy a CSV, one column of its header called "id"."""
    with (
        table.open(newline="", encoding="utf-8-sig") as old,
        renamed.open("w", newline="", encoding="utf-8") as new,
    ):
        header = next(row for row in csv.reader(old) if row)
        header[column] = "id"
        csv.writer(new).writerow(header)
        new.writelines(old)


def _first(refused: Refused) -> str:
    listed = "; ".join(f"{name}: {why}" for name, why in list(refused.items())[:3])
    return f"; {len(refused):,} rows were refused: {listed}" if refused else ""
