"""How models do by day and by night, and whether one does better than another: figures and words.

Recall comes with Wilson's interval. Models are compared on the same queries: the difference with
its paired bootstrap interval, and McNemar's exact test (models/evaluation/paired_test.py).
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.paired_test import Difference, compare
from partitioning.atomic_file import atomic_path
from retrieval.evaluate import Share, recall_of_ranks

FEW = 50  # queries; a share's interval is wider than 25 points below


class Row(NamedTuple):
    """One model in one condition.

    Attributes:
        model: Its name.
        condition: day, night or all.
        shares: k -> recall.
        differences: k -> it minus the first model; none of the first itself.
    """

    model: str
    condition: str
    shares: dict[int, Share]
    differences: dict[int, Difference]


def compare_by_condition(
    ranks: Mapping[str, NDArray[np.int64]], names: NDArray[np.str_], depths: Sequence[int]
) -> list[Row]:
    """Compare models with the first one.

    Args:
        ranks: Model -> rank of each query's first right answer `(Q,)`, from 0, -1 for none.
        names: `(Q,)`, each query's condition; "" counts among all only.
        depths: The k of R@k.

    Returns:
        A row for each model and condition that has a query, day, night, all.
    """
    rows = []
    first = next(iter(ranks))
    for condition in ("day", "night", "all"):
        chosen = np.full(len(names), True) if condition == "all" else names == condition
        if not chosen.any():
            continue
        for model, found in ranks.items():
            differences: dict[float, Difference] = {}
            if model != first:
                pair = (_places(ranks[first][chosen]), _places(found[chosen]))
                differences = compare(*pair, thresholds=depths)
            shares = recall_of_ranks(found[chosen], depths)
            rows.append(Row(model, condition, shares, {int(k): d for k, d in differences.items()}))
    return rows


def _places(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Ranks from 1; infinite where nothing was right."""
    return np.where(ranks >= 0, ranks + 1.0, np.inf)


def verdicts(rows: Sequence[Row], k: int) -> list[str]:
    """What may be said of each model, a sentence each."""
    first = rows[0].model
    said = []
    for row in rows:
        if row.condition == "all" or k not in row.differences:
            continue
        d = row.differences[k]
        points, low, high = 100 * (d.only_b - d.only_a) / d.photos, 100 * d.low, 100 * d.high
        figures = f"{points:+.1f} points [{low:+.1f}, {high:+.1f}], McNemar p {d.p:.2g}"
        if d.low > 0:
            judged = f"{row.model} finds more than {first}"
        elif d.high < 0:
            judged = f"{row.model} finds fewer than {first}"
        else:
            judged = f"no clear difference between {row.model} and {first}"
        few = " That is few queries." if d.photos < FEW else ""
        where = f"By {row.condition} ({d.photos:,} queries), R@{k}"
        said.append(f"{where}: {judged}: {figures}.{few}")
    return said


def markdown(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    depths = list(rows[0].shares)
    sentences = verdicts(rows, depths[0])
    gains = [f"R@{depths[0]} minus {rows[0].model}'s"] if sentences else []
    titles = ["queries", "model", "n", *(f"R@{k}" for k in depths), *gains]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in rows:
        shares = [
            f"{100 * s.share:.1f} [{100 * s.low:.1f}, {100 * s.high:.1f}]"
            for s in row.shares.values()
        ]
        gained = [_difference(row, depths[0])] if gains else []
        cells = [row.condition, row.model, f"{row.shares[depths[0]].n:,}", *shares, *gained]
        lines.append(f"| {' | '.join(cells)} |")
    notes = ["Percent, with 95% Wilson intervals."]
    if sentences:
        notes.append("Differences are in points, with 95% paired intervals.")
    if len(sentences) > 1:
        notes.append(f"Each p is of a single test; {len(sentences)} were made.")
    listed = [f"- {key}: {value}" for key, value in facts.items()]
    said = [f"- {sentence}" for sentence in sentences]
    return "\n".join([*lines, "", *said, *[""] * bool(said), *notes, "", *listed]) + "\n"


def _difference(row: Row, k: int) -> str:
    if k not in row.differences:
        return ""
    d = row.differences[k]
    points = 100 * (d.only_b - d.only_a) / d.photos
    return f"{points:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"


def write_night_report(directory: Path, rows: Sequence[Row], facts: Mapping[str, Any]) -> None:
    """Write night.md, night.csv and night.json."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    ends = ["difference", "difference_low", "difference_high", "mcnemar_p"]
    writer.writerow(["queries", "model", "k", "hits", "n", "percent", "low", "high", *ends])
    for row in rows:
        for k, share in row.shares.items():
            percents = share.percents()
            own = [f"{percents[end]:.3f}" for end in ("percent", "low", "high")]
            d = row.differences[k].plain() if k in row.differences else {}
            paired = [f"{d[end]:.4g}" for end in ("difference", "low", "high", "p") if d]
            cells = [row.condition, row.model, k, share.hits, share.n, *own]
            writer.writerow([*cells, *(paired or [""] * len(ends))])
    plain = {**facts, "rows": [_plain(row) for row in rows]}
    for name, text in (
        ("night.md", markdown(rows, facts)),
        ("night.csv", table.getvalue()),
        ("night.json", json.dumps(plain, indent=2) + "\n"),
    ):
        with atomic_path(directory / name) as temporary:
            temporary.write_text(text)


def _plain(row: Row) -> dict[str, Any]:
    return {
        "queries": row.condition,
        "model": row.model,
        "recalls": {f"R@{k}": share.percents() for k, share in row.shares.items()},
        "minus_first": {f"R@{k}": d.plain() for k, d in row.differences.items()},
    }
