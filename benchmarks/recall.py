"""Is testing and mining of place recognition as fast as its parts?

    python -m benchmarks.recall [--rows 1000000 --queries 10000]

Each line names its alternative, timed in the same run on the same data:

- search: `retrieval.nearest` over a memory-mapped float16 file, against a plain script that loads
  all rows as float32 into faiss.IndexFlatL2; goal: not slower than 1.2x, with 10,000 queries x
  1,000,000 rows below 2 GB of descriptors in memory (peaks are of processes of their own);
- k-means of 100,000 local features, against faiss.Kmeans alone; goal 1.2x;
- mining (partial, and full with its pools) on 100,000 descriptors, against faiss's exact search of
  the same queries in the same 100,000; goal 1.2x;
- cache refresh: `retrieval.descriptor_cache.describe` from files, against the network alone on
  tensors that are ready; goal 90%.

Vectors are random, photos noise: speed does not depend on what they show.
"""

import argparse
import multiprocessing
import resource
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import faiss
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from data.place_sets.photos import PlacePhotos
from data.places import Photos, Places
from models.places.embedder import Embedder, EmbedderSettings
from retrieval.descriptor_cache import Engine, describe, normal
from retrieval.nearest import nearest
from retrieval.training.clustering import ITERATIONS, cluster
from retrieval.training.mining import Miner, MiningSettings

K, CLUSTERS = 20, 64
MINED = 100_000
TOWN_M = 20_000.0  # edge of the square that the mined photos lie in


def seconds_of(run: Callable[[], Any], repeats: int = 3) -> float:
    """The fastest of some runs."""
    times = []
    for _ in range(repeats):
        began = perf_counter()
        run()
        times.append(perf_counter() - began)
    return min(times)


def unit_rows(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Random vectors of length 1."""
    rows = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_rows(path: Path, count: int, dim: int) -> None:
    """A float16 file of rows, written in parts."""
    out = np.lib.format.open_memmap(path, "w+", np.float16, (count, dim))
    for start in range(0, count, 65_536):
        out[start : start + 65_536] = unit_rows(min(65_536, count - start), dim, start)
    out.flush()


def search_ours(path: Path, queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """Ours: chunks of a memory map."""
    return nearest(queries, np.load(path, mmap_mode="r"), K).rows


def search_plainly(path: Path, queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """The plain script: everything into memory, one index."""
    rows = np.load(path).astype(np.float32)
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows)
    return index.search(queries, K)[1]


def _measured(way: Any, path: Path, queries: NDArray[np.float32], answers: Any) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = perf_counter()
    found = way(path, queries)
    taken = perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    answers.put((taken, peak / 2**20, found))


def in_own_process(way: Any, path: Path, queries: NDArray[np.float32]) -> tuple[float, float, Any]:
    """Seconds, GB beyond what the process had before, and answers."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_measured, args=(way, path, queries, answers))
    process.start()
    result = answers.get()
    process.join()
    return result


def compare_search(table: Table, rows: int, num_queries: int, dim: int) -> None:
    """Search against a plain flat index."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, rows, dim)
        queries = unit_rows(num_queries, dim, 1_000_000_007)
        ours, plain = (in_own_process(way, path, queries) for way in (search_ours, search_plainly))
    same = (ours[2] == plain[2]).mean()
    add_row(table, f"search {num_queries:,} x {rows:,} x {dim}", "flat faiss", ours[0], plain[0])
    # The system's cache of the mapped file counts as resident; it gives way when memory is short.
    table.add_row("  memory, GB", "", f"{ours[1]:.2f}", f"{plain[1]:.2f}", "", f"{same:.2%} same")


def compare_kmeans(table: Table, dim: int) -> None:
    """K-means against faiss's class alone."""
    features = unit_rows(MINED, dim, 0)

    def alone() -> None:
        options = {"min_points_per_centroid": 1, "max_points_per_centroid": MINED}
        faiss.Kmeans(dim, CLUSTERS, niter=ITERATIONS, seed=0, **options).train(features)

    ours, theirs = seconds_of(lambda: cluster(features, CLUSTERS), 1), seconds_of(alone, 1)
    add_row(table, f"k-means {MINED:,} x {dim}", "faiss.Kmeans", ours, theirs)


def compare_mining(table: Table, dim: int, num_queries: int = 1000) -> None:
    """Mining from descriptors that are there, against exact search of all of them."""
    random = np.random.default_rng(0)
    database_m = random.uniform(0, TOWN_M, (MINED, 2))
    queries_m = database_m[random.permutation(MINED)[:num_queries]] + random.uniform(-5, 5, 2)
    database, queries = unit_rows(MINED, dim, 2), unit_rows(num_queries, dim, 3)
    places = Places.of(_photos(database_m), _photos(queries_m), 10)
    index = faiss.IndexFlatIP(dim)
    index.add(database)
    theirs = seconds_of(lambda: index.search(queries, K))
    for method in ("partial", "full"):
        miner = Miner(places, MiningSettings(method, num_queries))
        describers = (partial(np.take, rows, axis=0) for rows in (queries, database))
        ours = seconds_of(partial(miner.mine, *describers))
        add_row(table, f"mining, {method}, {MINED:,} x {dim}", "flat faiss", ours, theirs)


def compare_refresh(table: Table, photos: int) -> None:
    """Cache refresh against the network alone."""
    embedder = Embedder(EmbedderSettings(), pretrained=False).eval()
    random, engine = np.random.default_rng(0), Engine()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.jpg" for number in range(photos)]
        for path in paths:
            small = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            path.write_bytes(simplejpeg.encode_jpeg(small.repeat(12, 0).repeat(12, 1)))
        pictures = PlacePhotos(paths, (224, 224))
        ready = [normal(p, embedder, engine.device) for _, p in pictures.batches(range(photos), 32)]

        def forward() -> None:
            with torch.inference_mode():
                for batch in ready:
                    embedder(batch)

        ours = seconds_of(lambda: describe(embedder, pictures, engine=engine), 2)
    add_row(table, f"cache refresh, {photos} photos", "forward alone", ours, seconds_of(forward, 2))


def add_row(table: Table, what: str, alternative: str, ours: float, theirs: float) -> None:
    """One comparison; the ratio is of times, below 1 where ours is faster."""
    cells = (f"{ours:.3f}", f"{theirs:.3f}", f"{ours / theirs:.2f}x", f"{theirs / ours:.0%}")
    table.add_row(what, alternative, *cells)


def _photos(utm_m: NDArray[np.float64]) -> Photos:
    return Photos([Path()] * len(utm_m), utm_m, np.zeros(len(utm_m), np.int64))


def main() -> None:
    """Run all comparisons and print the table."""
    parser = argparse.ArgumentParser(
        description="Testing and mining of place recognition against their parts.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=200_000, help="descriptors to search")
    parser.add_argument("--queries", type=int, default=1000, help="to search for")
    parser.add_argument("--dim", type=int, default=256, help="of the descriptors")
    parser.add_argument("--photos", type=int, default=128, help="of the cache refresh")
    options = parser.parse_args()
    table = Table(title=f"{torch.get_num_threads()} threads; seconds, ratio of times, speed")
    for column in ("what", "alternative", "ours", "alternative", "ratio", "speed"):
        table.add_column(column)
    compare_search(table, options.rows, options.queries, options.dim)
    compare_kmeans(table, 128)
    compare_mining(table, options.dim)
    compare_refresh(table, options.photos)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
