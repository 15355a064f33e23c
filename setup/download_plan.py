"""Which rows of a URL list must be asked for, and what became of the others already."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from data.images import ImageError, image_size, read_bytes
from data.sample import key_problem, safe_key
from setup.download_report import Row
from setup.url_list import is_web_url, with_size


class Job(NamedTuple):
    """A photo to ask for, and its row of the list."""

    at: int
    key: str
    url: str


def plan(
    rows: list[tuple[str, str]],
    size_suffix: str,
    earlier: dict[str, Row],
    output: Path,
    there: set[str],
    results: dict[int, Row],
) -> Iterator[Job]:
    """Yield what must be asked for; every other row gets its result.

    Args:
        rows: (id, url).
        size_suffix: as `setup.url_list.with_size`'s letter.
        earlier: rows of the last report, by key.
        output: folder of the photos.
        there: keys of the photos in it that may be kept.
        results: to be filled; keys are places in `rows`.
    """
    taken: set[str] = set()
    for at, (image_id, listed_url) in enumerate(rows):
        key, url = safe_key(image_id), with_size(listed_url, size_suffix)
        before = earlier.get(key)
        if problem := _row_problem(key, url, taken):
            results[at] = Row(key, url, error=problem)
            continue
        taken.add(key)
        saved = _saved(output, key, url, before) if key in there else None
        if saved:
            results[at] = saved
        elif before and before.is_gone and before.url == url:
            results[at] = before
        else:
            yield Job(at, key, url)


def _row_problem(key: str, url: str, taken: set[str]) -> str:
    if problem := key_problem(key):
        return f"bad id: {problem}"
    if not is_web_url(url):
        return "bad url: not http or https" if url else "bad url: none"
    return "duplicate id" if key in taken else ""


def _saved(output: Path, key: str, url: str, before: Row | None) -> Row | None:
    """The row of a photo that is there; None where the file is no photo."""
    if before and not before.error:
        return before
    try:
        data = read_bytes(output / f"{key}.jpg")
        height, width = image_size(data, key)
    except ImageError:
        return None
    return Row(key, url, 200, "", width, height, hashlib.sha256(data).hexdigest())
