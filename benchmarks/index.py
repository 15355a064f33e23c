"""How long a folder of five million samples takes to open, and how much memory, against pandas.

    python -m benchmarks.index [--samples 5000000]

A synthetic index, with its manifest and shards that take no room on the disk. Each way is measured
in a process of its own, the file in the page cache: seconds from the call to the first key and the
first sample's place, by the clock and of the processor (all threads), and the peak of the process'
memory, with what its imports take, which is printed too. Beside it: what a forked worker takes of
its own after looking at samples all over. Goals: 2 s and 1 GB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.sharding.index_tables import INDEX, INDEX_SCHEMA, MANIFEST, MANIFEST_SCHEMA

IN_A_SHARD = 5000
ROUNDS = 3
READS = 20_000


def write(folder: Path, samples: int) -> None:
    """Write the tables, and shards of holes."""
    rng = np.random.default_rng(0)
    numbers = np.arange(samples)
    shards = [f"shard-{i:06d}.tar" for i in range(-(-samples // IN_A_SHARD))]
    lengths = {"jpg": rng.integers(8_000, 40_000, samples), "json": rng.integers(90, 300, samples)}
    lengths["seg"] = np.where(numbers % 3, rng.integers(900, 4_000, samples), -1)
    columns = {
        "key": pa.array(np.char.add("p", numbers.astype(str))),
        "shard": pa.array(shards).take(pa.array(numbers // IN_A_SHARD)),
        "lat": rng.uniform(-60, 70, samples),
        "lon": rng.uniform(-180, 180, samples),
        "scene": rng.integers(-1, 3, samples).astype(np.int8),
        "crc32": rng.integers(0, 2**32, samples).astype(np.uint32),
    }
    begin = numbers % IN_A_SHARD * 64_000
    for member, length in lengths.items():
        columns[f"{member}_offset"] = np.where(length < 0, -1, begin + 512)
        columns[f"{member}_length"] = length
        begin = begin + 512 + np.maximum(length, 0)
    pq.write_table(pa.table(columns, schema=INDEX_SCHEMA), folder / INDEX)
    size = IN_A_SHARD * 64_000
    for name in shards:
        with (folder / name).open("wb") as file:
            file.truncate(size)
    rows = {"shard": shards, "samples": [IN_A_SHARD] * len(shards), "bytes": [size] * len(shards)}
    rows["sha256"] = ["0" * 64] * len(shards)
    pq.write_table(pa.table(rows, schema=MANIFEST_SCHEMA), folder / MANIFEST)


def ours(folder: Path) -> Callable[[], object]:
    """Open the index and look at its last row."""
    from data.index import Index

    def step() -> object:
        index = Index.open(folder)
        return index.key(len(index) - 1), index.shard(len(index) - 1), index.lat[-1]

    return step


def naive(folder: Path) -> Callable[[], object]:
    """The whole table as pandas has it."""
    import pandas as pd

    def step() -> object:
        table = pd.read_parquet(folder / INDEX)
        return table["key"].iloc[-1], table["shard"].iloc[-1], table["lat"].iloc[-1]

    return step


WAYS = {"data.index": ours, "pandas": naive}


def memory_mb(name: str = "VmHWM") -> float:
    """This process' memory now (VmRSS), its peak (VmHWM) or its own alone (Private)."""
    file = "/proc/self/smaps_rollup" if name == "Private" else "/proc/self/status"
    lines = Path(file).read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def measure(way: str, folder: Path) -> None:
    """Measure one way in this process; print the figures as JSON."""
    step = WAYS[way](folder)
    before = memory_mb()
    start, start_processor = time.perf_counter(), time.process_time()
    step()
    taken = time.perf_counter() - start, time.process_time() - start_processor
    print(json.dumps([*taken, memory_mb(), before]))


def forked_mb(folder: Path) -> float:
    """What a forked process takes of its own once it has read samples all over the index."""
    from data.index import Index

    index = Index.open(folder)
    index.load_keys()
    reader, writer = os.pipe()
    if not os.fork():
        before = memory_mb("Private")
        for row in np.random.default_rng(0).integers(0, len(index), READS).tolist():
            index.key(row), index.lat[row], index._offsets[row].tolist()
        os.write(writer, str(memory_mb("Private") - before).encode())
        os._exit(0)
    os.wait()
    return float(os.read(reader, 100))


def main() -> None:
    """Print both ways, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=5_000_000, help="(default: 5000000)")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measure(options.way, options.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), options.samples)
        print(f"{options.samples:,} samples, {(Path(name) / INDEX).stat().st_size / 1e6:.0f} MB")
        best = {}
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.index", "--way", way, "--folder", name]
            answers = [subprocess.check_output(command) for _ in range(ROUNDS)]
            best[way] = min(json.loads(answer) for answer in answers)
            seconds, processor, peak, imports = best[way]
            print(
                f"{way:12} {seconds:5.2f} s by the clock, {processor:5.2f} of the processor, peak "
                f"{peak:5.0f} MB, imports {imports:.0f}"
                + "  (goals: 2 s, 1,000 MB)"
                * (way == "data.index")
            )
        times, memory = (best["pandas"][i] / best["data.index"][i] for i in (0, 2))
        print(f"{times:.1f}x as fast as pandas, {memory:.1f}x less memory")
        print(f"a forked worker adds {forked_mb(Path(name)):.0f} MB of its own")


if __name__ == "__main__":
    main()
