"""The list of what to download: ids and URLs from a CSV, and the sizes that Flickr's URLs name.

Such lists come with a header (`IMG_ID,url`) or without one (the id first). Flickr's file names end
in the secret and, for all but the 500 px size, a letter
(https://www.flickr.com/services/api/misc.urls.html).
"""

import csv
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from data.tables import OTHER_SYNONYMS
from partitioning.positions_csv import COLUMN_SYNONYMS

# Sizes over 1024 px and the original have secrets of their own: no letter leads from or to them.
FLICKR_SIZES = "sqtmnwzcb"
_PLAIN_URL = re.compile(r"https?://[a-z0-9][a-z0-9.-]*/")  # most are, and need no parser
_FLICKR_FILE = re.compile(rf"(/\d+_[0-9a-f]+)(?:_[{FLICKR_SIZES}])?(\.\w+)$")


def read_url_list(path: Path) -> Iterator[tuple[str, str]]:
    """Read ids and URLs, row by row; a row that lacks one has "" there, so that it can be reported.

    Raises:
        ValueError: the file is empty, no CSV in UTF-8, or has no column of ids or of URLs.
    """
    rows = read_csv_rows(path)
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{path}: the file is empty; it needs rows of id,url")
    id_at, url_at, has_header = _columns(path, first)
    rows = rows if has_header else itertools.chain([first], rows)
    is_empty = True
    for row in rows:
        is_empty = False
        yield _field(row, id_at), _field(row, url_at)
    if is_empty:
        raise ValueError(f"{path}: a header but no rows")


def read_csv_rows(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV that are not blank, fields stripped.

    Raises:
        ValueError: it is no CSV in UTF-8.
    """
    try:
        # utf-8-sig: spreadsheet programs put a byte order mark before the first name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.reader(file):
                if any(row):
                    yield [field.strip() for field in row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV in UTF-8: {error}") from None


def _field(row: list[str], at: int) -> str:
    return row[at] if at < len(row) else ""


def _columns(path: Path, first_row: list[str]) -> tuple[int, int, bool]:
    """Places of id and URL, and whether the first row is a header."""
    if any(is_web_url(field) for field in first_row):
        if len(first_row) > 1 and is_web_url(first_row[1]):
            return 0, 1, False
        raise ValueError(f"{path}: without a header its columns must be id,url; add a header")
    found = [name.lower() for name in first_row]
    ids = [i for i, name in enumerate(found) if name in COLUMN_SYNONYMS["id"]]
    urls = [i for i, name in enumerate(found) if name in OTHER_SYNONYMS["url"]]
    if not ids or not urls:
        accepted = ", ".join((*COLUMN_SYNONYMS["id"], *OTHER_SYNONYMS["url"]))
        raise ValueError(
            f"{path}: no column for {'url' if ids else 'id'}; found {', '.join(first_row)}; "
            f"accepted (in any case) {accepted}"
        )
    return ids[0], urls[0], True


def is_web_url(text: str) -> bool:
    """Whether a text is an http or https URL with a host."""
    if _PLAIN_URL.match(text):
        return True
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets that hold no address
        return False


def with_size(url: str, letter: str) -> str:
    """Ask Flickr for another size: `..._b.jpg` or `....jpg` becomes `..._z.jpg`.

    Args:
        url: Any URL; one that is not named like a Flickr photo stays as it is, and so does one of
            an original (`_o`), whose secret is good for itself alone.
        letter: One of `FLICKR_SIZES`; "" leaves every URL as it stands.
    """
    return _FLICKR_FILE.sub(rf"\1_{letter}\2", url) if letter else url
