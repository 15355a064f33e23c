"""The day-and-night report as a page, a table and JSON; words keep to the intervals."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.evaluation.paired_test import Difference
from partitioning.atomic_file import atomic_path
from retrieval.night.comparison import Cost, Row

FEW = 50  # queries; a share's interval is wider than 25 points below
LEVEL = 0.05


def verdicts(rows: Sequence[Row], k: int) -> list[str]:
    """What may be said of each model, a sentence each."""
    first = rows[0].model
    said = []
    for row in rows:
        if row.condition == "all" or k not in row.differences:
            continue
        d = row.differences[k]
        judged = {
            1: f"{row.model} finds more than {first}",
            -1: f"{row.model} finds fewer than {first}",
            0: f"no clear difference between {row.model} and {first}",
        }[clear_sign(d)]
        where = f"By {row.condition} ({d.photos:,} queries), R@{k}"
        said.append(f"{where}: {judged}: {_figures(d)}.{_few(d)}")
    return said


def cost_verdicts(costs: Sequence[Cost], k: int) -> list[str]:
    """What may be said of what night costs each model, a sentence each."""
    said = []
    for cost in costs:
        d = cost.differences[k]
        judged = {
            1: f"{cost.model} finds more by SYNTHETIC night than by day",
            -1: f"{cost.model} finds fewer by SYNTHETIC night than by day",
            0: f"no clear difference between day and SYNTHETIC night for {cost.model}",
        }[clear_sign(d)]
        said.append(f"The same {d.photos:,} queries, R@{k}: {judged}: {_figures(d)}.{_few(d)}")
    return said


def clear_sign(d: Difference) -> int:
    """1 or -1 where interval and test agree that there is a difference, else 0.

    Of few queries the bootstrap's interval is too narrow, and the exact test alone says nothing of
    the size.
    """
    if d.p >= LEVEL or d.low <= 0 <= d.high:
        return 0
    return 1 if d.low > 0 else -1


def markdown(rows: Sequence[Row], facts: Mapping[str, Any], costs: Sequence[Cost] = ()) -> str:
    """The report as Markdown."""
    depths = list(rows[0].shares)
    sentences = verdicts(rows, depths[0])
    gains = [f"R@{depths[0]} minus {rows[0].model}'s"] if sentences else []
    lines = _head(["queries", "model", "n", *(f"R@{k}" for k in depths), *gains])
    for row in rows:
        shares = [
            f"{100 * s.share:.1f} [{100 * s.low:.1f}, {100 * s.high:.1f}]"
            for s in row.shares.values()
        ]
        gained = [_points(row.differences.get(depths[0]))] if gains else []
        cells = [row.condition, row.model, f"{row.shares[depths[0]].n:,}", *shares, *gained]
        lines.append(f"| {' | '.join(cells)} |")
    if costs:
        lines += ["", *_head(["by night minus by day", "n", *(f"R@{k}" for k in depths)])]
    for cost in costs:
        cells = [
            f"{cost.differences[depths[0]].photos:,}",
            *map(_points, cost.differences.values()),
        ]
        lines.append(f"| {' | '.join([cost.model, *cells])} |")
    sentences += cost_verdicts(costs, depths[0])
    notes = ["Percent, with 95% Wilson intervals."]
    if sentences:
        notes.append("Differences are in points, with 95% paired intervals.")
    if len(sentences) > 1:
        notes.append(f"Each p is of a single test; {len(sentences)} were made.")
    listed = [f"- {key}: {value}" for key, value in facts.items()]
    said = [f"- {sentence}" for sentence in sentences]
    return "\n".join([*lines, "", *said, *[""] * bool(said), *notes, "", *listed]) + "\n"


def write_night_report(
    directory: Path, rows: Sequence[Row], facts: Mapping[str, Any], costs: Sequence[Cost] = ()
) -> None:
    """Write night.md, night.csv and night.json."""
    plain = {**facts, "rows": [_plain(row) for row in rows]}
    if costs:
        plain["night_minus_day"] = {c.model: _recalls(c.differences) for c in costs}
    for name, text in (
        ("night.md", markdown(rows, facts, costs)),
        ("night.csv", _table(rows)),
        ("night.json", json.dumps(plain, indent=2) + "\n"),
    ):
        with atomic_path(directory / name) as temporary:
            temporary.write_text(text)


def _table(rows: Sequence[Row]) -> str:
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
    return table.getvalue()


def _head(titles: list[str]) -> list[str]:
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]


def _points(d: Difference | None) -> str:
    if d is None:
        return ""
    points = 100 * (d.only_b - d.only_a) / d.photos
    return f"{points:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"


def _figures(d: Difference) -> str:
    points = 100 * (d.only_b - d.only_a) / d.photos
    return f"{points:+.1f} points [{100 * d.low:+.1f}, {100 * d.high:+.1f}], McNemar p {d.p:.2g}"


def _few(d: Difference) -> str:
    return " That is few queries." if d.photos < FEW else ""


def _recalls(differences: Mapping[int, Difference]) -> dict[str, Any]:
    return {f"R@{k}": d.plain() for k, d in differences.items()}


def _plain(row: Row) -> dict[str, Any]:
    return {
        "queries": row.condition,
        "model": row.model,
        "recalls": {f"R@{k}": share.percents() for k, share in row.shares.items()},
        "minus_first": _recalls(row.differences),
    }
