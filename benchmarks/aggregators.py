"""Is each aggregator as fast as the cheapest way to write its formula in torch?

    python -m benchmarks.aggregators [--width 512 --side 30]

Maps are those of a photo of 480 px cut at 1/16: 512 x 30 x 30. Goal: within 1.1x, forward. Work is
stated in millions of floating-point operations a photo, from the formula (a multiplication and an
addition are two; a power counts as one). The alternatives below are written for speed alone, give
the same numbers (checked in the run) and share the aggregator's weights.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from models.aggregators import TOKEN_AGGREGATORS, build_aggregator
from models.aggregators.context_reweighting import FILTERS
from models.aggregators.regional_max import squares

Runs = list[Callable[[], Tensor]]
CLUSTERS, BATCH, REPEATS = 64, 4, 9
EPS = 1e-6


def mac(a: Any, x: Tensor) -> Tensor:
    """Maximum over a flat map."""
    return x.flatten(2).amax(2)


def spoc(a: Any, x: Tensor) -> Tensor:
    """Mean over a flat map."""
    return x.flatten(2).mean(2)


def gem(a: Any, x: Tensor) -> Tensor:
    """Powers by logarithms, in place."""
    p = a.pool.p
    return x.flatten(2).clamp(min=EPS).log_().mul_(p).exp_().mean(2).pow(1 / p)


def rmac(a: Any, x: Tensor) -> Tensor:
    """One list of maxima, normalised together."""
    boxes = squares(x.shape[2], x.shape[3], a.scales, a.overlap)
    maxima = [x.amax((2, 3))]
    maxima += [x[:, :, t : t + s, c : c + s].amax((2, 3)) for t, c, s in boxes]
    return functional.normalize(torch.stack(maxima), dim=2).sum(0)


def netvlad(a: Any, x: Tensor) -> Tensor:
    """Two batched products over flat maps."""
    return _vlad(a, functional.normalize(x.flatten(2), dim=1), None)


def crn(a: Any, x: Tensor) -> Tensor:
    """Likewise, with the context's weights."""
    units = functional.normalize(x, dim=1)
    return _vlad(a, units.flatten(2), a.context(units).flatten(2))


def _vlad(a: Any, flat: Tensor, factor: Tensor | None) -> Tensor:
    soft = torch.matmul(a.conv.weight[:, :, 0, 0], flat).softmax(1)
    soft = soft if factor is None else soft * factor
    sums = torch.bmm(soft, flat.transpose(1, 2)).sub_(soft.sum(2, keepdim=True) * a.centroids)
    return functional.normalize(functional.normalize(sums, dim=2).flatten(1), dim=1)


def rrm(a: Any, x: Tensor) -> Tensor:
    """Functions in place of modules."""
    width = x.shape[1:2]
    mean = functional.layer_norm(x.flatten(2).mean(2), width, a.norm_in.weight, a.norm_in.bias)
    inner = functional.linear(mean, a.inner.weight, a.inner.bias).relu_()
    outer = functional.linear(inner, a.outer.weight, a.outer.bias).add_(mean)
    return functional.layer_norm(outer, width, a.norm_out.weight, a.norm_out.bias)


def cls(a: Any, x: Tensor) -> Tensor:
    """The token."""
    return x[:, 0]


def seqpool(a: Any, x: Tensor) -> Tensor:
    """Two products."""
    scores = torch.matmul(x, a.score.weight[0]) + a.score.bias
    return torch.bmm(scores.softmax(1)[:, None], x)[:, 0]


WAYS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    way.__name__: way for way in (mac, spoc, gem, rmac, netvlad, crn, rrm, cls, seqpool)
}


def work(name: str, d: int, side: int) -> float:
    """Floating-point operations of one photo, from the formula."""
    n, k = side * side, CLUSTERS
    boxes = [(0, 0, side), *squares(side, side)]
    half = (side // 2) ** 2
    vlad = 3 * d * n + 2 * k * d * n + 3 * k * n + 2 * k * d * n + 5 * k * d
    context = half * (
        sum(2 * d * f * s * s for s, f in FILTERS.items()) + 2 * sum(FILTERS.values())
    )
    return {
        "mac": d * n,
        "spoc": d * n,
        "gem": 3 * d * n,
        "rmac": sum(d * s * s + 4 * d for _, _, s in boxes),
        "netvlad": vlad,
        "crn": vlad + context,
        "rrm": d * n + 4 * d * d + 12 * d,
        "cls": 0,
        "seqpool": 4 * d * n + 3 * n,
    }[name]


def seconds_of(ways: Runs) -> list[float]:
    """The fastest run of each, taken in turns so that a busy moment hits all."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(REPEATS):
        for own, way in zip(times, ways, strict=True):
            began = perf_counter()
            way()
            own.append(perf_counter() - began)
    return [min(own) for own in times]


def main() -> None:
    """Time every aggregator and print the table."""
    parser = argparse.ArgumentParser(
        description="Aggregators against the cheapest way to write them in torch.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--width", type=int, default=512, help="channels of the maps")
    parser.add_argument("--side", type=int, default=30, help="of the maps")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    table = Table(title=f"{BATCH} photos, one core; ms a photo; goal 1.1x")
    for column in ("aggregator", "MFLOP", "ours", "cheapest", "ratio", "largest difference"):
        table.add_column(column, justify="right")
    maps = torch.randn(BATCH, options.width, options.side, options.side).relu()
    for name, way in WAYS.items():
        module = build_aggregator(name, options.width, CLUSTERS).eval()
        x = maps.flatten(2).transpose(1, 2).contiguous() if name in TOKEN_AGGREGATORS else maps
        with torch.inference_mode():
            difference = float((module(x) - way(module, x)).abs().max())
            assert difference < 1e-4, f"{name}: the alternative gives other numbers"
            runs: Runs = [partial(module, x), partial(way, module, x)]
            ours, theirs = (1000 * seconds / BATCH for seconds in seconds_of(runs))
        cells = (f"{ours:.3f}", f"{theirs:.3f}", f"{ours / theirs:.2f}x", f"{difference:.0e}")
        table.add_row(name, f"{work(name, options.width, options.side) / 1e6:.1f}", *cells)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
