"""Samples from shards to batches of bytes for a model, in an order that resumes exactly.

A pick (epoch, sample) is loaded the same way by any worker of any process: its augmentation is
seeded by (seed, epoch, sample) alone. A photo that cannot be decoded does not shift the batches:
its place is taken by black pixels with `valid` False, and the loader counts and names it.

Remote shards (`Index.open("http://...")`) go with the order that `order_for` makes: random within
blocks of shards, which are fetched while the block before them is read.
"""

import logging
import os
import re
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from data.batch import PREFETCH, BatchPacker
from data.images import MAX_PIXELS, ImageError, decode_rgb, decode_seg, image_size, shrunk_by
from data.index import Index
from data.sample import NUM_SCENES
from data.sampler import SHARDS_AT_A_TIME, Pick, ResumableSampler
from data.sharding.fetch_ahead import FetchAhead
from data.transforms import PairedTransform, check_same_size

ALL_SCENES = NUM_SCENES
LEVELS = 3  # coarse, middle, fine

logger = logging.getLogger(__name__)


class Assigns(Protocol):
    """What of a `partitioning.partition.Partition` is used here."""

    def assign(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.int64]:
        """Classes `(N, 3)` (coarse, middle, fine) of positions in degrees; -1 = none."""
        ...


class PhotoStream(Dataset[dict[str, Any]]):
    """The samples of an index as training items.

    An item is a dict: rgb uint8 `(3, S, S)`; seg uint8 `(S, S)`, zeros where there is none;
    has_seg bool; cells int64 `(3,)` (coarse, middle, fine; -1 = none); scene int64 (0 indoor,
    1 natural, 2 urban, -1 unknown); lat, lon float64 degrees; key str; index int, the row in the
    index; valid bool; error str, "" where valid.

    Args:
        index: The samples.
        partition: Gives the cells; None leaves them -1.
        transform: From data/transforms.py.
        seed: Of the augmentation.
        use_seg: Whether to read the segmentation maps.
        scene_of_interest: Only the samples of this scene, 0, 1 or 2; 3 takes all.
        max_pixels: Larger photos are not decoded.

    Raises:
        ValueError: no such scene, or no sample of it.
    """

    def __init__(
        self,
        index: Index,
        partition: Assigns | None,
        transform: PairedTransform,
        *,
        seed: int = 0,
        use_seg: bool = True,
        scene_of_interest: int = ALL_SCENES,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.index, self.transform, self.seed = index, transform, seed
        self.use_seg, self.max_pixels = use_seg, max_pixels
        self.rows = _rows_of_scene(index, scene_of_interest)
        self.lat, self.lon = index.lat[self.rows], index.lon[self.rows]
        self.shard_of = index.shard_of[self.rows]
        self.scene = index.scene[self.rows].astype(np.int64)
        self.cells = np.full((len(self.rows), LEVELS), -1)
        if partition is not None:
            self.cells = partition.assign(self.lat, self.lon)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, pick: Pick | int) -> dict[str, Any]:
        """Load a pick, or sample number `pick` as epoch 0 sees it.

        Raises:
            ValueError: the segmentation map has another size than the photo.
        """
        epoch, sample = (0, pick) if isinstance(pick, int) else pick
        row = int(self.rows[sample])
        error, size = "", self.transform.size
        try:
            rgb, seg = self._load(row, augmentation_seed(self.seed, epoch, row))
        except ImageError as caught:
            error = str(caught)
            rgb, seg = torch.zeros((3, size, size), dtype=torch.uint8), None
        has_seg = seg is not None
        unknown = bool(error)
        return {
            "rgb": rgb,
            "seg": torch.zeros((size, size), dtype=torch.uint8) if seg is None else seg,
            "has_seg": has_seg,
            "cells": torch.full((LEVELS,), -1) if unknown else torch.tensor(self.cells[sample]),
            "scene": -1 if unknown else int(self.scene[sample]),
            "lat": float(self.lat[sample]),
            "lon": float(self.lon[sample]),
            "key": self.index.key(row),
            "index": row,
            "valid": not unknown,
            "error": error,
        }

    def _load(self, row: int, seed: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        jpg, seg_png = self.index.read_images(row)
        key = self.index.key(row)
        generator = torch.Generator().manual_seed(seed)
        height, width = image_size(jpg, key, self.max_pixels)
        geometry = self.transform.geometry(height, width, generator)
        # The crop is known before the photo is decoded, so a large one is decoded smaller.
        pixels = decode_rgb(jpg, key, self.max_pixels, min(height, width) // geometry.factor)
        factor = shrunk_by(height, width, pixels, key)
        rgb = torch.from_numpy(pixels).permute(2, 0, 1)
        seg = None
        if self.use_seg and seg_png is not None:
            seg = torch.from_numpy(decode_seg(seg_png, f"{key}'s segmentation map"))
            check_same_size((height, width), tuple(seg.shape), key)
        return self.transform.apply(rgb, seg, geometry, generator, factor)


class PhotoLoader(DataLoader[dict[str, Any]]):
    """A DataLoader that counts what it hands out and names what could not be decoded.

    Attributes:
        undecodable: Key -> reason, of every invalid sample handed out so far.
    """

    dataset: PhotoStream
    undecodable: dict[str, str]
    batch_sampler: ResumableSampler
    packer: BatchPacker
    pins: bool
    fetch_ahead: FetchAhead | None

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Go on after the last batch handed out, to the end of its epoch."""
        for batch in self._loaded():
            self.batch_sampler.advance()
            self._fetch_ahead()
            for key, error in zip(batch["key"], batch["error"], strict=True):
                if error and key not in self.undecodable:
                    self.undecodable[key] = error
                    logger.warning("%s; left out of training", error)
            yield batch

    def _loaded(self) -> Iterator[dict[str, Any]]:
        batches = super().__iter__()  # workers are forked here, before threads run
        self._fetch_ahead()
        try:
            for batch in batches:
                yield self.packer.unpack(batch, self.pins)
        except (ValueError, OSError) as error:
            # A worker's error holds its whole traceback; what the user needs is the last line.
            last_line = str(error).strip().splitlines()[-1]
            kind = ValueError if isinstance(error, ValueError) else OSError
            raise kind(re.sub(r"^[\w.]*Error: ", "", last_line)) from error

    def _fetch_ahead(self) -> None:
        """Have the shards of the rest of this block and the next on their way, now and then."""
        if self.fetch_ahead is None:
            return
        sampler, stream = self.batch_sampler, self.dataset
        block = sampler.shards_at_a_time * len(stream) // len(stream.index.shards)
        if sampler.offset % max(1, block // sampler.batch_size // 8) == 0:
            upcoming = stream.shard_of[sampler.upcoming(block)]
            shards, first = np.unique(upcoming, return_index=True)
            self.fetch_ahead.want(shards[np.argsort(first)].tolist())


def order_for(
    stream: PhotoStream,
    batch_size: int,
    shards_at_a_time: int = SHARDS_AT_A_TIME,
    **settings: Any,
) -> ResumableSampler:
    """The order that suits where the shards are: full for local ones, in blocks for remote ones.

    Args:
        stream: The samples.
        batch_size: Samples in a batch.
        shards_at_a_time: Shards in a block.
        settings: The others of `ResumableSampler`.
    """
    shard_of = stream.shard_of if stream.index.fetches_shards else None
    return ResumableSampler(
        len(stream),
        batch_size,
        shard_of=shard_of,
        shards_at_a_time=shards_at_a_time,
        **settings,
    )


def batches(
    stream: PhotoStream,
    sampler: ResumableSampler,
    workers: int = 0,
    start_method: str | None = None,
    pin_memory: bool = False,
) -> PhotoLoader:
    """Load the sampler's batches.

    Args:
        stream: The samples.
        sampler: Their order; its state after a batch is where to resume.
        workers: Processes that load ahead; 0 loads in this one.
        start_method: "fork", "spawn" or "forkserver"; None is the platform's own.
        pin_memory: Put batches into memory that a GPU copies from at once.

    Raises:
        ValueError: the sampler is for another number of samples, or its order would fetch remote
            shards again and again.
    """
    if sampler.num_samples != len(stream):
        raise ValueError(
            f"the sampler orders {sampler.num_samples} samples, the stream has {len(stream)}"
        )
    _check_cache(stream, sampler)
    stream.index.load_keys()  # once, before workers are forked
    packer = BatchPacker(sampler.batch_size, stream.transform.size, workers)
    loader = PhotoLoader(
        stream,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=packer,
        prefetch_factor=PREFETCH if workers else None,
        multiprocessing_context=start_method if workers else None,
        persistent_workers=workers > 0,
    )
    loader.packer, loader.pins = packer, pin_memory and torch.cuda.is_available()
    loader.undecodable = {}
    loader.fetch_ahead = None
    if stream.index.fetches_shards and sampler.shards_at_a_time:
        loader.fetch_ahead = FetchAhead(stream.index.fetch)
    return loader


def augmentation_seed(seed: int, epoch: int, row: int) -> int:
    """A 64-bit seed for one sample in one epoch, well mixed."""
    return int(np.random.SeedSequence((seed, epoch, row)).generate_state(1, np.uint64)[0])


def _check_cache(stream: PhotoStream, sampler: ResumableSampler) -> None:
    """See that what the order reads at a time fits into the cache of remote shards."""
    index = stream.index
    if not index.fetches_shards:
        return
    # Two blocks: the one that is read, and the one that is fetched meanwhile. Processes on one
    # machine share a cache; torchrun says how many they are.
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", sampler.world_size))
    at_a_time = 2 * sampler.shards_at_a_time * processes or len(index.shards)
    needed = int(np.sort(index.shard_bytes)[::-1][:at_a_time].sum())
    if needed > index.cache_bytes:
        raise ValueError(
            f"this order reads from {min(at_a_time, len(index.shards))} shards at a time, "
            f"{needed:,} bytes, and the cache may hold {index.cache_bytes:,}: shards would be "
            "fetched again and again; give it more by cache_bytes, or take fewer shards at a time "
            "(order_for)"
        )


def _rows_of_scene(index: Index, scene: int) -> NDArray[np.int64]:
    if scene not in range(ALL_SCENES + 1):
        raise ValueError(f"scene_of_interest must be 0, 1, 2 or 3 (all), got {scene}")
    rows = np.arange(len(index))
    if scene != ALL_SCENES:
        rows = rows[index.scene == scene]
    if not len(rows):
        raise ValueError(f"{index.files} has no sample of scene {scene} (3 takes all)")
    return rows
