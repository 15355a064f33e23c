"""The photo table of a gallery: who took which photo, where, under which licence, in SQLite.

One table, one row per descriptor, numbered like the descriptors. A gallery may come from anywhere,
so the file is opened read-only (https://www.sqlite.org/uri.html) and its schema must be, word for
word, the one written here: no view, trigger or function of a stranger is ever run
(https://www.sqlite.org/security.html).
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

FIELDS = ("key", "path", "author", "licence", "url", "heading", "captured_at")
NUMBERS = ("row", "lat", "lon", "heading")
SCHEMA = """CREATE TABLE photos (
    row INTEGER PRIMARY KEY,
    lat REAL NOT NULL,
    lon REAL NOT NULL,
    key TEXT NOT NULL UNIQUE,
    path TEXT,
    author TEXT,
    licence TEXT,
    url TEXT,
    heading REAL,
    captured_at TEXT,
    more TEXT
) STRICT"""
CATALOGUE = [
    ("index", "sqlite_autoindex_photos_1", "photos", None),
    ("table", "photos", "photos", SCHEMA),
]
MAX_VALUE_BYTES = 1 << 20


def write_photos(
    path: Path | str,
    photos: Sequence[Mapping[str, Any]],
    positions: NDArray[np.float64],
    order: NDArray[np.int64],
) -> sqlite3.Connection:
    """Write a new photo table at `path` (":memory:" for none) and hand back its connection.

    Args:
        path: of a file that does not exist yet.
        photos: one mapping per photo, in any order; `key` is required and unique, the other FIELDS
            may be missing, and whatever else it holds is kept as JSON and given back.
        positions: latitudes and longitudes in degrees, (2, N), in the order of `photos`.
        order: order[row] is the photo that becomes gallery row `row`, (N,).

    Raises:
        ValueError: a photo without a key, a key twice, or a value of a type the table cannot hold.
    """
    # The file is made whole or not at all by its caller, who syncs it: no journal is needed.
    table = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    table.execute("PRAGMA journal_mode = OFF")
    table.execute("PRAGMA synchronous = OFF")
    table.execute(SCHEMA)
    places = ", ".join("?" * (len(FIELDS) + 4))
    try:
        table.execute("BEGIN")
        table.executemany(
            f"INSERT INTO photos (row, lat, lon, {', '.join(FIELDS)}, more) VALUES ({places})",
            _records(photos, positions, order),
        )
        table.execute("COMMIT")
    except (sqlite3.Error, TypeError) as error:
        table.close()
        raise ValueError(f"the photo table cannot hold these photos: {error}") from error
    except ValueError:
        table.close()
        raise
    return table


def open_photos(path: Path, count: int) -> sqlite3.Connection:
    """Open a photo table of `count` rows read-only.

    Raises:
        ValueError: not an SQLite file, another schema, or another number of rows.
    """
    try:
        table = sqlite3.connect(
            f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        table.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        table.execute("PRAGMA trusted_schema = OFF")
        found = table.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type")
        if found.fetchall() != CATALOGUE:
            raise ValueError(f"{path} is not a photo table of a Groundfix gallery")
        # The ends of the primary key are two look-ups; counting would read the whole file.
        ends = table.execute("SELECT min(row), (SELECT max(row) FROM photos) FROM photos")
        if ends.fetchone() != (0, count - 1):
            raise ValueError(f"{path} does not hold the {count} photos of its gallery")
    except sqlite3.Error as error:
        raise ValueError(f"{path} is not a readable photo table: {error}") from error
    return table


def read_photos(table: sqlite3.Connection, rows: Iterable[int]) -> list[dict[str, Any]]:
    """The photos of these rows, in their order: row, lat, lon, FIELDS and what else was kept.

    Raises:
        ValueError: a row that the table lacks or cannot read.
    """
    photos = []
    for row in rows:
        try:
            cursor = table.execute("SELECT * FROM photos WHERE row = ?", (int(row),))
            values = cursor.fetchone()
            if values is None:
                raise ValueError("it is not there")
            photo = dict(zip((column[0] for column in cursor.description), values, strict=True))
            more = json.loads(photo.pop("more") or "{}")
            _check_types(photo)
            photos.append({**more, **photo})
        except (sqlite3.Error, ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"row {row} of the photo table is damaged: {error}") from error
    return photos


def _check_types(photo: Mapping[str, Any]) -> None:
    """Raise ValueError for a value of another type than its column's.

    The file is a stranger's, and SQLite believes what it says of itself.
    """
    for name, value in photo.items():
        kind = (int, float) if name in NUMBERS else str
        is_gap = value is None and name not in ("key", "lat", "lon")
        if not is_gap and not isinstance(value, kind):
            raise ValueError(f"its {name} is a {type(value).__name__}")


def _records(
    photos: Sequence[Mapping[str, Any]],
    positions: NDArray[np.float64],
    order: NDArray[np.int64],
) -> Iterator[tuple[Any, ...]]:
    for row, source in enumerate(order.tolist()):
        photo = photos[source]
        if not photo.get("key"):
            raise ValueError(f"photo {source} has no key")
        more = {name: photo[name] for name in photo if name not in (*FIELDS, "row", "lat", "lon")}
        fields = (photo.get(name) for name in FIELDS)
        kept = json.dumps(more, allow_nan=False) if more else None
        yield row, float(positions[0, source]), float(positions[1, source]), *fields, kept
