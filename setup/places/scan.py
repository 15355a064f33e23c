"""Look at every photo once: can it be read, what does its EXIF say, has its twin been seen?

Decoding thousands of photos takes minutes, so what was found is kept in a file of JSON lines, one a
photo, and a run that was stopped goes on from there. A photo that has changed since (length or
time) is looked at again.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from data.images import ImageError, decode_rgb, read_bytes
from data.photos.exif import exif_facts
from partitioning.geodesy import position_problems
from setup.places.sources import Refused, SourcePhoto

NO_GPS = "no position: not in the table, and no GPS in its EXIF"
NULL_ISLAND = "position 0, 0: a receiver without a fix"
AHEAD = 64  # photos that wait for a thread


@dataclass(frozen=True)
class Seen:
    """What one file holds.

    Attributes:
        stamp: Its length and time of change, by which it is known again.
        sha256: Of its bytes.
        lat, lon, heading: Of its EXIF, degrees, NaN where missing.
        day: Likewise, "" where missing.
        problem: Why it cannot be read, "" where it can.
    """

    stamp: str
    sha256: str = ""
    lat: float = math.nan
    lon: float = math.nan
    heading: float = math.nan
    day: str = ""
    problem: str = ""


def scan(
    sources: Sequence[SourcePhoto], record: Path, workers: int = 2
) -> tuple[list[SourcePhoto], list[str], Refused]:
    """Complete photos by their EXIF and refuse what cannot be used.

    Args:
        sources: The photos; what is said of them already stands.
        record: File of what was found, read first and added to.
        workers: Threads.

    Returns:
        The usable photos, the SHA-256 of each, and name -> reason of the others: unreadable, no
        position, 0, 0, swapped or out of range, or the same bytes as another photo.
    """
    seen = _look(sources, record, workers)
    usable: dict[str, SourcePhoto] = {}
    refused: Refused = {}
    for source in sources:
        file = seen[source.name]
        photo = _completed(source, file)
        problem = file.problem or _position_problem(photo)
        if problem:
            refused[photo.name] = problem
        elif file.sha256 in usable:
            refused[photo.name] = f"the same bytes as another: {usable[file.sha256].name}"
        else:
            usable[file.sha256] = photo
    return list(usable.values()), list(usable), refused


def _completed(source: SourcePhoto, file: Seen) -> SourcePhoto:
    is_placed = not (math.isnan(source.lat) and math.isnan(source.lon))
    lat, lon = (source.lat, source.lon) if is_placed else (file.lat, file.lon)
    heading = file.heading if math.isnan(source.heading) else source.heading
    return replace(source, lat=lat, lon=lon, heading=heading, day=source.day or file.day)


def _position_problem(photo: SourcePhoto) -> str:
    if math.isnan(photo.lat) and math.isnan(photo.lon):
        return NO_GPS
    if problem := str(position_problems(photo.lat, photo.lon)[0]):
        return f"position ({photo.lat:g}, {photo.lon:g}): {problem}"
    return NULL_ISLAND if photo.lat == 0 and photo.lon == 0 else ""


def _look(sources: Sequence[SourcePhoto], record: Path, workers: int) -> dict[str, Seen]:
    known = _read_record(record)
    seen, left = {}, []
    for source in sources:
        file = known.get(source.name)
        if file is not None and file.stamp == _stamp(source.path):
            seen[source.name] = file
        else:
            left.append(source)
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.open("a", encoding="utf-8") as lines:
        looked = _in_threads(left, max(1, workers))
        console = Console(stderr=True)
        for source, file in track(looked, "reading photos", total=len(left), console=console):
            seen[source.name] = file
            lines.write(json.dumps({"name": source.name, **asdict(file)}) + "\n")
    return seen


def _in_threads(sources: Iterable[SourcePhoto], workers: int) -> Iterator[tuple[SourcePhoto, Seen]]:
    waiting: list[tuple[SourcePhoto, Future[Seen]]] = []
    left = iter(sources)
    with ThreadPoolExecutor(workers) as pool:
        while True:
            wanted = max(0, AHEAD - len(waiting))
            waiting += [(source, pool.submit(_see, source.path)) for source in islice(left, wanted)]
            if not waiting:
                return
            source, file = waiting.pop(0)
            yield source, file.result()


def _see(path: Path) -> Seen:
    stamp = _stamp(path)
    try:
        photo = read_bytes(path)
        decode_rgb(photo, path.name, min_side=1)  # a header does not tell whether the rest is there
        facts = exif_facts(photo, path.name)
    except ImageError as error:
        return Seen(stamp, problem=f"unreadable: {error}")
    sha256 = hashlib.sha256(photo).hexdigest()
    return Seen(stamp, sha256, facts.lat, facts.lon, facts.heading, facts.day)


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def _read_record(record: Path) -> dict[str, Seen]:
    """What an earlier run found; a last line that was cut is as good as none."""
    known: dict[str, Seen] = {}
    if not record.is_file():
        return known
    text = record.read_text("utf-8", errors="replace")
    for line in text.splitlines():
        try:
            values: dict[str, Any] = json.loads(line)
            name = str(values.pop("name"))
            known[name] = Seen(**values)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    if text and not text.endswith("\n"):
        record.write_text(text + "\n", "utf-8")
    return known
