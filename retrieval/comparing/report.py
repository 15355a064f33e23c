"""The report of `retrieval.compare`: the thesis's table as Markdown and CSV, words, and a plot."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partitioning.atomic_file import atomic_path
from retrieval.comparing.methods import METHODS
from retrieval.comparing.runs import SPLITS
from retrieval.comparing.table import AVERAGE, RECALLS, Row, plain, seed_movement

NAME = "comparison"
COLUMNS = (*RECALLS, AVERAGE)


def write_report(
    out: Path, rows: list[Row], about: list[str], clock_minutes: float, repeats: str = ""
) -> str:
    """Write comparison.csv, .md and .png; return the Markdown.

    Args:
        out: Folder.
        rows: Of the table.
        about: Sentences on what was compared, above the table.
        clock_minutes: What all of it took by the clock.
        repeats: What comes last (retrieval/comparing/repeats.py).
    """
    cells = [plain(row) for row in rows]
    columns = list(dict.fromkeys(name for line in cells for name in line))
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    text = markdown(rows, about, clock_minutes) + (f"\n{repeats}" if repeats else "")
    for name, content in ((f"{NAME}.csv", table.getvalue()), (f"{NAME}.md", text)):
        with atomic_path(out / name) as temporary:
            temporary.write_text(content)
    run = [row for row in rows if not row.why_not]
    if run:
        draw(out / f"{NAME}.png", run, about[0])
    return text


def markdown(rows: list[Row], about: list[str], clock_minutes: float) -> str:
    """The report."""
    took = [
        f"What was run into this folder, the sets' making too, took {clock_minutes:.0f} minutes by "
        "the clock."
    ] * (clock_minutes > 0)
    words = [f"- {sentence}" for sentence in [*sentences(rows), *took]]
    parts = ["# Place recognition compared", "\n".join(about), main_table(rows), gain_table(rows)]
    return "\n\n".join([*parts, "\n".join(words)]) + "\n"


def main_table(rows: list[Row]) -> str:
    """Recalls in percent, on validation and test, and minutes."""
    heads = ["method", *(f"{split} {name}" for split in SPLITS for name in COLUMNS), "minutes"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        if row.why_not:
            cells = ["not run"] + [""] * (len(heads) - 3)
        else:
            cells = [f"{row.figures[s][k]['percent']:.1f}" for s in SPLITS for k in COLUMNS]
        lines.append([row.name, *cells, f"{row.minutes:.1f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gain_table(rows: list[Row]) -> str:
    """Gains over the bases with their intervals, and R@1 by condition."""
    words = sorted({word for row in rows for word in row.conditions})
    gains = [(split, name) for split in SPLITS for name in ("R@1", AVERAGE)]
    heads = ["method", "against", *(f"{s} {n}, points [95%]" for s, n in gains)]
    heads += [f"R@1 by {word}" for word in words]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        cells = [str(row.gains[s][n]) if row.gains else "" for s, n in gains]
        cells += [_of_condition(row, word) for word in words]
        lines.append([row.name, METHODS[row.name].base, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _of_condition(row: Row, word: str) -> str:
    share = row.conditions.get(word)
    return f"{share['percent']:.1f} [{share['low']:.1f}, {share['high']:.1f}]" if share else ""


def sentences(rows: list[Row]) -> list[str]:
    """What each row comes to, in words; first what was not run."""
    said = [f"{row.name}: NOT RUN: {row.why_not}." for row in rows if row.why_not]
    alone = [row for row in rows if not (row.why_not or row.gains) and METHODS[row.name].base]
    said += [
        f"{row.name}: {METHODS[row.name].base} has no figures to hold it against." for row in alone
    ]
    seed = seed_movement(rows)
    judged = [row for row in rows if row.gains]
    for row in judged:
        gain, average = (row.gains["test"][name] for name in ("R@1", AVERAGE))
        words = (
            f"{row.name} ({METHODS[row.name].about}) against {METHODS[row.name].base}, on "
            f"{row.queries['test']:,} queries of test: R@1 {gain} points: it {gain.verdict}; "
            f"{AVERAGE} {average}: it {average.verdict}"
        )
        if seed is not None and row.name != "another_seed" and abs(gain.points) <= seed[0]:
            trained = METHODS["another_seed"].base
            words += f"; another seed of {trained}'s training moves R@1 as far"
        said.append(f"{words}{'; ' + row.note if row.note else ''}.")
    if judged:
        said.append(
            f"Each interval is of a single comparison: of {2 * len(judged)}, about "
            f"{len(judged) / 10:.1f} lie beyond 0 by chance alone. One that holds 0 shows no "
            "difference that so many queries could tell from chance. They say what other queries "
            "would do; one training of each row was run."
        )
    return said


def draw(path: Path, rows: list[Row], title: str) -> None:
    """R@1 and R_avg on test with their intervals, and R@1's gain over the base."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(11, 1.6 + 0.4 * len(rows)), sharey=True, layout="constrained"
    )
    for offset, name, colour in ((-0.12, "R@1", "#1f5a99"), (0.12, AVERAGE, "#d08a2e")):
        shares = [row.figures["test"][name] for row in rows]
        places = [place + offset for place in range(len(rows))]
        _dots(left, places, [(s["percent"], s["low"], s["high"]) for s in shares], colour, name)
    judged = [(place, row.gains["test"]["R@1"]) for place, row in enumerate(rows) if row.gains]
    _dots(
        right, [float(place) for place, _ in judged], [gain for _, gain in judged], "#444444", "R@1"
    )
    right.axvline(0, color="#999999", linewidth=1)
    left.set_yticks(range(len(rows)), [_label(row) for row in rows])
    left.invert_yaxis()
    left.set_xlabel("recall on test, percent, with 95% intervals")
    right.set_xlabel("R@1 minus the base's, points, paired 95% intervals")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2)
    figure.suptitle(title, fontsize=10, wrap=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)


def _dots(
    axes: Any, places: list[float], found: Sequence[Sequence[float]], colour: str, label: str
) -> None:
    """Points with arms from (middle, low, high), one at each place."""
    if not found:
        return
    middle, low, high = (np.array(column) for column in zip(*found, strict=True))
    arms = [middle - low, high - middle]
    axes.errorbar(middle, places, xerr=arms, fmt="o", color=colour, capsize=3, label=label)


def _label(row: Row) -> str:
    base = METHODS[row.name].base
    return f"{row.name}\nagainst {base}" if base else row.name
