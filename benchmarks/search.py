"""How fast is exact search inside one geocell of a million descriptors, on one core?

    python -m benchmarks.search [--rows 1000000]

Rows lie in Zipf-sized S2 cells (12,893 at a million, as many as fine cells of an MP-16 partition),
and a query asks for a cell as often as the cell is large. The vectors are synthetic: Gaussian noise
and a weak bias of each cell. Every way searches the same float16-rounded rows; truth is a float64
scan of the rows whose label is the cell, by a mask that knows nothing of slices. The ways:

- flat, then filter: faiss IndexFlatIP over all rows, 1000 deep, all queries in one call, matches of
  other cells thrown away;
- flat, id range: the same index with a selector of the cell's rows; it still walks all ids;
- slices: retrieval.search, one query a call, numpy alone;
- lists: retrieval.faiss_cells, all queries in one call.
"""

import argparse
import os
import resource
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

for _library in ("OMP", "OPENBLAS", "MKL"):  # read when numpy and faiss are loaded
    os.environ[f"{_library}_NUM_THREADS"] = "1"

import faiss  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from partitioning import s2  # noqa: E402
from retrieval.faiss_cells import FaissCells  # noqa: E402
from retrieval.gallery import Gallery  # noqa: E402
from retrieval.search import search  # noqa: E402

DIM = 256
K = 10
CELLS_PER_ROW = 12_893 / 1_000_000
CELL_BIAS = 0.25  # of the noise: rows of a cell are a little more alike than rows of two cells
ZIPF_EXPONENT = 0.75  # a query then sees about as many photos as in a fine cell of MP-16
FLAT_DEPTH = 1000
MODEL_SHA256 = "0" * 64


class World(NamedTuple):
    """A gallery, its cells, the cell number of every row, and queries with their cell numbers."""

    gallery: Gallery
    cells: NDArray[np.uint64]
    labels: NDArray[np.int64]
    queries: NDArray[np.float32]
    asked: NDArray[np.int64]


