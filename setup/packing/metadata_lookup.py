"""What a CSV says of each photo, to be looked up by its id from many processes: an SQLite file."""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from partitioning.atomic_file import atomic_path
from setup.packing.metadata_csv import read_metadata

SCHEMA = "CREATE TABLE photos (id TEXT PRIMARY KEY, json TEXT, problem TEXT) WITHOUT ROWID"
# The first row of an id that can be used keeps it.
INSERT = """INSERT INTO photos VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE
SET json = excluded.json, problem = '' WHERE photos.json = '' AND excluded.json != ''"""


def write_lookup(csv: Path, path: Path) -> Counter[str]:
    """Write the file, atomically.

    Returns:
        How many values could not be read and are left out, by column.

    Raises:
        ValueError: the table cannot be used.
    """
    unreadable: Counter[str] = Counter()
    with atomic_path(path) as temporary:
        temporary.unlink(missing_ok=True)
        with closing(sqlite3.connect(temporary)) as lookup:
            # A file that was not finished is thrown away, so nothing need survive a crash.
            lookup.execute("PRAGMA journal_mode = OFF")
            lookup.execute("PRAGMA synchronous = OFF")
            lookup.execute(SCHEMA)
            lookup.executemany(INSERT, read_metadata(csv, unreadable))
            lookup.commit()
    return unreadable


class MetadataLookup:
    """Looks photos up in such a file."""

    def __init__(self, path: Path) -> None:
        self._lookup = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

    def find(self, photo: str) -> dict[str, Any] | None:
        """What the CSV says of a photo; None where it has no row of it.

        Raises:
            ValueError: its row cannot be used; says why.
        """
        found = self._lookup.execute("SELECT json, problem FROM photos WHERE id = ?", (photo,))
        row = found.fetchone()
        if row is None:
            return None
        if row[1]:
            raise ValueError(f"its row of the table: {row[1]}")
        return json.loads(row[0])
