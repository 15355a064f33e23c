"""A CSV file as columns of text, and the rows that are none: too short, or too long.

Readers that guess pad a short row with gaps, so a line that was cut in the middle of a number
becomes another position. Here a row has as many fields as the header has names, or is told of.
Read by Arrow (https://arrow.apache.org/docs/python/csv.html), in blocks: nothing is guessed from
the first of them.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

MAX_ROW_BYTES = 2**22  # a quote that is never closed makes one row of all that follows


class Malformed(NamedTuple):
    """A row with another number of fields than the header.

    Attributes:
        row: its number; 1 is the first under the header, blank lines are none.
        text: the row as it stands.
        reason: "short row" or "long row".
    """

    row: int
    text: str
    reason: str

    def field(self, number: int) -> str:
        """One of its fields, "" where it has none of that number."""
        try:
            fields = next(csv.reader([self.text]), [])
        except csv.Error:
            return ""
        return fields[number].strip() if number < len(fields) else ""


def read_columns(path: Path) -> tuple[pa.Table, list[Malformed]]:
    """Read a CSV in UTF-8, with or without a byte order mark, with any line ends.

    Returns:
        A table of text, its columns named by `read_names`, and the rows that are left out of it.

    Raises:
        ValueError: the file is empty, is no CSV in UTF-8, has no rows, or a quote in it swallows
            rows.
    """
    names = read_names(path)
    malformed: list[Malformed] = []
    try:
        table = _read(path, len(names), malformed)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV in UTF-8, or a quote is not closed: {error}") from None
    if not len(table) and not malformed:
        raise ValueError(f"{path}: a header but no rows")
    if not len(table) and all(row.reason == "long row" for row in malformed):
        raise ValueError(f"{path}: the rows have more fields than the header names")
    _check_quotes(path, table, malformed)
    return table.rename_columns(names), malformed


def read_names(path: Path) -> list[str]:
    """The names in a CSV's header, each once: a second `url` is "url.1", no name "Unnamed: 0".

    Raises:
        ValueError: the file is empty, or its first line is no CSV in UTF-8.
    """
    names: list[str] = []
    header = [name.strip() or f"Unnamed: {i}" for i, name in enumerate(_header(path))]
    for i, name in enumerate(header):
        own, count = name, header[:i].count(name)
        while count and (own == name or own in header or own in names):
            own, count = f"{name}.{count}", count + 1
        names.append(own)
    return names


def _header(path: Path) -> list[str]:
    try:
        # utf-8-sig: spreadsheet programs put a byte order mark before the first column's name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next((row for row in csv.reader(file) if row), None)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV in UTF-8: {error}") from None
    if header is None:
        raise ValueError(f"{path}: the file is empty; it needs a header and rows")
    return header


def _read(path: Path, width: int, malformed: list[Malformed]) -> pa.Table:
    def leave_out(row: pyarrow.csv.InvalidRow) -> str:
        # Arrow counts the header as row 1.
        reason = "short row" if row.actual_columns < row.expected_columns else "long row"
        malformed.append(Malformed(row.number - 1, row.text, reason))
        return "skip"

    # By number, not by name, which may be there twice; the header is then the first row.
    return pyarrow.csv.read_csv(
        path,
        pyarrow.csv.ReadOptions(
            use_threads=False, block_size=MAX_ROW_BYTES, autogenerate_column_names=True
        ),
        pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=leave_out),
        pyarrow.csv.ConvertOptions(column_types={f"f{i}": pa.string() for i in range(width)}),
    ).slice(1)


def _check_quotes(path: Path, table: pa.Table, malformed: list[Malformed]) -> None:
    """Refuse a file where a field holds what looks like rows: all of them would be lost."""
    many_lines = [
        text
        for column in table.columns
        for text in column.filter(pc.match_substring(column, "\n")).to_pylist()
    ]
    many_lines += [row.text for row in malformed]
    for text in many_lines:
        if any(line.count(",") >= table.num_columns - 1 for line in text.split("\n")[1:]):
            raise ValueError(
                f"{path}: the field that begins {text[:60]!r} swallows rows; close its quote"
            )