def make_world(num_rows: int, num_queries: int, seed: int) -> World:
    """Draw cells, their sizes, their rows and the queries."""
    rng = np.random.default_rng(seed)
    num_cells = max(1, round(num_rows * CELLS_PER_ROW))
    z = rng.uniform(-1, 1, 8 * num_cells)
    lat, lon = np.degrees(np.arcsin(z)), rng.uniform(-180, 180, len(z))
    cells = np.sort(rng.permutation(np.unique(s2.cell_ids(lat, lon, level=8)))[:num_cells])
    weights = np.arange(1, num_cells + 1) ** -ZIPF_EXPONENT
    sizes = 1 + rng.multinomial(num_rows - num_cells, rng.permutation(weights / weights.sum()))
    labels = np.repeat(np.arange(num_cells), sizes)
    span = (s2.range_max(cells) - s2.range_min(cells))[labels]
    offsets = (rng.random(num_rows) * span).astype(np.uint64) & ~np.uint64(1)
    lat, lon = s2.centers(s2.range_min(cells)[labels] + offsets)
    centres = CELL_BIAS * rng.standard_normal((num_cells, DIM), dtype=np.float32)
    rows = rng.standard_normal((num_rows, DIM), dtype=np.float32)
    for start in range(0, num_rows, 65536):
        rows[start : start + 65536] += centres[labels[start : start + 65536]]
    photos = [{"key": str(i)} for i in range(num_rows)]
    gallery = Gallery.in_memory(rows, lat, lon, photos, MODEL_SHA256)
    asked = labels[rng.integers(num_rows, size=num_queries)]
    queries = centres[asked] + rng.standard_normal((num_queries, DIM), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    # In S2 order the cells come in the order of their ids, and so do their labels.
    return World(gallery, cells, labels, queries, asked)


def find_truth(world: World, num_queries: int) -> list[set[int]]:
    """The k best rows of each query's cell by float64 scans under a mask."""
    truth = []
    for query, cell in zip(world.queries[:num_queries], world.asked, strict=False):
        rows = np.flatnonzero(world.labels == cell)
        scores = world.gallery.descriptors[rows].astype(np.float64) @ query.astype(np.float64)
        truth.append(set(rows[np.argsort(-scores)[:K]].tolist()))
    return truth


def flat_then_filter(world: World, index: faiss.Index, n: int) -> list[NDArray[np.int64]]:
    """Search everywhere, keep what lies in the cell."""
    _, found = index.search(world.queries[:n], FLAT_DEPTH)
    return [
        rows[world.labels[rows] == cell][:K] for rows, cell in zip(found, world.asked, strict=False)
    ]


def flat_id_range(world: World, index: faiss.Index, n: int) -> list[NDArray[np.int64]]:
    """Let faiss skip every row outside the cell."""
    # The type stubs know the C++ class, not the keywords its Python wrapper takes.
    parameters: Any = faiss.SearchParameters
    found = []
    for query, cell in zip(world.queries[:n], world.asked, strict=False):
        first, last = world.gallery.slices(world.cells[[cell]])[0].tolist()
        chosen = parameters(sel=faiss.IDSelectorRange(first, last, True))
        found.append(index.search(query[None], K, params=chosen)[1][0])
    return found


def slices(world: World, n: int) -> list[NDArray[np.int64]]:
    """Our search, one query a call."""
    return [
        search(world.gallery, query, K, world.cells[[cell]]).rows
        for query, cell in zip(world.queries[:n], world.asked, strict=False)
    ]


def measure(way: Callable[[int], list], n: int, truth: list[set[int]]) -> tuple[float, float]:
    """Queries a second (best of three) and recall@10 of a way that answers the first n queries."""
    way(min(n, 10))
    seconds = []
    for _ in range(3):
        start = perf_counter()
        found = way(n)
        seconds.append(perf_counter() - start)
    hits = sum(len(right & set(rows.tolist())) for right, rows in zip(truth, found, strict=False))
    return n / min(seconds), hits / sum(map(len, truth[:n]))


def main() -> None:
    """Build the world, time every way, print the table."""
    parser = argparse.ArgumentParser(
        description="Exact search inside one geocell against scanning all rows, on one core.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="descriptors in the gallery")
    parser.add_argument("--queries", type=int, default=5000, help="queries for the fast ways")
    parser.add_argument("--seed", type=int, default=0, help="of vectors, cells and queries")
    arguments = parser.parse_args()
    if arguments.rows < 1000 or arguments.queries < 100:
        parser.error("needs at least 1000 rows and 100 queries")
    console = Console()
    with console.status(f"making {arguments.rows:,} rows of {DIM} values"):
        world = make_world(arguments.rows, arguments.queries, arguments.seed)
    with console.status("finding the truth"):
        truth = find_truth(world, 1000)
    with console.status("building faiss's flat index"):
        index = faiss.IndexFlatIP(DIM)
        for start in range(0, arguments.rows, 65536):
            index.add(world.gallery.descriptors[start : start + 65536].astype(np.float32))
    before = perf_counter()
    lists = FaissCells(world.gallery, world.cells)
    build_s = perf_counter() - before
    ways: dict[str, tuple[Callable[[int], list], int]] = {
        "flat, then filter": (lambda n: flat_then_filter(world, index, n), 40),
        "flat, id range": (lambda n: flat_id_range(world, index, n), 100),
        "slices": (lambda n: slices(world, n), min(2000, arguments.queries)),
        "lists": (
            lambda n: list(lists.search(world.queries[:n], world.asked[:n], K).rows),
            arguments.queries,
        ),
    }
    _report(console, world, ways, truth)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    console.print(f"lists built in {build_s:.2f} s; peak memory {peak_gb:.1f} GB")


def _report(
    console: Console,
    world: World,
    ways: dict[str, tuple[Callable[[int], list], int]],
    truth: list[set[int]],
) -> None:
    seen = np.bincount(world.labels)[world.asked].mean()
    table = Table(
        title=f"{len(world.gallery):,} x {DIM} synthetic rows, {len(world.cells):,} cells, "
        f"{seen:,.0f} rows in a query's cell on average, one core"
    )
    for column in ("way", "queries/s", "ratio", "in-cell recall@10", "bytes a row"):
        table.add_column(column, justify="left" if column == "way" else "right")
    baseline = None
    for name, (way, n) in ways.items():
        with console.status(f"timing {name}"):
            rate, recall = measure(way, n, truth)
        baseline = baseline or rate
        size = DIM * (4 if name.startswith("flat") else 2)
        table.add_row(name, f"{rate:,.0f}", f"{rate / baseline:,.0f}x", f"{recall:.4f}", f"{size}")
    console.print(table)


if __name__ == "__main__":
    main()
