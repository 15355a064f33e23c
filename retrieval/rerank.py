"""Put the first answers of a search into a better order.

A method scores the first `top` answers of each query; they are sorted by it, the others stay where
they are. With `only_if_close` a query is asked again only where its first two answers are about as
near to it: re-ranking can hurt where the search was sure.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from retrieval.descriptor_cache import Engine
    from retrieval.nearest import Nearest
    from retrieval.testing.recall_report import Recalls

BEFORE = "before re-ranking"
VOTED = ("maj_voting", "crop_voting")  # test methods after which distances are not the order
FIELDS = {
    "rerank_model": "model",
    "rerank_top": "top",
    "rerank_only_if_close": "only_if_close",
    "rerank_warp": "warped",
}  # of RerankSettings, by their flags


def add_rerank_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of re-ranking to those of a test."""
    add = parser.add_argument
    add("--rerank", default="", choices=("", *METHODS), help="sort each query's first answers anew")
    add("--rerank_model", metavar="DIR", help="what `python -m retrieval.train_geowarp` wrote")
    # SUPPRESS: one that is given without --rerank must be told from one that is not.
    add(
        "--rerank_top", type=int, default=argparse.SUPPRESS,
        help=f"answers of each query that are sorted anew (default: {RerankSettings.top})",
    )  # fmt: skip
    add(
        "--rerank_only_if_close", type=float, metavar="MARGIN",
        help="only where the second answer's squared distance is less than this above the first's",
    )  # fmt: skip
    add(
        "--rerank_warp", default=argparse.SUPPRESS, choices=("maps", "photos"),
        help="geowarp: feature maps, or photos, which are described once more, as in its source "
        f"(default: {RerankSettings.warped})",
    )  # fmt: skip


def rerank_settings_of(options: dict[str, Any]) -> RerankSettings | None:
    """Settings of parsed flags, None without --rerank.

    Raises:
        ValueError: they do not go together.
    """
    given = {flag: options[flag] for flag in FIELDS if options.get(flag) is not None}
    if not options["rerank"]:
        if given:
            raise ValueError(f"these go with --rerank: {', '.join(f'--{flag}' for flag in given)}")
        return None
    if "rerank_model" not in given:
        raise ValueError(
            "--rerank needs --rerank_model, what `python -m retrieval.train_geowarp` wrote"
        )
    if "rerank_only_if_close" in given and options["test_method"] in VOTED:
        raise ValueError(
            f"--rerank_only_if_close asks how far apart the first two answers are, but those of "
            f"--test_method {options['test_method']} are in the order of a vote; leave one of them "
            "out"
        )
    settings = {FIELDS[flag]: value for flag, value in given.items()}
    return RerankSettings(options["rerank"], **settings | {"model": Path(given["rerank_model"])})


class Reranker(Protocol):
    """What scores candidates.

    Attributes:
        refused: Photos that could not be read, and why.
        not_warped: Pairs that were compared as they are.
    """

    refused: dict[str, str]
    not_warped: int

    def __call__(self, query: Path, candidates: Sequence[Path]) -> NDArray[np.float64]:
        """Scores `(K,)`, the more the better; NaN where a photo cannot be read."""
        ...


@dataclass(frozen=True)
class RerankSettings:
    """How to re-rank.

    Attributes:
        method: One of `METHODS`.
        model: Directory of the method's model.
        top: Answers of each query that are sorted anew.
        only_if_close: Only queries whose second answer's squared distance is less than this above
            their first's; None asks all.
        warped: GeoWarp: feature maps, or photos as in its source.
    """

    method: str
    model: Path
    top: int = 5
    only_if_close: float | None = None
    warped: str = "maps"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"--rerank must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.top < 2:
            raise ValueError(f"--rerank_top must be 2 or more, got {self.top}")
        if self.only_if_close is not None and not self.only_if_close >= 0:
            raise ValueError(f"--rerank_only_if_close must be 0 or more, got {self.only_if_close}")

    @property
    def words(self) -> list[str]:
        """What tells its results from others, for the name of a folder."""
        close = [] if self.only_if_close is None else [f"close{self.only_if_close:g}"]
        return [self.method, self.model.resolve().name, f"top{self.top}", *close, self.warped]


