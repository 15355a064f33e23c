"""How fast shards are verified, against nothing but the SHA-256 of the same files.

    python -m benchmarks.verify [--samples 20000] [--workers 2]

Shards of synthetic samples as large as MP-16's at 320 px (20 KB a photo), a third with maps, all
in the page cache, so that no disk is measured. Verifying takes the same sums, and holds every
header and every row of the index against the other. Alternating rounds, the best of each counts:
processor seconds for one worker, so that other work on the machine does not count, and the clock
for more. Goal: at least 80% of the speed of SHA-256, with one worker. Beside it, what finding the
damage costs when one of them has 4 KB of garbage in its middle.
"""

import argparse
import hashlib
import io
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from data.shards import ShardWriter
from data.verify import verify

PHOTO_BYTES = 20_000
ROUNDS = 7


def write(folder: Path, samples: int) -> int:
    """Pack the samples; return the bytes of all shards."""
    rng = np.random.default_rng(0)
    noise = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)).save(noise, "JPEG")
    seg = io.BytesIO()
    Image.fromarray(np.zeros((240, 320), np.uint8)).save(seg, "PNG")
    # What follows a JPEG's end is no part of the picture: files of any size at no cost.
    photo = noise.getvalue()[:PHOTO_BYTES].ljust(2 * PHOTO_BYTES, b"\0")
    with ShardWriter(folder, samples_per_shard=1000) as writer:
        for i in range(samples):
            metadata = {"lat": i % 90, "lon": i % 180, "s3": [0.2, 0.3, 0.5], "author": f"a{i}"}
            jpg = photo[: int(rng.integers(PHOTO_BYTES // 2, PHOTO_BYTES * 3 // 2))]
            writer.write(f"p{i:07d}", jpg, metadata, None if i % 3 else seg.getvalue())
    return sum(path.stat().st_size for path in folder.glob("*.tar"))


def hash_all(folder: Path) -> None:
    """SHA-256 of every shard."""
    for path in sorted(folder.glob("*.tar")):
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")


def best_seconds(clock: Callable[[], float], *steps: Callable[[], object]) -> list[float]:
    """The best of some rounds of each step, taken in turns."""
    taken: list[list[float]] = [[] for _ in steps]
    for _ in range(ROUNDS):
        for step, times in zip(steps, taken, strict=True):
            start = clock()
            step()
            times.append(clock() - start)
    return [min(times) for times in taken]


def main() -> None:
    """Print GB/s of both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000, help="packed (default: 20000)")
    parser.add_argument("--workers", type=int, default=2, help="for the last line (default: 2)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shards"
        gigabytes = write(folder, options.samples) / 1e9
        assert verify(folder).ok
        print(f"{options.samples:,} samples, {gigabytes:.2f} GB in shards of 1,000")
        for workers, clock in ((1, time.process_time), (options.workers, time.perf_counter)):
            hashing, verifying = best_seconds(
                clock, partial(hash_all, folder), partial(verify, folder, workers=workers)
            )
            kind = "processor second" if workers == 1 else "second"
            print(
                f"workers: {workers}; GB a {kind}: SHA-256 alone {gigabytes / hashing:.2f}, "
                f"verify {gigabytes / verifying:.2f}: {hashing / verifying:.0%} of it"
                + " (goal: 80%)"
                * (workers == 1)
            )
        first = min(folder.glob("*.tar"))
        with first.open("r+b") as file:
            file.seek(first.stat().st_size // 2)
            file.write(np.random.default_rng(1).bytes(4096))
        start = time.perf_counter()
        report = verify(folder)
        taken = time.perf_counter() - start
        named = len(report.keys("lost", "altered", "damaged"))
        print(
            f"with 4 KB of garbage in one shard {gigabytes / taken:.2f} GB/s: {named} samples named"
        )


if __name__ == "__main__":
    main()
