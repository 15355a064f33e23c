"""What became of each row of a URL list: `report.csv`, one row each, in the order of the list."""

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from partitioning.atomic_file import atomic_path

GONE = (404, 410)


class Row(NamedTuple):
    """One row.

    Attributes:
        key: the photo is KEY.jpg.
        url: that was asked.
        status: of HTTP; 0 where no answer came or none was asked for.
        error: the cause, then what else is known after a colon; "" for a photo that is there.
        width, height: of the photo as it was saved, pixels.
        sha256: of the file as it was saved.
    """

    key: str
    url: str
    status: int = 0
    error: str = ""
    width: int = 0
    height: int = 0
    sha256: str = ""

    @property
    def cause(self) -> str:
        """The error without its particulars."""
        return self.error.partition(":")[0]

    @property
    def is_gone(self) -> bool:
        """Whether the server says that the photo was there once or never, and is not now."""
        return bool(self.error) and self.status in GONE


@dataclass(frozen=True)
class Report:
    """What came of a download.

    Attributes:
        path: of the report, a CSV.
        photos: how many photos are there.
        kept: how many of them were there before.
        causes: how many rows of the report failed, by cause.
        unasked: how many of the list an interruption left out.
        removed: how many photos this run removed, because they are not to be had any more.
        unchecked: how many photos a refresh got no answer for; they are kept.
        lost: how many photos were not where the ledger had them; they were due again.
    """

    path: Path
    photos: int
    kept: int
    causes: Counter[str]
    unasked: int = 0
    removed: int = 0
    unchecked: int = 0
    lost: int = 0

    @property
    def rows(self) -> list[Row]:
        """All rows: the list's in its order, less those not asked for yet, then earlier lists'.

        Read from the file, as it is now.
        """
        return read_rows(self.path)

    def failures(self) -> Counter[str]:
        """How many rows failed for each cause."""
        return self.causes


def write_rows(rows: Iterable[Row], path: Path) -> Counter[str]:
    """Write a report, atomically, row by row; returns how many rows have each cause."""
    counts: Counter[str] = Counter()
    with atomic_path(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        for row in rows:
            counts[row.cause] += 1
            writer.writerow([value or "" for value in row])
    return counts


def read_rows(path: Path) -> list[Row]:
    """Read the rows of an earlier report; none where there is no such file.

    Raises:
        ValueError: it is not such a report.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_row(record) for record in csv.DictReader(file, restval="")]
    except (KeyError, ValueError, csv.Error) as error:
        raise ValueError(
            f"{path}: not a report of this tool ({error!r}); remove it: photos that are there "
            "are kept"
        ) from error


def by_key(rows: Iterable[Row]) -> dict[str, Row]:
    """The row of each key that was asked for; a photo's row before any other."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.key not in found or not row.error:
            found[row.key] = row
    return found


def _row(record: dict[str, str]) -> Row:
    return Row(
        record["key"],
        record["url"],
        int(record["status"] or 0),
        record["error"],
        int(record["width"] or 0),
        int(record["height"] or 0),
        record["sha256"],
    )
