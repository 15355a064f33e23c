"""What MP-16 and YFCC100M cost in hours and disk, worked out from rates measured here.

    python -m benchmarks.scale [--photos DIR] [--write docs/scale.md]

Measures on one core what each photo costs on its way (a 640 px JPEG arrives, is checked, shrunk to
320 px, packed, verified, and decoded for training), and multiplies. How long a server takes to
answer and how many links are dead is not ours to measure: both are assumptions, printed as such.
"""

import argparse
import datetime
import hashlib
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.decode import photographs
from data.sharding.index_tables import TableRows
from data.sharding.open_shard import OpenShard
from data.shards import Index, ShardWriter, verify
from data.stream import PhotoStream
from data.transforms import TrainTransform
from partitioning.atomic_file import atomic_path
from setup.downloading.small_jpeg import as_small_jpeg

SETS = {"MP-16": 4_650_000, "YFCC100M": 99_200_000}  # photos of the lists
ARRIVES_PX, KEPT_PX = 640, 320
ANSWER_S, CONNECTIONS = 0.3, 64  # assumed: seconds a photo's request takes, requests at a time
ALIVE = 0.9  # assumed: share of the links that still lead to a photo
CORES = 16  # of the machine that the hours are for


class Rates(NamedTuple):
    """What one photo costs on one core, and its sizes."""

    shrink_s: float
    pack_s: float
    verify_s: float
    decode_s: float
    arriving_bytes: float
    kept_bytes: float
    index_bytes: float


def seconds_each(step: Callable[[bytes], object], files: list[bytes], rounds: int = 3) -> float:
    """Least processor seconds of a step a file."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        for file in files:
            step(file)
        taken.append((time.process_time() - start) / len(files))
    return min(taken)


def measure(photos: Path | None, count: int = 256) -> Rates:
    """Take a few hundred photos the whole way."""
    arriving = photographs(photos, ARRIVES_PX, count=count)
    kept = [as_small_jpeg(file, "photo", KEPT_PX)[0] for file in arriving]
    shrink = seconds_each(lambda file: as_small_jpeg(file, "photo", KEPT_PX), arriving)
    with tempfile.TemporaryDirectory() as name:
        pack, numbers = _pack_seconds(Path(name) / "pack", kept), itertools.count()
        folder = Path(name) / "shards"
        with ShardWriter(folder) as writer:
            for file in kept:
                writer.write(f"photo_{next(numbers):09d}", file, _metadata())
        start = time.process_time()
        verify(folder)
        check = (time.process_time() - start) / count
        stream = PhotoStream(Index.open(folder), None, TrainTransform(224))
        start = time.process_time()
        for sample in range(count):
            stream[sample]
        decode = (time.process_time() - start) / count
        index = sum((folder / f).stat().st_size for f in ("index.parquet", "manifest.parquet"))
        tars = sum(path.stat().st_size for path in folder.glob("*.tar"))
    arriving_bytes = sum(map(len, arriving)) / count
    return Rates(shrink, pack, check, decode, arriving_bytes, tars / count, index / count)


def report(rates: Rates) -> list[str]:
    """The table, in Markdown."""
    lines = [
        f"| | {' | '.join(f'{name}, {count:,} links' for name, count in SETS.items())} |",
        f"|---|{'---|' * len(SETS)}",
    ]
    rows: dict[str, Callable[[float], str]] = {
        f"photos, if {ALIVE:.0%} of the links live": lambda n: f"{n:,.0f}",
        "arriving": lambda n: _bytes(n * rates.arriving_bytes),
        f"on disk, {KEPT_PX} px": lambda n: _bytes(n * rates.kept_bytes),
        "index and manifest": lambda n: _bytes(n * rates.index_bytes),
        f"download at {CONNECTIONS} connections, {ANSWER_S:g} s an answer": lambda n: _hours(
            n / ALIVE * ANSWER_S / CONNECTIONS
        ),
        f"shrinking, {CORES} cores": lambda n: _hours(n * rates.shrink_s / CORES),
        f"packing, {CORES} cores": lambda n: _hours(n * rates.pack_s / CORES),
        f"verifying, {CORES} cores": lambda n: _hours(n * rates.verify_s / CORES),
        f"decoding an epoch, {CORES} cores": lambda n: _hours(n * rates.decode_s / CORES),
    }
    for title, value in rows.items():
        cells = " | ".join(value(count * ALIVE) for count in SETS.values())
        lines.append(f"| {title} | {cells} |")
    return lines


def main() -> None:
    """Print what was measured and what follows; write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos (default: synthetic ones)")
    parser.add_argument("--write", type=Path, help="also write it as Markdown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rates = measure(options.photos)
    kind = "real photos" if options.photos else "SYNTHETIC photos"
    measured = (
        f"Measured on one core with {kind}: shrinking {ARRIVES_PX} to {KEPT_PX} px "
        f"{rates.shrink_s * 1e3:.1f} ms, packing {rates.pack_s * 1e3:.2f} ms, verifying "
        f"{rates.verify_s * 1e3:.2f} ms, decoding with a training crop "
        f"{rates.decode_s * 1e3:.2f} ms; a photo arrives with {_bytes(rates.arriving_bytes)} and "
        f"is kept with {_bytes(rates.kept_bytes)}, {rates.index_bytes:.0f} bytes of index beside."
    )
    text = "\n".join(
        [
            "# What the large sets cost\n",
            f"Written by `python -m benchmarks.scale` on {datetime.date.today().isoformat()}; "
            "worked out, not run.\n",
            measured + "\n",
            f"Assumed: {ALIVE:.0%} of the links live, an answer takes {ANSWER_S:g} s, the line and "
            f"the servers bear {CONNECTIONS} connections, {CORES} cores as fast as this one.\n",
            *report(rates),
            "",
        ]
    )
    print(text)
    if options.write:
        with atomic_path(options.write) as temporary:
            temporary.write_text(text)


def _pack_seconds(folder: Path, files: list[bytes]) -> float:
    with OpenShard(folder / "shard.tar", TableRows()) as shard:
        numbers = itertools.count()
        return seconds_each(
            lambda file: shard.write(f"photo_{next(numbers):09d}", file, _metadata()), files
        ) + seconds_each(lambda file: hashlib.sha256(file).digest(), files)


def _metadata() -> dict[str, object]:
    return {"lat": 1.5, "lon": 2.5, "s3": [0.2, 0.3, 0.5], "author": "12345678@N00"}


def _bytes(number: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:,.0f} {unit}"
        number /= 1000
    return f"{number:,.2f} TB"


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 1:
        return f"{seconds / 60:,.0f} min"
    return f"{hours:,.1f} h" if hours < 72 else f"{hours / 24:,.1f} days"


if __name__ == "__main__":
    main()
