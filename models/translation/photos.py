"""The photos of one side, day or night, as random squares: a function of seed and step alone.

Every photo comes once an epoch, in an order of that epoch. So a run that goes on at a step sees
what it would have seen had it never stopped, and nothing need be kept of where it was.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.images import ImageError, read_rgb
from data.place_sets.names import PlaceName
from data.place_sets.photos import resized
from data.places import EXTENSIONS
from models.translation.networks import SIDES
from models.translation.settings import UnitSettings

READ_AHEAD = 4  # batches


def find_side(directory: Path, note: str = "") -> list[Path]:
    """All photos under a folder.

    Args:
        directory: The folder, searched through.
        note: Take only those whose file names have this word in their note
            (data/place_sets/names.py), such as night; "" takes all.

    Raises:
        ValueError: there is no such folder, or no such photo in it.
    """
    if not directory.is_dir():
        raise ValueError(f"no folder {directory}")
    paths = [path for path in sorted(directory.rglob("*")) if path.suffix.lower() in EXTENSIONS]
    kept = [path for path in paths if not note or note in _words(path)]
    if not kept:
        wanted = f" with {note!r} in its name's note" if note else ""
        raise ValueError(
            f"{directory}: none of {len(paths):,} photos{wanted}; give a folder of photos"
        )
    return kept


def _words(path: Path) -> list[str]:
    try:
        return PlaceName.parse(path.name).note.split("_")
    except ValueError:
        return []


class SidePhotos:
    """Photos of one side.

    Args:
        side: day or night.
        paths: Of the files.
        settings: Sizes, batch and seed.

    Attributes:
        refused: Path -> why it could not be read, of those met so far.
    """

    def __init__(self, side: str, paths: list[Path], settings: UnitSettings) -> None:
        self.paths, self.settings = paths, settings
        self.key = (settings.seed, SIDES.index(side))
        self.refused: dict[str, str] = {}
        self._order = lru_cache(maxsize=2)(self._drawn_order)

    def batch(self, step: int) -> Tensor:
        """The squares of a step, float32 `(B, 3, crop, crop)` in -1..1.

        Raises:
            ValueError: no photo of this side can be read.
        """
        first = step * self.settings.batch
        return torch.stack([self._square(first + i) for i in range(self.settings.batch)])

    def _square(self, number: int) -> Tensor:
        epoch, place = divmod(number, len(self.paths))
        order = self._order(epoch)
        for row in np.roll(order, -place):  # where one cannot be read, the next one steps in
            path = self.paths[int(row)]
            try:
                rgb = read_rgb(path, min_side=self.settings.short_side)
            except ImageError as error:
                self.refused[str(path)] = str(error).removeprefix(f"{path}: ")
                continue
            random = np.random.default_rng((*self.key, 1, number))
            square = random_square(torch.from_numpy(rgb).permute(2, 0, 1), self.settings, random)
            return square.float() / 127.5 - 1
        first, why = next(iter(self.refused.items()))
        raise ValueError(f"none of {len(self.paths):,} photos can be read; {first}: {why}")

    def _drawn_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((*self.key, 0, epoch)).permutation(len(self.paths))


def random_square(rgb: Tensor, settings: UnitSettings, random: np.random.Generator) -> Tensor:
    """Resize uint8 `(3, H, W)` to the short side, cut out a square, mirror half of them."""
    rgb = with_short_side(rgb, settings.short_side)
    top, left = (int(random.integers(n - settings.crop + 1)) for n in rgb.shape[1:])
    square = rgb[:, top : top + settings.crop, left : left + settings.crop]
    return square.flip(-1) if random.random() < 0.5 else square


def with_short_side(rgb: Tensor, side: int) -> Tensor:
    """Resize `(3, H, W)` so that its short side is `side`, its shape kept."""
    scale = side / min(rgb.shape[1:])
    height, width = (max(side, round(length * scale)) for length in rgb.shape[1:])
    return resized(rgb, (height, width))


def batches(
    sides: dict[str, SidePhotos], start: int, workers: int
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield steps from `start` on, and what each sees of both sides, read ahead by threads."""
    step = start
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting = deque[dict]()
        while True:
            while len(waiting) < READ_AHEAD:
                following = step + len(waiting)
                waiting.append({s: pool.submit(p.batch, following) for s, p in sides.items()})
            ready = waiting.popleft()
            yield step, {side: future.result() for side, future in ready.items()}
            step += 1
