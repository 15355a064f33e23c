"""Photos as tensors in the order asked for, read ahead by threads.

A photo that cannot be read is grey, named in `refused` and left to the caller: one among thousands
must stop nothing, and must not go unseen either. Threads and not processes: decoder and resize let
go of Python's lock, and threads start at once, which counts when a cache is refreshed often.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from data.images import ImageError, read_rgb

GREY = 128
READ_AHEAD = 3  # batches

Size = tuple[int, int]  # height, width
View = Callable[[Tensor], Tensor]  # uint8 (3, H, W) -> (V, 3, h, w): one or more pictures of it
Rows = NDArray[np.int64]


class PlacePhotos(Dataset[Tensor]):
    """Photos, each as `(V, 3, h, w)` uint8.

    Args:
        paths: Of the files.
        size: Height and width in pixels of what a model sees.
        view: Makes the pictures; None squeezes the whole photo into `size`.

    Attributes:
        refused: Path -> why it could not be read, of those asked for so far.
    """

    def __init__(self, paths: Sequence[Path], size: Size, view: View | None = None) -> None:
        self.paths, self.size = paths, size
        self.view = view or (lambda rgb: resized(rgb, size)[None])
        self.refused: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def is_readable(self, row: int) -> bool:
        """Whether a photo that was asked for could be read."""
        return str(self.paths[row]) not in self.refused

    def __getitem__(self, row: int) -> Tensor:
        """The pictures of one photo."""
        path = self.paths[row]
        try:
            rgb = torch.from_numpy(read_rgb(path, min_side=max(self.size))).permute(2, 0, 1)
        except ImageError as error:
            self.refused[str(path)] = str(error).removeprefix(f"{path}: ")
            rgb = torch.full((3, *self.size), GREY, dtype=torch.uint8)
        return self.view(rgb)

    def batches(
        self, rows: Sequence[int] | Rows, batch: int, workers: int = 2
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Yield rows and their pictures `(R V, 3, h, w)`, in order.

        Where pictures differ in size a batch ends early: `single_query` keeps each photo's shape.

        Args:
            rows: Which photos.
            batch: Photos at a time at most.
            workers: Threads; 0 reads when asked.
        """
        for chosen, pictures in self._read_ahead(rows, batch, workers):
            for group in _of_one_shape(pictures):
                members = [chosen[i] for i in group]
                yield members, torch.cat([pictures[i] for i in group])

    def _read_ahead(
        self, rows: Sequence[int] | Rows, batch: int, workers: int
    ) -> Iterator[tuple[list[int], list[Tensor]]]:
        starts = iter(range(0, len(rows), batch))
        parts = ([int(row) for row in rows[start : start + batch]] for start in starts)
        if workers < 1:
            yield from ((part, [self[row] for row in part]) for part in parts)
            return
        with ThreadPoolExecutor(workers) as pool:

            def begin(part: list[int]) -> tuple[list[int], list[Future[Tensor]]]:
                return part, [pool.submit(self.__getitem__, row) for row in part]

            waiting = [begin(part) for part in islice(parts, READ_AHEAD)]
            while waiting:
                part, futures = waiting.pop(0)
                waiting += [begin(following) for following in islice(parts, 1)]
                yield part, [future.result() for future in futures]


def resized(rgb: Tensor, size: Size) -> Tensor:
    """Squeeze or stretch uint8 `(3, H, W)` to `(3, *size)`, antialiased bilinear."""
    if rgb.shape[1:] == size:
        return rgb.contiguous()
    # Channels last is the fast path for bytes.
    one = rgb[None].contiguous(memory_format=torch.channels_last)
    return functional.interpolate(one, size, mode="bilinear", antialias=True)[0].contiguous()


def _of_one_shape(pictures: list[Tensor]) -> Iterator[list[int]]:
    """Runs of neighbours of one shape."""
    run: list[int] = []
    for number, picture in enumerate(pictures):
        if run and pictures[run[-1]].shape != picture.shape:
            yield run
            run = []
        run.append(number)
    if run:
        yield run
