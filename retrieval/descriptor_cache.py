"""Descriptors of photos as a model makes them now: for mining, k-means, validation and testing.

Every photo is described whole and unchanged, in evaluation mode, so the cache is exact. Where
several processes train (DDP), each describes its share of the rows and all get all of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor

from data.place_sets.photos import PlacePhotos, Rows
from data.transforms import normalize
from models.places.embedder import Embedder

Descriptors = NDArray[np.float32]
Step = Callable[[int], None]  # told how many photos are done


class Engine(NamedTuple):
    """How photos are described.

    Attributes:
        device: Where the model is.
        batch: Photos at a time.
        workers: Threads that decode.
        is_bf16: Run the backbone in bfloat16.
    """

    device: torch.device = torch.device("cpu")
    batch: int = 32
    workers: int = 2
    is_bf16: bool = False


def describe(
    embedder: Embedder,
    photos: PlacePhotos,
    rows: Sequence[int] | Rows | None = None,
    engine: Engine = Engine(),  # noqa: B008  (immutable)
    out: NDArray[Any] | None = None,
    after: Callable[[Descriptors], Descriptors] | None = None,
    on_done: Step | None = None,
) -> NDArray[Any]:
    """Describe photos.

    Args:
        embedder: On `engine.device`.
        photos: V pictures each.
        rows: Which, in which order; None takes all.
        engine: How.
        out: Array `(R, V, D)` to write into, a memory map of float16 for instance.
        after: Changes each batch of descriptors, PCA for instance.
        on_done: Called after each batch with the number of photos in it.

    Returns:
        `(R, V, D)`: `out`, or float32. A photo that cannot be read has zeros and is in
        `photos.refused`.
    """
    rows = np.arange(len(photos)) if rows is None else rows
    place = 0
    with torch.inference_mode(), in_evaluation(embedder), precision(engine):
        for members, pictures in photos.batches(rows, engine.batch, engine.workers):
            found = embedder(normal(pictures, embedder, engine.device)).float().cpu().numpy()
            found = after(found) if after else found
            views = found.reshape(len(members), -1, found.shape[1])
            if out is None:
                out = np.empty((len(rows), *views.shape[1:]), np.float32)
            unreadable = [i for i, row in enumerate(members) if not photos.is_readable(row)]
            views[unreadable] = 0
            out[place : place + len(members)] = views
            place += len(members)
            if on_done:
                on_done(len(members))
    if out is None:
        raise ValueError("no photo to describe")
    return out


def describe_shared(
    embedder: Embedder,
    photos: PlacePhotos,
    rows: Rows,
    engine: Engine,
    on_done: Step | None = None,
) -> Descriptors:
    """Describe one picture of each photo, `(R, D)`; processes share the work where there are some.

    All processes must ask for the same rows.
    """
    rank, world = _rank(), _world()
    own = rows[rank::world]
    if len(own):
        part = describe(embedder, photos, own, engine, on_done=on_done)[:, 0]
    else:
        part = np.empty((0, embedder.dim), np.float32)
    return gather(part, len(rows), engine.device) if world > 1 else part


def gather(part: Descriptors, count: int, device: torch.device) -> Descriptors:
    """Put together `(count, D)`, of which process r of w holds rows r, r + w, r + 2 w ..."""
    rank, world = _rank(), _world()
    longest = -(-count // world)
    padded = torch.zeros(longest, part.shape[1], device=device)
    padded[: len(part)] = torch.from_numpy(part).to(device)
    parts = [torch.empty_like(padded) for _ in range(world)]
    torch.distributed.all_gather(parts, padded)
    assert len(part) == len(range(rank, count, world))
    together = torch.stack(parts, dim=1).flatten(0, 1)[:count]
    return together.cpu().numpy()


@contextmanager
def in_evaluation(embedder: Embedder) -> Iterator[None]:
    """Set evaluation mode; afterwards each module is as it was, frozen batch norms too."""
    modes = {module: module.training for module in embedder.modules()}
    embedder.eval()
    try:
        yield
    finally:
        for module, was_training in modes.items():
            module.training = was_training


def normal(pictures: Tensor, embedder: Embedder, device: torch.device) -> Tensor:
    """Bytes `(B, 3, h, w)` as the embedder's backbone was trained to see them."""
    extractor = embedder.extractor
    return normalize(pictures.to(device, non_blocking=True), extractor.mean, extractor.std)


def precision(engine: Engine) -> AbstractContextManager[Any]:
    """Autocast, where it is asked for."""
    if not engine.is_bf16:
        return nullcontext()
    return torch.autocast(engine.device.type, torch.bfloat16)


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _rank() -> int:
    return torch.distributed.get_rank() if _is_distributed() else 0


def _world() -> int:
    return torch.distributed.get_world_size() if _is_distributed() else 1
