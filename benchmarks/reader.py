"""What reading shards costs beside decoding, against webdataset's iterator; and a second worker.

    python -m benchmarks.reader [--photos DIR]

1. Seconds a sample of `Index.read` in shuffled order, of webdataset's iterator in file order, and
   of decoding with the training crop (320 px). Goal: reading takes at most 3% of decoding.
2. Samples a second of `data.stream.batches` with one and with two worker processes, after the
   workers have started. Goal: two bring 1.85x one, where two cores are free.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import webdataset

from benchmarks.decode import photographs
from data.sampler import Pick, ResumableSampler
from data.shards import Index, ShardWriter
from data.stream import PhotoStream, batches
from data.transforms import TrainTransform

SIZE, BATCH, LONG_SIDE = 224, 32, 320


def write(folder: Path, photos: Path | None, count: int) -> None:
    """Pack `count` samples, the photos in turn."""
    files = photographs(photos, LONG_SIDE, count=64)
    with ShardWriter(folder, samples_per_shard=1000) as writer:
        for i in range(count):
            metadata = {"lat": i % 90, "lon": i % 180, "s3": [0.2, 0.3, 0.5]}
            writer.write(f"p{i:06d}", files[i % len(files)], metadata)


def read_ours(index: Index) -> None:
    """Every sample once, shuffled."""
    for row in np.random.default_rng(0).permutation(len(index)).tolist():
        index.read(row)


def read_theirs(folder: Path) -> None:
    """Every sample once, in file order, members undecoded as in ours."""
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    for _ in webdataset.WebDataset(urls, shardshuffle=False):
        pass


def decode(stream: PhotoStream, count: int) -> None:
    """Read, decode, crop and resize, without a loader."""
    for sample in range(count):
        stream[Pick(0, sample)]


def processor_seconds(step: Callable[[], None], samples: int, rounds: int = 5) -> float:
    """Median processor seconds a sample, the first round left out."""
    taken = []
    for _ in range(rounds + 1):
        start = time.thread_time()
        step()
        taken.append((time.thread_time() - start) / samples)
    return statistics.median(taken[1:])


def samples_per_second(stream: PhotoStream, workers: int, epochs: int = 3) -> float:
    """Best epoch, by the clock, of a loader whose workers run already."""
    loader = batches(stream, ResumableSampler(len(stream), BATCH), workers)
    rates = []
    for _ in range(epochs + 1):
        start = time.perf_counter()
        for _ in loader:
            pass
        rates.append(len(stream) / (time.perf_counter() - start))
    return max(rates[1:])


def main() -> None:
    """Print the reader's share, the ratio to webdataset, and the second worker's gain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos (default: synthetic ones)")
    parser.add_argument("--samples", type=int, default=3000, help="samples packed (default: 3000)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kind = f"photos of {options.photos}" if options.photos else "SYNTHETIC photos"
    print(f"{options.samples} samples of {LONG_SIDE} px, {kind}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shards"
        write(folder, options.photos, options.samples)
        index = Index.open(folder)
        stream = PhotoStream(index, None, TrainTransform(SIZE, scale=(0.08, 1.0)))
        ours = processor_seconds(lambda: read_ours(index), options.samples)
        theirs = processor_seconds(lambda: read_theirs(folder), options.samples)
        few = min(options.samples, 500)
        decoding = processor_seconds(lambda: decode(stream, few), few) - ours
        print(
            f"reading: ours {ours * 1e6:.1f} us a sample, webdataset {theirs * 1e6:.1f} us: "
            f"{theirs / ours:.1f}x; decoding {decoding * 1e6:.0f} us: "
            f"reading is {ours / decoding:.1%} of it (goal at most 3%)"
        )
        one, two = (samples_per_second(stream, workers) for workers in (1, 2))
        load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
        print(
            f"workers: one {one:.0f}, two {two:.0f} samples/s: {two / one:.2f}x (goal 1.85x; "
            f"{cores} cores, load {load:.1f}: above two it is shared with other work)"
        )


if __name__ == "__main__":
    main()
