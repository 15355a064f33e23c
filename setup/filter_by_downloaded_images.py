"""Take the rows out of a table whose photo is not there: of five million URLs many are dead.

    python -m setup.filter_by_downloaded_images --csv mp16_places365.csv --images DIR --output F

`--images` is a folder of photos, a folder of shards, or the report.csv or ledger.sqlite of
`setup.download_images`. Rows that stay keep their bytes, order and columns; the others are listed
in F.missing.csv with their reason. The table is read row by row, so its size does not matter; it
may have a header or be a plain list of id,url.
"""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import Progress

from partitioning.atomic_file import atomic_path
from partitioning.positions_csv import COLUMN_SYNONYMS
from setup.downloading.url_list import is_web_url
from setup.photos_there import PhotosThere

MAX_ROW_BYTES = 2**22  # a quote that is never closed makes one row of all that follows


@dataclass
class Filtered:
    """What became of the rows.

    Attributes:
        listed: the file that tells which rows are gone.
        kept: how many stay.
        gone: how many do not, by reason.
    """

    listed: Path
    kept: int = 0
    gone: Counter[str] = field(default_factory=Counter)


def filter_table(table: Path, images: Path, output: Path) -> Filtered:
    """Write the rows of `table` whose photo is in `images` to `output`.

    Raises:
        ValueError: the table is empty, has no column of ids or a quote that is never closed,
            `images` is nothing that holds photos, no row would stay, or `output` is the table.
    """
    if output.exists() and output.samefile(table):
        raise ValueError(f"{output} is the table itself; give another name to write to")
    there = PhotosThere.find(images)
    filtered = Filtered(output.with_name(output.name + ".missing.csv"))
    with ExitStack() as stack:
        file = stack.enter_context(table.open("rb"))
        kept = stack.enter_context(atomic_path(output))
        listed = stack.enter_context(atomic_path(filtered.listed))
        new = stack.enter_context(kept.open("wb"))
        gone = csv.writer(stack.enter_context(listed.open("w", newline="", encoding="utf-8")))
        gone.writerow(("row", "id", "reason"))
        for row, photo, data in _rows(table, file):
            reason = _reason(photo, there) if row else ""
            if reason:
                filtered.gone[reason] += 1
                gone.writerow((row, photo, reason))
            else:
                filtered.kept += row > 0
                new.write(data)
        if not filtered.kept:
            raise ValueError(
                f"none of the photos of {table} is in {images}; photos must be named by their id"
            )
    return filtered


def _reason(photo: str, there: PhotosThere) -> str:
    """Why a row does not stay; "" where it does."""
    if not photo:
        return "missing id"
    return "" if photo in there else "no such photo"


def _rows(table: Path, file: BinaryIO) -> Iterator[tuple[int, str, bytes]]:
    """Number, id and bytes of each row; the header, where there is one, is row 0."""
    at, row = 0, 0
    for data in _with_progress(_whole_rows(table, file), table):
        if row == 0:
            at, row = _id_column(table, _fields(data))
            if row == 0:
                yield 0, "", data
                row = 1
                continue
        yield row, _field(data, at), data
        row += 1
    if row == 0:
        raise ValueError(f"{table}: the file is empty; it needs rows")


def _whole_rows(table: Path, file: BinaryIO) -> Iterator[bytes]:
    """Rows as they stand; one of them has several lines where they are in quotes."""
    waiting = b""
    for line in file:
        if not waiting and not line.strip():
            continue
        waiting += line
        if waiting.count(b'"') % 2 == 0:
            yield waiting
            waiting = b""
        elif len(waiting) > MAX_ROW_BYTES:
            break
    if waiting:
        raise ValueError(f"{table}: a quote is not closed in the row {_fields(waiting)[:1]}")


def _with_progress(rows: Iterator[bytes], table: Path) -> Iterator[bytes]:
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(table.name, total=table.stat().st_size)
        done = 0
        for number, data in enumerate(rows):
            yield data
            done += len(data)
            if number % 4096 == 0:
                progress.update(task, completed=done)
        progress.update(task, completed=done)


def _id_column(table: Path, first: list[str]) -> tuple[int, int]:
    """Place of the ids, and the number of the first row: 0 for a header, 1 without one."""
    names = [name.strip().lower() for name in first]
    places = [i for i, name in enumerate(names) if name in COLUMN_SYNONYMS["id"]]
    if places:
        return places[0], 0
    if len(first) > 1 and is_web_url(first[1].strip()):
        return 0, 1
    raise ValueError(
        f"{table}: no column for id; found {', '.join(first)}; accepted (in any case) "
        f"{', '.join(COLUMN_SYNONYMS['id'])}, or rows of id,url without a header"
    )


def _field(data: bytes, at: int) -> str:
    if b'"' in data:
        fields = _fields(data)
        return fields[at].strip() if at < len(fields) else ""
    parts = data.split(b",", at + 1)
    return parts[at].decode(errors="replace").strip() if at < len(parts) else ""


def _fields(data: bytes) -> list[str]:
    return next(csv.reader([data.decode("utf-8-sig", errors="replace")]), [])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.filter_by_downloaded_images",
        description=(__doc__ or "").splitlines()[0],
    )
    add = parser.add_argument
    add("--csv", type=Path, required=True, help="table with a column of ids, or a list of id,url")
    add(
        "--images",
        type=Path,
        required=True,
        help="folder of photos or shards, or a download's report.csv",
    )
    add("--output", type=Path, required=True, help="where the rows that stay go; not the table")
    options = parser.parse_args(arguments)
    try:
        filtered = filter_table(options.csv, options.images, options.output)
    except (ValueError, OSError, csv.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{filtered.kept:,} rows kept in {options.output}")
    for reason, count in filtered.gone.items():
        print(f"  {count:,} rows left out: {reason}")
    if filtered.gone:
        print(f"each of them is in {filtered.listed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
