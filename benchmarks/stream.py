"""Samples a second of `data.stream.batches`, against decoding alone and against webdataset.

    python -m benchmarks.stream [--photos DIR] [--samples 2000] [--workers 0 1 2]

1. With 0, 1 and 2 workers: whole epochs through the loader, shuffled, against the same decoding,
   cropping and batching (data/transforms.py) in plain loops over bytes in memory, in as many
   processes, nothing handed from one to another. Goal: at least 95% of it.
2. The same epochs to normalised floats, against webdataset's reader with Pillow and torchvision's
   RandomResizedCrop, ToTensor and Normalize, in torch's DataLoader. Goal: 2.5 times as fast in all.

Workers run already when the clock starts, and the best of some epochs counts, the ways in turn.
Photos are 320 px, the size MP-16 is trained at.
"""

import argparse
import io
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before torchvision)
import torch
import torchvision.transforms as tv
import webdataset
from PIL import Image
from torch.utils.data import DataLoader, default_collate

from benchmarks.reader import BATCH, LONG_SIDE, SIZE, write
from data.images import IMAGENET_MEAN, IMAGENET_STD
from data.sampler import Pick, ResumableSampler
from data.shards import Index
from data.stream import PhotoStream, batches
from data.transforms import TrainTransform, normalize

SCALE = (0.3, 1.0)  # as train_vit.py crops
ROUNDS = 4

Epoch = Callable[[], object]


class InMemory:
    """What a stream asks of an index, from memory: the floor that no reading can go below."""

    def __init__(self, index: Index) -> None:
        self.files = [index.read_images(row) for row in range(len(index))]
        self.key = [index.key(row) for row in range(len(index))].__getitem__
        self.read_images = self.files.__getitem__


def ours(folder: Path, workers: int) -> Epoch:
    """An epoch through the loader."""
    stream = open_stream(folder)
    loader = batches(stream, ResumableSampler(len(stream), BATCH), workers)
    return lambda: sum(len(batch["key"]) for batch in loader)


def ours_to_floats(folder: Path, workers: int) -> Epoch:
    """An epoch through the loader, each batch normalised as models do it."""
    stream = open_stream(folder)
    loader = batches(stream, ResumableSampler(len(stream), BATCH), workers)
    return lambda: sum(len(normalize(batch["rgb"])) for batch in loader)


def decode_only(folder: Path, workers: int) -> Epoch:
    """As many samples in plain loops, in processes that hand nothing over."""
    stream = open_stream(folder)
    stream.index = InMemory(stream.index)  # type: ignore[assignment]
    if not workers:
        return lambda: decode_share(stream, 0, 1)
    context = multiprocessing.get_context("fork")
    done = context.Semaphore(0)

    def work(rank: int) -> None:
        torch.set_num_threads(1)
        while True:
            turns[rank].acquire()
            decode_share(stream, rank, workers)
            done.release()

    turns = [context.Semaphore(0) for _ in range(workers)]
    for rank in range(workers):
        context.Process(target=work, args=(rank,), daemon=True).start()

    def epoch() -> None:
        for turn in turns:
            turn.release()
        for _ in turns:
            done.acquire()

    return epoch


def decode_share(stream: PhotoStream, rank: int, world_size: int) -> None:
    """Decode, crop and collate every world_size-th sample."""
    samples = list(range(rank, len(stream), world_size))
    for first in range(0, len(samples), BATCH):
        default_collate([stream[Pick(0, sample)] for sample in samples[first : first + BATCH]])


def theirs(folder: Path, workers: int) -> Epoch:
    """An epoch of webdataset with Pillow and torchvision, as their documentation has it."""
    to_tensor = [tv.ToTensor(), tv.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    crop = tv.Compose([tv.RandomResizedCrop(SIZE, scale=SCALE), *to_tensor])

    def load(sample: dict[str, Any]) -> dict[str, Any]:
        picture = Image.open(io.BytesIO(sample["jpg"])).convert("RGB")
        return {"rgb": crop(picture), "key": sample["__key__"]}

    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    photos = webdataset.WebDataset(urls, shardshuffle=len(urls), empty_check=False, seed=0)
    pipeline = photos.shuffle(1000).map(load)
    loader = DataLoader(pipeline, BATCH, num_workers=workers, persistent_workers=workers > 0)
    return lambda: sum(len(batch["key"]) for batch in loader)


def open_stream(folder: Path) -> PhotoStream:
    """The stream that both ways of ours read."""
    return PhotoStream(Index.open(folder), None, TrainTransform(SIZE, SCALE))


def best_seconds(epochs: list[Epoch]) -> list[float]:
    """The best of some epochs of each way, taken in turns after one to start the workers."""
    taken: list[list[float]] = [[] for _ in epochs]
    for turn in range(ROUNDS + 1):
        for epoch, times in zip(epochs, taken, strict=True):
            start = time.perf_counter()
            epoch()
            if turn:
                times.append(time.perf_counter() - start)
    return [min(times) for times in taken]


def main() -> None:
    """Print samples a second of the three ways for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos (default: synthetic ones)")
    parser.add_argument("--samples", type=int, default=2000, help="packed (default: 2000)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="(default: all)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kind = f"photos of {options.photos}" if options.photos else "SYNTHETIC photos"
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    print(f"{options.samples} samples of {LONG_SIDE} px, {kind}; {cores} cores, load {load:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shards"
        write(folder, options.photos, options.samples)
        for workers in options.workers:
            ways = (ours, decode_only, ours_to_floats, theirs)
            seconds = best_seconds([way(folder, workers) for way in ways])
            stream, floor, floats, other = (options.samples / taken for taken in seconds)
            print(
                f"{workers} workers: stream {stream:5.0f} samples/s, decoding alone {floor:5.0f}: "
                f"{stream / floor:.0%} of it (goal 95%); to floats {floats:5.0f}, webdataset and "
                f"Pillow {other:5.0f}: {floats / other:.2f}x (goal 2.5x)"
            )


if __name__ == "__main__":
    main()
