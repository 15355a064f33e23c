"""What inpainting is trained on: squares of photos with random holes, a function of the step alone.

Which photos a step takes, what is cut out of them and where their holes are follow from the seed
and the step's number, so that a run that was stopped goes on exactly as if it had not been.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.images import ImageError, Pixels, read_rgb
from data.place_sets.photos import resized
from models.inpainting.masks import random_hole

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")
LARGEST = 1.25  # short side of a photo, in squares, before one is cut out
AHEAD = 3  # steps


def find_photos(folder: Path) -> list[Path]:
    """All photos in a folder and the folders in it, in order.

    Raises:
        ValueError: there is no such folder, or no two photos in it.
    """
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}")
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in EXTENSIONS]
    if len(found) < 2:
        raise ValueError(
            f"{len(found)} photos in {folder}; at least two are needed, one to judge by"
        )
    return found


class HoledPhotos:
    """Squares with holes.

    Args:
        paths: Of the photos.
        size: Side of the squares, px.
        share: Least and greatest share of the holes.
        seed: Of everything drawn.

    Attributes:
        refused: Path -> why a photo could not be read; another stands in.
    """

    def __init__(
        self, paths: list[Path], size: int, share: tuple[float, float], seed: int = 0
    ) -> None:
        self.paths, self.size, self.share, self.seed = paths, size, share, seed
        self.refused: dict[str, str] = {}
        self._order = lru_cache(maxsize=2)(self._drawn_order)  # a step may lie in two epochs

    def one(self, row: int, draw: int) -> tuple[Tensor, Tensor]:
        """A square uint8 `(3, S, S)` of a photo, and `(1, S, S)`, 1 where it is known.

        Args:
            row: Of the photo.
            draw: Number of the drawing: another cuts out another square and another hole.

        Raises:
            ValueError: no photo can be read.
        """
        random = np.random.default_rng((self.seed, row, draw))
        square = self._cut(self._read(row), random)
        hole = random_hole((self.size, self.size), random, self.share)
        return square, torch.from_numpy(~hole)[None].float()

    def rows_of(self, step: int, batch: int) -> list[tuple[int, int]]:
        """Photo and drawing of each square of a step: every photo once before any comes again."""
        chosen = []
        for place in range(step * batch, (step + 1) * batch):
            epoch, rank = divmod(place, len(self.paths))
            chosen.append((int(self._order(epoch)[rank]), epoch))
        return chosen

    def batches(
        self, first: int, last: int, batch: int, workers: int = 2
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Rows, photos in 0..1 `(B, 3, S, S)` and masks `(B, 1, S, S)` of steps, read ahead."""
        with ThreadPoolExecutor(max(workers, 1)) as pool:
            waiting = []
            try:
                for step in range(first, last):
                    rows = self.rows_of(step, batch)
                    waiting.append((rows, [pool.submit(self.one, *row) for row in rows]))
                    if len(waiting) > AHEAD:
                        yield _together(*waiting.pop(0))
                while waiting:
                    yield _together(*waiting.pop(0))
            finally:
                pool.shutdown(cancel_futures=True)

    def _drawn_order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.paths))

    def _read(self, row: int) -> Pixels:
        for number in range(len(self.paths)):
            path = self.paths[(row + number) % len(self.paths)]
            if str(path) in self.refused:
                continue
            try:
                return read_rgb(path, min_side=round(self.size * LARGEST))
            except ImageError as error:
                self.refused[str(path)] = str(error)
                sys.stderr.write(f"warning: left out: {error}\n")
        raise ValueError(f"none of {len(self.paths)} photos can be read, such as {self.paths[0]}")

    def _cut(self, rgb: Pixels, random: np.random.Generator) -> Tensor:
        height, width = rgb.shape[:2]
        scale = self.size * random.uniform(1, LARGEST) / min(height, width)
        size = tuple(max(self.size, round(side * scale)) for side in (height, width))
        whole = resized(torch.from_numpy(rgb).permute(2, 0, 1), (size[0], size[1]))
        top, left = (int(random.integers(side - self.size + 1)) for side in size)
        square = whole[:, top : top + self.size, left : left + self.size]
        return square.flip(2) if random.random() < 0.5 else square


def _together(rows: list[tuple[int, int]], futures: list) -> tuple[list[int], Tensor, Tensor]:
    squares, known = zip(*(future.result() for future in futures), strict=True)
    return [row for row, _ in rows], torch.stack(squares).float() / 255, torch.stack(known)
