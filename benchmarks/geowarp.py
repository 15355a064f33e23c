"""How long does it take to re-rank five candidates, in passes of the backbone?

    python -m benchmarks.geowarp [--backbones resnet50:480x640 efficientnet_lite0:240x240]

Goal: 1.5x one pass of the backbone over one photo of the same size, on a CPU, the query's own pass
included. The candidates' feature maps are there, as they are once a query before has asked for them
(retrieval/geowarp/reranker.py keeps them). The alternative is the source's way: a query is encoded
anew with each candidate, and both warped photos of each pair once more, 20 passes. The regression
costs the same whatever the backbone (through models/warping/fourier_conv.py; the plain
convolutions' time stands beside it), so that a small one cannot reach the
goal; it stands in the table as it is. Weights are random: time does not depend on them.
"""

import argparse
import os
from collections.abc import Callable
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from models.geowarp import GeoWarp
from models.homography import warp
from models.places.local_features import build_extractor
from retrieval.geowarp.reranker import quick, scores_of_maps

CANDIDATES, REPEATS, GOAL = 5, 5, 1.5
BACKBONES = ("resnet50:480x640", "vit_base_patch16_224:224x224", "efficientnet_lite0:240x240")


def seconds_of(ways: list[Callable[[], object]], repeats: int = REPEATS) -> list[float]:
    """The fastest run of each, taken in turns so that a busy moment hits all."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for own, way in zip(times, ways, strict=True):
            began = perf_counter()
            way()
            own.append(perf_counter() - began)
    return [min(own) for own in times]


def sources_way(model: GeoWarp, query: Tensor, candidates: Tensor) -> Tensor:
    """Everything anew for each candidate; scores `(K,)`."""
    queries = query.expand_as(candidates)
    quads = model.quads(model.dense(queries), model.dense(candidates))
    sides = zip((queries, candidates), quads, strict=True)
    a, b = (model.dense(warp(photos, corners)) for photos, corners in sides)
    return (a * b).sum(dim=(1, 2, 3))


def measure(name: str, size: tuple[int, int]) -> tuple[str, ...]:
    """One row of the table."""
    model = GeoWarp(build_extractor(name, min(size), pretrained=False)).eval()
    query, candidates = torch.randn(1, 3, *size), torch.randn(CANDIDATES, 3, *size)
    kept, ours_model = model.maps(candidates), quick(model)
    correlations = torch.rand(2 * CANDIDATES, 225, 15, 15)
    forward, ours, regression, plain = seconds_of(
        [
            lambda: model.maps(query),
            lambda: scores_of_maps(ours_model, model.maps(query), kept),
            lambda: ours_model.regression(correlations),
            lambda: model.regression(correlations),
        ]
    )
    (theirs,) = seconds_of([lambda: sources_way(model, query, candidates)], repeats=2)
    ratio = ours / forward
    shown = [f"{1000 * t:.0f}" for t in (forward, regression, plain, ours, theirs)]
    return (
        f"{name} {size[0]}x{size[1]}", *shown, f"{ratio:.2f}x",
        "yes" if ratio <= GOAL else "no", f"{theirs / ours:.1f}x",
    )  # fmt: skip


def main() -> None:
    """Time every backbone and print the table."""
    parser = argparse.ArgumentParser(
        description="Re-ranking of five candidates in passes of the backbone.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, help="name:HEIGHTxWIDTH")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    table = Table(title=f"{CANDIDATES} candidates, one core; ms; goal {GOAL}x one pass")
    for column in ("backbone", "one pass", "regression", "plain", "re-ranking", "source's way",
                   "re-ranking / pass", "goal", "source's / ours"):  # fmt: skip
        table.add_column(column, justify="right")
    with torch.inference_mode():
        for entry in options.backbones:
            name, _, size = entry.partition(":")
            height, width = (int(side) for side in size.split("x"))
            table.add_row(*measure(name, (height, width)))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
