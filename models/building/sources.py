"""How much of a photo is buildings: by a segmentation network, by its stored maps, by a regressor.

Each of them takes files and says of every one its share, or why there is none; nothing is left out.

Which classes are buildings: ADE20K's building, house, skyscraper and tower, Cityscapes' building.
Not "wall": ADE20K's walls are those of rooms, so that an indoor photo would pass for a street, and
Cityscapes' stand alone beside the road. Windows and doors neither: seen from the street they lie in
what is labelled building, indoors they do not. `--classes` chooses others.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from data.images import ImageError, Pixels, read_rgb
from data.seg_maps.stored_maps import StoredMaps
from models.segmentation.drawn_maps import drawn_maps
from models.segmentation.named_classes import class_numbers
from models.segmentation.segmenter import Segmenter

BUILDING = ("building", "edifice", "house", "skyscraper", "tower")
MIN_SIDE = 512  # px that a network sees of a photo's short side at most; a larger one need not be


class Measured(NamedTuple):
    """The share of one photo.

    Attributes:
        path: Of the photo.
        share: Of its pixels that show buildings, 0 to 1; None where it cannot be told.
        error: Why not.
    """

    path: Path
    share: float | None
    error: str = ""


class ShareSource(Protocol):
    """Something that tells shares.

    Attributes:
        source: What it is, for records.
    """

    source: str

    def measure(self, paths: Sequence[Path]) -> Iterator[Measured]:
        """The share of each photo, in order."""
        ...


def building_share(seg: Pixels, numbers: Sequence[int]) -> float:
    """The share of a map's pixels that have one of some classes.

    Raises:
        ValueError: the map has no pixel.
    """
    if not seg.size:
        raise ValueError("a map without pixels has no share of buildings")
    return float(np.isin(seg, numbers).mean())


def building_classes(names: Sequence[str], wanted: Sequence[str] = ()) -> list[int]:
    """Numbers of the classes that are buildings, or of those wanted by name.

    Raises:
        ValueError: the table has none of them.
    """
    return class_numbers(names, wanted or BUILDING, is_all_needed=bool(wanted))


class SegmenterShares:
    """By the maps that a network draws.

    Args:
        segmenter: The network.
        classes: Names of the classes that count; none takes `BUILDING`.
        batch: Photos that go through it at a time.
        workers: Threads that decode photos.
    """

    def __init__(
        self, segmenter: Segmenter, classes: Sequence[str] = (), batch: int = 8, workers: int = 2
    ) -> None:
        self.segmenter, self.batch, self.workers = segmenter, batch, workers
        self.numbers = building_classes(segmenter.classes.names, classes)
        self.source = f"{segmenter.classes.source}, classes {self.numbers}"

    def measure(self, paths: Sequence[Path]) -> Iterator[Measured]:
        """The share of each photo, in order."""
        with ThreadPoolExecutor(max(self.workers, 1)) as pool:
            for part in _parts(paths, self.batch):
                yield from self._of(part, list(pool.map(_read, part)))

    def _of(self, paths: list[Path], photos: list[Pixels | ImageError]) -> Iterator[Measured]:
        readable = [photo for photo in photos if not isinstance(photo, ImageError)]
        maps = iter(drawn_maps(self.segmenter, readable, self.batch))
        for path, photo in zip(paths, photos, strict=True):
            found = photo if isinstance(photo, ImageError) else next(maps)
            if isinstance(found, ValueError):
                yield Measured(path, None, str(found))
            else:
                yield Measured(path, building_share(found, self.numbers))


class MapShares:
    """By maps that were drawn before.

    Args:
        maps: The folder.
        classes: As in `SegmenterShares`.
    """

    def __init__(self, maps: StoredMaps, classes: Sequence[str] = ()) -> None:
        self.maps, self.numbers = maps, building_classes(maps.classes.names, classes)
        self.source = f"maps by {maps.classes.source}, classes {self.numbers}"

    def measure(self, paths: Sequence[Path]) -> Iterator[Measured]:
        """The share of each photo, in order; the photos themselves are not read."""
        for path in paths:
            try:
                yield Measured(path, building_share(self.maps.of(path), self.numbers))
            except ImageError as error:
                yield Measured(path, None, str(error))


def _read(path: Path) -> Pixels | ImageError:
    try:
        return read_rgb(path, min_side=MIN_SIDE)
    except ImageError as error:
        return error


def _parts(paths: Iterable[Path], size: int) -> Iterator[list[Path]]:
    rest = iter(paths)
    while part := list(islice(rest, size)):
        yield part
