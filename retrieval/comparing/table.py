"""The figures of `retrieval.compare`: a row's recalls, and its gain over its base with an interval.

Both rows answered the same queries, so a gain's 95% interval is of the paired bootstrap: queries
are drawn, each with both answers. It says what other queries would do, not what another training
would. A gain whose interval holds 0 is no gain that the queries could show.
"""

import csv
import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.places import read_places
from models.evaluation.intervals import bootstrap_interval
from models.evaluation.paired_test import difference_interval
from retrieval.comparing.methods import METHODS
from retrieval.comparing.runs import RESULT, SPLITS, Runs, minutes_of
from retrieval.rerank import BEFORE
from retrieval.testing.recall_report import AVERAGED, averaged_hits

RECALLS = tuple(f"R@{k}" for k in AVERAGED)
AVERAGE = "R_avg"


class Gain(NamedTuple):
    """A row minus its base, percentage points, with its 95% interval."""

    points: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What the row does: "helps", "hurts" or "shows no difference"."""
        if self.low > 0:
            return "helps"
        return "hurts" if self.high < 0 else "shows no difference"

    def __str__(self) -> str:
        return f"{self.points:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


class Row(NamedTuple):
    """A method's line of the table.

    Attributes:
        name: Of the method.
        figures: Split -> R@1 ... R_avg -> percent, low, high.
        conditions: Condition of test queries (day, night) -> their R@1, likewise.
        queries: Split -> queries that can be answered.
        gains: Split -> R@1 and R_avg -> over the base; empty without a base that ran.
        minutes: Of all its own commands.
        why_not: Why there are no figures; "" where there are.
        note: What else must be known.
    """

    name: str
    figures: dict[str, dict[str, dict[str, float]]] = {}  # noqa: RUF012  (nothing changes them)
    conditions: dict[str, dict[str, float]] = {}  # noqa: RUF012
    queries: dict[str, int] = {}  # noqa: RUF012
    gains: dict[str, dict[str, Gain]] = {}  # noqa: RUF012
    minutes: float = 0.0
    why_not: str = ""
    note: str = ""


def read_rows(runs: Runs, names: list[str], why_not: dict[str, str]) -> list[Row]:
    """Read what the tests wrote.

    Args:
        runs: Where.
        names: Of the rows.
        why_not: Of those that were not run.

    Raises:
        ValueError, OSError: a result is damaged, or two rows answered other queries.
    """
    ranks = {
        name: {split: ranks_of(runs, name, split) for split in SPLITS}
        for name in names
        if name not in why_not
    }
    return [
        Row(name, minutes=_minutes(runs, name), why_not=why_not[name])
        if name in why_not
        else _row(runs, name, ranks)
        for name in names
    ]


def ranks_of(runs: Runs, name: str, split: str) -> dict[str, int]:
    """Rank from 0 of the first right answer to each query that has one; -1 where none is right.

    Raises:
        ValueError: queries of one name, or an answer to a query that the set does not hold.
    """
    places = read_places(runs.data(name), split)
    names = [path.name for path in places.queries.paths]
    if len(set(names)) < len(names):
        raise ValueError(f"{runs.data(name)} {split}: queries share names; give each its own")
    ranks = dict.fromkeys(names, -1)
    path = runs.folder(name) / split / "predictions.csv"
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            if line["query"] not in ranks:
                raise ValueError(f"{path}: the set holds no query {line['query']}; remove {path}")
            if line["is_right"] == "1" and ranks[line["query"]] < 0:
                ranks[line["query"]] = int(line["rank"]) - 1
    counts = places.positives.counts
    return {query: ranks[query] for query, count in zip(names, counts, strict=True) if count}


def gains_of(base: dict[str, int], own: dict[str, int]) -> dict[str, Gain]:
    """A row's gain over its base in R@1 and R_avg.

    Args:
        base: Ranks of the base, as `ranks_of`.
        own: Of the row.

    Raises:
        ValueError: they did not answer the same queries.
    """
    if base.keys() != own.keys():
        raise ValueError(f"{len(base.keys() ^ own.keys())} queries were put to one row only")
    before, after = (np.array([ranks[query] for query in base]) for ranks in (base, own))
    was, right = before == 0, after == 0
    only_before, only_after = int((was & ~right).sum()), int((right & ~was).sum())
    low, high = difference_interval(only_before, only_after, len(was))
    first = Gain(100 * (only_after - only_before) / len(was), 100 * low, 100 * high)
    change = 100 * (averaged_hits(after) - averaged_hits(before))
    return {"R@1": first, AVERAGE: Gain(float(change.mean()), *bootstrap_interval(change, np.mean))}


def _row(runs: Runs, name: str, ranks: dict[str, dict[str, dict[str, int]]]) -> Row:
    base = METHODS[name].base
    held = {split: json.loads((runs.folder(name) / split / RESULT).read_text()) for split in SPLITS}
    figures = {
        split: {k: report["recalls"][k] for k in RECALLS} | {AVERAGE: report[AVERAGE]["all"]}
        for split, report in held.items()
    }
    gains = {s: gains_of(ranks[base][s], ranks[name][s]) for s in SPLITS} if base in ranks else {}
    return Row(
        name,
        figures,
        {
            word: shares["R@1"]
            for word, shares in held["test"]["by_condition"].items()
            if not word.endswith(BEFORE)
        },
        {split: len(ranks[name][split]) for split in SPLITS},
        gains,
        _minutes(runs, name),
        note=_note(runs, name),
    )


def _minutes(runs: Runs, name: str) -> float:
    return sum(minutes_of(runs.folder(name)).values())


def _note(runs: Runs, name: str) -> str:
    """Whether what the row is named after came to bear on the weights that were chosen."""
    if not METHODS[name].train:
        return ""
    origin = json.loads((runs.model(name) / "config.json").read_text())["origin"]
    chosen, reset = int(origin["best epoch"]), [int(e) for e in origin["reclustered after epochs"]]
    said = ["no epoch validated better than the untrained model, which stands here"] * (not chosen)
    if "dynetvlad" in METHODS[name].train and not reset:
        said.append("it never converged within its epochs, so it was never clustered anew")
    elif reset and chosen <= reset[0]:
        said.append(f"its weights are of epoch {chosen}, before it was clustered anew")
    elif reset:
        said.append(f"clustered anew after epoch {', '.join(map(str, reset))}")
    return "; ".join(said)


def plain(row: Row) -> dict[str, Any]:
    """A row for the CSV: plain types, one number a column."""
    cells: dict[str, Any] = {
        "method": row.name,
        "base": METHODS[row.name].base,
        "minutes": row.minutes,
    }
    for split, figures in row.figures.items():
        cells[f"{split} queries"] = row.queries[split]
        for name, share in figures.items():
            cells |= {f"{split} {name} {end}": share[end] for end in ("percent", "low", "high")}
        for name, gain in row.gains.get(split, {}).items():
            cells |= {f"{split} {name} gain {end}": v for end, v in gain._asdict().items()}
    cells |= {f"test {word} R@1 percent": s["percent"] for word, s in row.conditions.items()}
    return cells | {"not run": row.why_not, "note": row.note}


def seed_movement(rows: list[Row]) -> NDArray[np.float64] | None:
    """How far another seed moves R@1 and R_avg on test, points; None where it was not run."""
    for row in rows:
        if row.name == "another_seed" and row.gains:
            return np.abs([gain.points for gain in row.gains["test"].values()])
    return None
