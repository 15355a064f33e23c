"""How fast photos become shards, against webdataset's writer and against a plain SHA-256.

    python -m benchmarks.pack [--photos DIR]

`setup.build_shards` plans, reads, decodes every photo to find damaged ones, checks the metadata,
writes, sums and syncs each shard, and joins the tables. webdataset's ShardWriter in a plain loop
reads and writes, with the same decoding or without, and neither sums nor syncs; one process. All
take the same photos from the same folder, which the page cache holds.

Goals: one worker at least 0.8x the loop that decodes too; two bring 1.7x one, where two cores are
free. No goal binds the loop that decodes nothing: it packs damaged photos.

The last lines are what docs extrapolate from: samples and megabytes a second.
"""

import argparse
import csv
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

from data.images import decode_rgb
from setup.build_shards import build_shards
from setup.packing.settings import PackSettings

SHORT_SIDE, PER_SHARD = 320, 500


def lay_out(folder: Path, photos: Path | None, count: int) -> list[str]:
    """Write `count` photos and their table; returns their keys."""
    from benchmarks.decode import photographs  # with torch, which the workers need not import

    files = photographs(photos, SHORT_SIDE, count=64)
    (folder / "img").mkdir()
    keys = [f"p{i:06d}" for i in range(count)]
    for i, key in enumerate(keys):
        (folder / "img" / f"{key}.jpg").write_bytes(files[i % len(files)])
    with (folder / "photos.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "lat", "lon", "author"])
        rows.writerows([key, i % 90, i % 180, f"a{i % 997}"] for i, key in enumerate(keys))
    return keys


def ours(folder: Path, workers: int) -> None:
    """The command, all of it."""
    settings = PackSettings(
        folder / "photos.csv", folder / "img", samples_per_shard=PER_SHARD, val_share=0
    )
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        build_shards(settings, folder / f"ours{time.monotonic_ns()}", workers)


def theirs(folder: Path, keys: list[str], decodes: bool) -> None:
    """The writer of webdataset in a loop."""
    import webdataset

    output = folder / f"theirs{time.monotonic_ns()}"
    output.mkdir()
    pattern = str(output / "shard-%06d.tar")
    with webdataset.ShardWriter(pattern, maxcount=PER_SHARD, verbose=0) as writer:
        for i, key in enumerate(keys):
            jpg = (folder / "img" / f"{key}.jpg").read_bytes()
            if decodes:
                decode_rgb(jpg, key, min_side=1)
            metadata = {"lat": i % 90, "lon": i % 180, "author": f"a{i % 997}"}
            writer.write({"__key__": key, "jpg": jpg, "json": metadata})


def sums(folder: Path, keys: list[str]) -> None:
    """SHA-256 of every photo: what no checked copy can do without."""
    for key in keys:
        hashlib.sha256((folder / "img" / f"{key}.jpg").read_bytes()).digest()


def rate(step: Callable[[], None], count: int, rounds: int) -> float:
    """Photos a second of the best round, by the clock."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        taken.append(time.perf_counter() - start)
    return count / min(taken)


def main() -> None:
    """Print rates and ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos (default: synthetic ones)")
    parser.add_argument("--samples", type=int, default=6000, help="photos packed (default: 6000)")
    parser.add_argument("--rounds", type=int, default=3, help="the best counts (default: 3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = lay_out(folder, options.photos, options.samples)
        size = sum(path.stat().st_size for path in (folder / "img").iterdir()) / len(keys)
        kind = f"photos of {options.photos}" if options.photos else "SYNTHETIC photos"
        print(f"{len(keys)} {kind}, short side {SHORT_SIDE} px, {size / 1e3:.0f} kB each")
        steps: dict[str, Callable[[], None]] = {
            "webdataset, no check": lambda: theirs(folder, keys, decodes=False),
            "webdataset, decoding": lambda: theirs(folder, keys, decodes=True),
            "build_shards, 1 worker": lambda: ours(folder, 1),
            "build_shards, 2 workers": lambda: ours(folder, 2),
            "SHA-256 alone": lambda: sums(folder, keys),
        }
        rates = {}
        for what, step in steps.items():
            rates[what] = rate(step, len(keys), options.rounds)
            print(f"  {what:24} {rates[what]:7,.0f} photos/s {rates[what] * size / 1e6:7.1f} MB/s")
    _, decoding, one, two, summing = rates.values()
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    print(
        f"one worker {one / decoding:.2f}x webdataset with the same check (goal 0.8x), two "
        f"{two / decoding:.2f}x; two {two / one:.2f}x one (goal 1.7x; {cores} cores, load "
        f"{load:.1f}: above two it is shared with other work); one worker packs at "
        f"{one / summing:.1%} of SHA-256's speed"
    )


if __name__ == "__main__":
    main()