class Reranked(NamedTuple):
    """What came of it.

    Attributes:
        found: The answers in their new order, distances with them.
        asked: Queries that were asked again.
        changed: Queries whose first answer is another.
        not_warped: Pairs that were compared as they are.
        refused: Photos that could not be read, and why; they keep their places.
        seconds: What it took.
    """

    found: Nearest
    asked: int
    changed: int
    not_warped: int
    refused: dict[str, str]
    seconds: float

    def plain(self, settings: RerankSettings) -> dict[str, Any]:
        """For the report."""
        return {
            "method": settings.method,
            "model": str(settings.model),
            "top": settings.top,
            "only_if_close": settings.only_if_close,
            "warped": settings.warped,
            "queries_asked": self.asked,
            "first_answers_changed": self.changed,
            "pairs_not_warped": self.not_warped,
            "photos_unreadable": len(self.refused),
            "seconds": round(self.seconds, 2),
        }


def geowarp(settings: RerankSettings, engine: Engine) -> Reranker:
    """Models/geowarp.py on the model of `retrieval.train_geowarp`."""
    from models.warping.file import load_geowarp
    from retrieval.geowarp.reranker import GeoWarpReranker

    return GeoWarpReranker(load_geowarp(settings.model), engine, settings.warped)


METHODS: dict[str, Callable[[RerankSettings, Engine], Reranker]] = {"geowarp": geowarp}


def rerank(
    found: Nearest,
    database: Sequence[Path],
    queries: Sequence[Path],
    settings: RerankSettings,
    reranker: Reranker,
) -> Reranked:
    """Sort the first answers of each query by a method's scores.

    Args:
        found: Answers `(Q, K)`.
        database: Photos that its rows are of.
        queries: Photos.
        settings: How.
        reranker: As `METHODS` makes it.
    """
    from retrieval.bars import bar

    began = perf_counter()
    rows, distances = found.rows.copy(), found.distances.copy()
    asked = np.flatnonzero(is_asked(found, settings))
    with bar("re-ranking", len(asked)) as on_done:
        for query in asked.tolist():
            first = rows[query, : settings.top]
            first = first[first >= 0]
            scores = reranker(queries[query], [database[row] for row in first])
            order = order_by(scores)
            rows[query, : len(first)] = first[order]
            distances[query, : len(first)] = distances[query, : len(first)][order]
            on_done(1)
    changed = int((rows[:, 0] != found.rows[:, 0]).sum())
    return Reranked(
        found._replace(rows=rows, distances=distances), len(asked), changed, reranker.not_warped,
        reranker.refused, perf_counter() - began,
    )  # fmt: skip


def is_asked(found: Nearest, settings: RerankSettings) -> NDArray[np.bool_]:
    """Which queries are asked again, `(Q,)`: with two answers, and those close if it matters."""
    if found.rows.shape[1] < 2:
        return np.zeros(len(found.rows), bool)
    asked = found.rows[:, 1] >= 0
    if settings.only_if_close is None:
        return asked
    nearest, second = np.where(asked[:, None], found.distances[:, :2], 0).T
    return asked & (second - nearest < settings.only_if_close)


def order_by(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Best first; equal ones in their old order, NaN stay where they are."""
    order = np.arange(len(scores))
    known = np.flatnonzero(~np.isnan(scores))
    order[known] = known[np.argsort(-scores[known], kind="stable")]
    return order


def beside(before: Recalls, after: Recalls) -> Recalls:
    """One table of both: the rows after re-ranking as ever, each followed by that before it."""
    tables = {BEFORE: before.of_all}
    averages = {BEFORE: before.averages["all"]} if before.averages else {}
    for name, shares in after.by_condition.items():
        earlier = f"{name}, {BEFORE}"
        tables |= {name: shares, earlier: before.by_condition[name]}
        averages |= {earlier: before.averages[name]} if before.averages else {}
    return after._replace(by_condition=tables, averages={**after.averages, **averages})


def first_answers_compared(
    before: Nearest, after: Nearest, positives: Sequence[NDArray[np.int64]]
) -> str:
    """How R@1 changed, in words, with its paired interval."""
    from models.evaluation.paired_test import difference_interval, mcnemar

    asked = [query for query, right in enumerate(positives) if len(right)]
    were, are = (
        np.array([found.rows[query, 0] in positives[query] for query in asked])
        for found in (before, after)
    )
    lost, won = int((were & ~are).sum()), int((are & ~were).sum())
    low, high = difference_interval(lost, won, len(asked))
    return (
        f"R@1 {100 * (won - lost) / len(asked):+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]: "
        f"{won} queries won, {lost} lost of {len(asked)}, McNemar p {mcnemar(lost, won):.2g}"
    )
