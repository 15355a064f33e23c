"""What the study of panoramas found: study.csv with every setting, study.md, study.png."""

import csv
import json
from pathlib import Path
from typing import Any

from partitioning.atomic_file import atomic_path
from retrieval.panoramas.scores import TASKS, Cell, Mean
from retrieval.panoramas.views import KINDS, QUERY_HFOV_DEG

COLOURS = {"undistorted": "#0b6e4f", "plain": "#c8553d", "band": "#588bae"}
FEW = 20  # panoramas


def write_report(output: Path, cells: list[Cell], facts: dict[str, Any]) -> None:
    """Write the three files."""
    with (
        atomic_path(output / "study.csv") as temporary,
        temporary.open("w", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        names = ("recall", "margin", "gain")
        ends = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
        writer.writerow([*Cell._fields[:6], "overlap_deg", *ends])
        for cell in cells:
            values = [f"{v:.5f}" for name in names for v in getattr(cell, name)]
            writer.writerow([*cell[:6], f"{_overlap(cell):g}", *values])
    with atomic_path(output / "study.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")
    with atomic_path(output / "study.md") as temporary:
        temporary.write_text(markdown(cells, facts))
    draw(output / "study.png", cells)


def markdown(cells: list[Cell], facts: dict[str, Any]) -> str:
    """The study in words and tables."""
    lines = ["# Tiles of panoramas: field of view, overlap, undistortion", ""]
    lines += [f"- {key}: {value}" for key, value in facts.items()]
    for task in TASKS:
        own = [cell for cell in cells if cell.task == task]
        if not own:
            lines += ["", f"## {task}", "", "No panorama has a neighbour: not measured."]
            continue
        lines += ["", f"## {task}", "", _words(task, own[0]), ""]
        lines.append(
            "| tiles | field of view | overlap | kind | R@1 | margin | undistorted gains |"
        )
        lines.append("|---|---|---|---|---|---|---|")
        lines += [
            f"| {cell.tiles} | {cell.hfov_deg:g} | {_overlap(cell):g} | {cell.kind} | "
            f"{cell.recall} | {_thousandths(cell.margin)} | {_gain(cell)} |"
            for cell in own
        ]
    return "\n".join(lines) + "\n"


def draw(path: Path, cells: list[Cell]) -> None:
    """Draw the margins by field of view (most tiles) and by number of tiles (the query's width)."""
    from matplotlib.figure import Figure

    tasks = [task for task in TASKS if any(cell.task == task for cell in cells)]
    most = max(cell.tiles for cell in cells)
    width = min((cell.hfov_deg for cell in cells), key=lambda fov: abs(fov - 60))
    figure = Figure((9, 3.4 * len(tasks)), dpi=110, layout="constrained")
    grid = figure.subplots(len(tasks), 2, squeeze=False)
    for axes_of_task, task in zip(grid, tasks, strict=True):
        own = [cell for cell in cells if cell.task == task]
        by_fov = [(cell.hfov_deg, cell) for cell in own if cell.tiles == most]
        by_tiles = [(float(cell.tiles), cell) for cell in own if cell.hfov_deg == width]
        n = f"{own[0].panoramas} panoramas, {own[0].queries} queries"
        for axes, points, what in (
            (axes_of_task[0], by_fov, f"field of view of a tile, degrees ({most} tiles)"),
            (axes_of_task[1], by_tiles, f"tiles of a panorama ({width:g} degrees wide)"),
        ):
            _lines(axes, points)
            axes.set(xlabel=what, ylabel="margin (cosine)")
            axes.set_title(f"{task} panorama: {n}", fontsize=10)
            axes.set_xticks(sorted({x for x, _ in points}))
    grid[0, 0].legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _lines(axes: Any, points: list[tuple[float, Cell]]) -> None:
    """One line a kind, a little beside each other, with intervals where there are any."""
    span = max(x for x, _ in points) - min(x for x, _ in points) or 1.0
    for place, kind in enumerate(KINDS):
        own = [(x + (place - 1) * 0.012 * span, cell.margin) for x, cell in points
               if cell.kind == kind]  # fmt: skip
        below = [mean.value - mean.low for _, mean in own]
        above = [mean.high - mean.value for _, mean in own]
        x, y = [x for x, _ in own], [mean.value for _, mean in own]
        style = {"color": COLOURS[kind], "marker": "o", "markersize": 4, "capsize": 3}
        axes.errorbar(x, y, [below, above], label=kind, **style)
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.grid(alpha=0.25)


def _words(task: str, cell: Cell) -> str:
    asked = f"{cell.queries} queries of {cell.panoramas} panoramas"
    meaning = {
        "same": "The query comes from a panorama that is in the database: an upper bound, and best "
        f"by design for undistorted tiles as wide as the query, {QUERY_HFOV_DEG:g} degrees.",
        "next": "The query's own panorama is left out; right is a neighbour.",
    }[task]
    words = (
        f"{meaning} {asked}; 95% intervals resample the panoramas. The margin is the cosine of the "
        "best right tile less that of the best wrong one, in thousandths; what undistorted tiles "
        "gain is the difference of margins on the same queries, * where its interval leaves out "
        "0: of so many settings some do by chance."
    )
    if cell.panoramas < FEW:
        words += (
            f" With {cell.panoramas} panoramas this is an illustration, not evidence: settings "
            "whose intervals overlap cannot be told apart."
        )
    return words


def _thousandths(mean: Mean) -> str:
    return str(Mean(*(1000 * value for value in mean)))


def _gain(cell: Cell) -> str:
    """How much more undistorted tiles have; of few panoramas nobody can say that it is clear."""
    if cell.kind == KINDS[0]:
        return ""
    is_clear = cell.panoramas >= FEW and (cell.gain.low > 0 or cell.gain.high < 0)
    return f"{_thousandths(cell.gain)}{' *' if is_clear else ''}"


def _overlap(cell: Cell) -> float:
    return cell.hfov_deg - 360 / cell.tiles
