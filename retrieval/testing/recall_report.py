"""The report of a test: recalls with intervals and counts, as JSON, CSV and Markdown.

R_avg, the mean of R@1, R@5, R@10 and R@20, stands beside them, whether or not each of those was
asked for, wherever one of R@20 or deeper was; else the report says why it is missing.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.place_sets.names import PlaceName
from data.places import Photos
from partitioning.atomic_file import atomic_path
from retrieval.evaluate import Share, bootstrap_interval, first_hits, recall_of_ranks
from retrieval.night.conditions import COPIED, condition_of_note

AVERAGED = (1, 5, 10, 20)
MOST_CONDITIONS = 8  # words of notes; more are no conditions but remarks


class Average(NamedTuple):
    """R_avg with its 95% bootstrap interval over the queries; all in 0..1."""

    share: float
    low: float
    high: float

    def percents(self) -> dict[str, float]:
        """The same in percent, plain types."""
        return {
            "percent": 100 * self.share,
            "low": 100 * self.low,
            "high": 100 * self.high,
        }


class Recalls(NamedTuple):
    """Recalls of one run.

    Attributes:
        of_all: k -> share of the queries that have a positive.
        by_condition: Word of the queries' notes (day, night, SYNTHETIC night, ...) -> likewise.
        without_positive: Queries that nothing of the database can answer, left out above. The
            public benchmark counts them as missed: see `counted_as_missed`.
        queries: Number of all queries.
        averages: "all" or a condition -> R_avg; empty where no depth of 20 or more was asked for.
    """

    of_all: dict[int, Share]
    by_condition: dict[str, dict[int, Share]]
    without_positive: int
    queries: int
    averages: dict[str, Average] = {}  # noqa: RUF012  (a default that nothing changes)

    @property
    def why_no_average(self) -> str:
        """Why there is no R_avg; "" where there is."""
        if self.averages:
            return ""
        return (
            f"No R_avg, the mean of R@1, 5, 10 and 20: R@{max(self.of_all)} was the deepest asked "
            f"for; with {AVERAGED[-1]} or more among --recall_values it is there."
        )

    def counted_as_missed(self, k: int) -> float:
        """R@k in percent with every query in the denominator."""
        return 100 * self.of_all[k].hits / self.queries


def measure(
    rows: NDArray[np.int64],
    positives: Sequence[NDArray[np.int64]],
    depths: Sequence[int],
    queries: Photos | None = None,
) -> Recalls:
    """Count.

    Args:
        rows: Answers `(Q, K)`, -1 where there is none.
        positives: Right rows of each query.
        depths: The k of R@k.
        queries: For conditions; None leaves them out.

    Raises:
        ValueError: no query has a positive.
    """
    asked = np.array([i for i, right in enumerate(positives) if len(right)], np.int64)
    if not len(asked):
        raise ValueError("no query has a positive")
    ranks = first_hits(rows[asked], [positives[i] for i in asked])
    conditions = _conditions(queries)[asked] if queries else np.full(len(asked), "")
    names = sorted(set(conditions.tolist()))
    if len(names) > MOST_CONDITIONS or (len(names) == 1 and names != [COPIED]):
        names = []
    by_condition = {
        name or "no note": recall_of_ranks(ranks[conditions == name], depths) for name in names
    }
    averages = {}
    if max(depths) >= AVERAGED[-1]:
        averages = {name or "no note": average_of(ranks[conditions == name]) for name in names}
        averages |= {"all": average_of(ranks)}
    without = len(positives) - len(asked)
    return Recalls(recall_of_ranks(ranks, depths), by_condition, without, len(positives), averages)


def average_of(ranks: NDArray[np.int64]) -> Average:
    """Mean of R@1, R@5, R@10 and R@20 of queries' ranks `(N,)`, -1 = not found."""
    shares = averaged_hits(ranks)
    return Average(float(shares.mean()), *bootstrap_interval(shares, np.mean))


def averaged_hits(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each query `(N,)` the share of the four depths at which it is answered rightly."""
    hits = [(ranks >= 0) & (ranks < depth) for depth in AVERAGED]
    return np.mean(hits, axis=0, dtype=np.float64)


def write_report(directory: Path, recalls: Recalls, facts: dict[str, Any]) -> None:
    """Write recalls.json, recalls.csv and recalls.md.

    Args:
        directory: Made where it is missing.
        recalls: What was measured.
        facts: What it was measured with; plain types.
    """
    plain = {
        **facts,
        "queries": recalls.queries,
        "queries_without_positive": recalls.without_positive,
        "recalls": _plain(recalls.of_all),
        "by_condition": {name: _plain(shares) for name, shares in recalls.by_condition.items()},
        "R_avg": {name: average.percents() for name, average in recalls.averages.items()},
        "why_no_R_avg": recalls.why_no_average,
        "percent_of_all_queries": {k: recalls.counted_as_missed(k) for k in recalls.of_all},
    }
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["queries", "k", "hits", "n", "percent", "low", "high"])
    for name, shares in _tables(recalls):
        for k, share in shares.items():
            writer.writerow([name, k, *(_short(v) for v in share.percents().values())])
        if name in recalls.averages:
            average = recalls.averages[name].percents().values()
            writer.writerow([name, "avg", "", shares[min(shares)].n, *map(_short, average)])
    for name, text in (
        ("recalls.json", json.dumps(plain, indent=2) + "\n"),
        ("recalls.csv", table.getvalue()),
        ("recalls.md", markdown(recalls, facts)),
    ):
        with atomic_path(directory / name) as temporary:
            temporary.write_text(text)


def markdown(recalls: Recalls, facts: dict[str, Any]) -> str:
    """The report as Markdown."""
    depths = list(recalls.of_all)
    heads = ["queries", "n", *(f"R@{k}" for k in depths), *["R_avg"] * bool(recalls.averages)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, shares in _tables(recalls):
        shown: list[Any] = [*shares.values()]
        shown += [recalls.averages[name]] if name in recalls.averages else []
        cells = [f"{100 * s.share:.1f} [{100 * s.low:.1f}, {100 * s.high:.1f}]" for s in shown]
        lines.append(f"| {name} | {shares[depths[0]].n:,} | {' | '.join(cells)} |")
    notes = ["Percent, with 95% Wilson intervals."]
    if recalls.averages:
        notes = [f"{notes[0]} R_avg: the mean of R@1, 5, 10 and 20, with a bootstrap interval."]
    else:
        notes.append(recalls.why_no_average)
    if recalls.without_positive:
        all_queries = ", ".join(f"R@{k} {recalls.counted_as_missed(k):.1f}" for k in depths)
        notes.append(
            f"{recalls.without_positive:,} of {recalls.queries:,} queries have no positive and are "
            f"left out; counted as missed, as the public benchmark does: {all_queries}."
        )
    listed = [f"- {key}: {value}" for key, value in facts.items()]
    return "\n".join([*lines, "", *notes, "", *listed]) + "\n"


def _tables(recalls: Recalls) -> list[tuple[str, dict[int, Share]]]:
    return [("all", recalls.of_all), *recalls.by_condition.items()]


def _plain(shares: dict[int, Share]) -> dict[str, dict[str, Any]]:
    return {f"R@{k}": share.percents() for k, share in shares.items()}


def _short(value: Any) -> Any:
    return f"{value:.3f}" if isinstance(value, float) else value


def _conditions(queries: Photos) -> NDArray[np.str_]:
    notes = [PlaceName.parse(path.name).note for path in queries.paths]
    return np.array(
        [COPIED if condition_of_note(note) == COPIED else note.split("_")[0] for note in notes]
    )
