"""Samples into one batch, which crosses from a worker process to this one at little cost.

torch's own way makes new shared memory for every tensor of every batch, which can take as long as
decoding a sixth of its photos. Here each worker has some places in memory shared once for all,
writes its pictures into them in turn, and hands over nothing but numbers and texts.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import get_worker_info

PREFETCH = 2  # batches that a worker may have begun and this process not yet asked for
# What is neither text nor picture.
DTYPES = {
    "has_seg": np.bool_,
    "cells": np.int64,
    "scene": np.int64,
    "lat": np.float64,
    "lon": np.float64,
    "index": np.int64,
    "valid": np.bool_,
}


class _Place(NamedTuple):
    """Shared memory for the pictures of a batch: uint8 `(B, 3, S, S)` and `(B, S, S)`."""

    rgb: torch.Tensor
    seg: torch.Tensor


class BatchPacker:
    """The collate function of a loader, and what undoes it.

    Args:
        batch_size: Most samples in a batch.
        size_px: Edge of the pictures.
        workers: Processes that pack; with 0, batches are packed and unpacked in this one.
    """

    def __init__(self, batch_size: int, size_px: int, workers: int) -> None:
        # A worker is given its next batch before this process has unpacked the one it asked for:
        # one place more than batches on their way.
        self._places = [
            [_place(batch_size, size_px) for _ in range(PREFETCH + 1)] for _ in range(workers)
        ]
        self._turn = 0

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Pack the items of `data.stream.PhotoStream`."""
        batch: dict[str, Any] = {name: [item[name] for item in items] for name in items[0]}
        worker = get_worker_info()
        rgb, seg = batch.pop("rgb"), batch.pop("seg")
        if worker is None:
            batch["rgb"], batch["seg"] = torch.stack(rgb), torch.stack(seg)
        else:
            self._turn = (self._turn + 1) % (PREFETCH + 1)
            place = self._places[worker.id][self._turn]
            torch.stack(rgb, out=place.rgb[: len(items)])
            if any(batch["has_seg"]):
                torch.stack(seg, out=place.seg[: len(items)])
            batch["place"] = worker.id, self._turn
        for name, dtype in DTYPES.items():
            batch[name] = np.array(batch[name], dtype)
        return batch

    def unpack(self, batch: dict[str, Any], pin_memory: bool = False) -> dict[str, Any]:
        """Make of it what `torch.utils.data.default_collate` makes of the items.

        Args:
            batch: From a worker, or packed here; unpacked before the next one is asked for.
            pin_memory: Put tensors into memory that a GPU copies from at once.
        """
        if "place" in batch:
            worker, turn = batch.pop("place")
            place, samples = self._places[worker][turn], len(batch["key"])
            batch["rgb"] = _copy(place.rgb[:samples], pin_memory)
            if batch["has_seg"].any():
                batch["seg"] = _copy(place.seg[:samples], pin_memory)
            else:
                batch["seg"] = torch.zeros_like(place.seg[:samples])
        batch |= {name: torch.from_numpy(batch[name]) for name in DTYPES}
        if pin_memory:
            tensors = {k: v for k, v in batch.items() if isinstance(v, torch.Tensor)}
            batch |= {k: v.pin_memory() for k, v in tensors.items() if not v.is_pinned()}
        return batch


def _place(batch_size: int, size_px: int) -> _Place:
    rgb = torch.empty((batch_size, 3, size_px, size_px), dtype=torch.uint8)
    seg = torch.empty((batch_size, size_px, size_px), dtype=torch.uint8)
    return _Place(rgb.share_memory_(), seg.share_memory_())


def _copy(pictures: torch.Tensor, pin_memory: bool) -> torch.Tensor:
    return torch.empty(pictures.shape, dtype=pictures.dtype, pin_memory=pin_memory).copy_(pictures)
