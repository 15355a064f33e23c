"""Night copies of photos as files: SYNTHETIC, marked so, made by data/night.py.

What is drawn for a photo depends on the seed and its file's name only, so that a run which is gone
on with, or a photo which moved to another folder, gives the same bytes. What was written stays
until the photo that it was made of changes. By hand: `python -m setup.make_night`.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image

from data.images import ImageError, Pixels, read_rgb
from data.night import NIGHTS, Night, Range
from data.photos.journal import PhotoJournal, stamp_of
from partitioning.atomic_file import atomic_path

QUALITY = 92
DESCRIPTION_TAG = 0x010E  # EXIF ImageDescription
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
READ_AHEAD = 8  # photos
Writing = Callable[[Path], AbstractContextManager[Path]]  # as atomic_path


@dataclass(frozen=True)
class NightMaker:
    """Turns photos night.

    Attributes:
        kind: One of `data.night.NIGHTS`.
        seed: Of all that is drawn.
        settings: What differs from the kind's defaults: name -> least and greatest value.

    Raises:
        ValueError: an unknown kind or setting, or one that is out of range.
    """

    kind: str = "physical"
    seed: int = 0
    settings: Mapping[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in NIGHTS:
            raise ValueError(f"a night is one of {', '.join(NIGHTS)}, not {self.kind!r}")
        self.night()

    def night(self) -> Night:
        """The transform."""
        default = cast(Any, NIGHTS[self.kind])
        known = [one.name for one in fields(default)]
        for name, bounds in self.settings.items():
            if name not in known:
                raise ValueError(f"{self.kind} night has no {name!r}; it has {', '.join(known)}")
            if not all(math.isfinite(bound) for bound in bounds):
                raise ValueError(f"{name} must be finite, got {bounds}")
        return cast(Night, replace(default, **self.settings))

    @property
    def mark(self) -> str:
        """What the file of a copy says of itself."""
        changed = "".join(f", {name} {low:g}..{high:g}" for name, (low, high) in self._changed())
        return f"SYNTHETIC night: a day photo darkened, {self.kind}, seed {self.seed}{changed}"

    def plain(self) -> dict[str, Any]:
        """As a dict for JSON."""
        settings = {name: list(bounds) for name, bounds in self._changed()}
        return {"night": self.kind, "seed": self.seed, "settings": settings}

    def turned(self, rgb: Pixels, name: str) -> Pixels:
        """A photo uint8 `(H, W, 3)` by night; `name`: of its file."""
        drawn = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(drawn[:8], "big") >> 1)
        photo = torch.from_numpy(rgb).permute(2, 0, 1)
        return self.night()(photo, generator).permute(1, 2, 0).contiguous().numpy()

    def write(self, source: Path, place: Path, writing: Writing = atomic_path) -> None:
        """Write a photo's night copy in the format that the name of `place` ends with.

        Raises:
            ImageError: the photo cannot be read.
            OSError: the copy cannot be written.
        """
        picture = Image.fromarray(self.turned(read_rgb(source), source.name))
        exif = Image.Exif()
        exif[DESCRIPTION_TAG] = self.mark
        with writing(place) as temporary:
            picture.save(temporary, FORMATS[place.suffix.lower()], quality=QUALITY, exif=exif)

    def _changed(self) -> list[tuple[str, Range]]:
        return sorted(self.settings.items())


def write_nights(
    photos: Mapping[str, tuple[Path, Path]],
    maker: NightMaker,
    journal: PhotoJournal,
    workers: int = 2,
    writing: Writing = atomic_path,
) -> Iterator[tuple[str, str]]:
    """Write night copies; those whose photo has not changed since stay.

    Args:
        photos: Name in the journal -> photo, and where its copy goes.
        maker: Of the nights.
        journal: Open; notes each photo's stamp.
        workers: Threads.
        writing: What writes; threads call it.

    Yields:
        Each photo's name, and why it cannot be read and has no copy, or "".

    Raises:
        OSError: a copy cannot be written; those before it are whole.
    """

    def work(name: str) -> tuple[list[int], str]:
        source, place = photos[name]
        stamp = stamp_of(source)
        if not journal.current(name, stamp) or not place.is_file():
            try:
                maker.write(source, place, writing)
            except ImageError as error:
                return stamp, str(error).removeprefix(f"{source}: ")
        return stamp, ""

    for name, (stamp, why) in _in_threads(work, list(photos), workers):
        if why and name in journal.facts:
            photos[name][1].unlink(missing_ok=True)  # of what the photo was before
            journal.forget(name)
        elif not why and not journal.current(name, stamp):
            journal.note(name, stamp=stamp)
        yield name, why


def _in_threads(
    work: Callable[[str], Any], names: Sequence[str], workers: int
) -> Iterator[tuple[str, Any]]:
    """Each name and its result, in order; an error or Ctrl-C leaves undone what was not begun."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting: list[tuple[str, Future]] = []
        try:
            for name in names:
                waiting.append((name, pool.submit(work, name)))
                if len(waiting) > READ_AHEAD:
                    first, future = waiting.pop(0)
                    yield first, future.result()
            while waiting:
                first, future = waiting.pop(0)
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)
