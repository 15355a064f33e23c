"""Train and test a grid of settings: one table, one plot.

    python -m retrieval.ablate --data DIR --out DIR --grid lr=1e-5,1e-4 aggregation=gem,netvlad

Each cell of the grid is a run of `retrieval.train` in a folder of its own, tested as by
`retrieval.test` on --split; every other flag of training holds for all cells. A finished cell is
not run again, a cell that was stopped goes on where it was. What comes out: ablation.csv,
ablation.md, ablation.png.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from partitioning.atomic_file import atomic_path
from retrieval.training.recipe import PlaceRecipe, recipe_of
from retrieval.training.recipes import add_recipe_flags

RESULT = "result.json"
NOT_IN_A_GRID = ("recipe", "data", "out", "resume", "fast")
SHOWN = ("R@1", "R@5", "R@10", "R@20")
Cell = dict[str, Any]


def read_grid(parts: list[str]) -> dict[str, list[Any]]:
    """Read `name=value,value`; a value of several numbers is joined by x: img_size=96x128,224.

    Raises:
        ValueError: not of that form, an unknown setting, a value of the wrong kind, or one twice.
    """
    known = {entry.name: entry for entry in fields(PlaceRecipe) if entry.name not in NOT_IN_A_GRID}
    grid: dict[str, list[Any]] = {}
    for part in parts:
        name, separator, values = part.partition("=")
        if not separator or not values:
            raise ValueError(f"--grid {part!r} is not of the form name=value,value")
        if name not in known or name in grid:
            what = "is there twice" if name in grid else f"is none of {', '.join(known)}"
            raise ValueError(f"--grid {part!r}: {name} {what}")
        grid[name] = [_value(known[name], text) for text in values.split(",")]
        if len(set(grid[name])) < len(grid[name]):
            raise ValueError(f"--grid {part!r}: a value is there twice")
    return grid


def cells_of(grid: dict[str, list[Any]]) -> list[Cell]:
    """All combinations, the last setting changing fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def name_of(cell: Cell) -> str:
    """A folder's name that says the cell's values."""
    return "_".join(f"{name}-{_text(value)}" for name, value in cell.items())


def run_cell(recipe: PlaceRecipe, cell: Cell, out: Path, split: str) -> dict[str, Any]:
    """Train and test one cell, or read what it gave.

    Raises:
        ValueError, OSError: as training and testing; or the finished cell had other settings.
    """
    folder = out / name_of(cell)
    recipe = replace(recipe, **cell, out=str(folder), resume=False)
    wanted = json.loads(json.dumps({"settings": recipe.binding, "split": split}))
    finished = folder / RESULT
    if finished.is_file():
        result = json.loads(finished.read_text())
        if {name: result[name] for name in wanted} != wanted:
            raise ValueError(f"{folder} was made with other settings; take another --out")
        return result
    result = {"cell": cell, **wanted, **_train_and_test(recipe, folder, split)}
    with atomic_path(finished) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n")
    return json.loads(json.dumps(result))


def _train_and_test(recipe: PlaceRecipe, folder: Path, split: str) -> dict[str, Any]:
    from models.training.checkpoint import checkpoints_in
    from retrieval.testing.evaluation import Job, evaluate
    from retrieval.testing.place_search import SearchSettings
    from retrieval.train import engine_of, train

    resumes = bool(checkpoints_in(folder / "checkpoints"))
    model = train(replace(recipe, resume=resumes))
    assert model is not None
    job = Job(
        Path(recipe.data), folder / split, split, radius_m=recipe.val_positives_dist_threshold
    )
    recalls = evaluate(model, job, SearchSettings(), engine_of(recipe)).recalls
    assert recalls is not None
    figures = {f"R@{k}": share.percents() for k, share in recalls.of_all.items()}
    return {"recalls": figures, "chosen": model.origin["chosen weights"]}


def write_tables(out: Path, results: list[dict[str, Any]]) -> None:
    """Write ablation.csv and ablation.md."""
    names = list(results[0]["cell"])
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    ends = [f"{k} {end}" for k in SHOWN for end in ("percent", "low", "high")]
    writer.writerow([*names, "queries", *ends])
    lines = [f"| {' | '.join([*names, *SHOWN])} |", "|---" * (len(names) + len(SHOWN)) + "|"]
    for result in results:
        values = [_text(result["cell"][name]) for name in names]
        shares = [result["recalls"][k] for k in SHOWN]
        numbers = [f"{s[end]:.2f}" for s in shares for end in ("percent", "low", "high")]
        writer.writerow([*values, shares[0]["n"], *numbers])
        cells = [f"{s['percent']:.1f} [{s['low']:.1f}, {s['high']:.1f}]" for s in shares]
        lines.append(f"| {' | '.join([*values, *cells])} |")
    note = f"Percent of {results[0]['recalls']['R@1']['n']:,} queries, 95% Wilson intervals."
    for name, text in (
        ("ablation.csv", table.getvalue()),
        ("ablation.md", "\n".join([*lines, "", note]) + "\n"),
    ):
        with atomic_path(out / name) as temporary:
            temporary.write_text(text)


def draw_plot(out: Path, results: list[dict[str, Any]]) -> None:
    """Write ablation.png: R@1 and R@5 of each cell with their intervals."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    labels = [", ".join(f"{n} {_text(v)}" for n, v in r["cell"].items()) for r in results]
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.45 * len(results)), layout="constrained")
    for offset, (k, colour) in zip(
        (-0.12, 0.12), (("R@1", "#1f5a99"), ("R@5", "#d08a2e")), strict=True
    ):
        shares = [result["recalls"][k] for result in results]
        middle = [share["percent"] for share in shares]
        arms = [
            [s["percent"] - s["low"] for s in shares],
            [s["high"] - s["percent"] for s in shares],
        ]
        rows = [row + offset for row in range(len(results))]
        axes.errorbar(middle, rows, xerr=arms, fmt="o", color=colour, capsize=3, label=k)
    axes.set_yticks(range(len(results)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("recall, percent, with 95% intervals")
    axes.legend()
    with atomic_path(out / "ablation.png") as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)


def _value(entry: Any, text: str) -> Any:
    default, choices = entry.default, entry.metadata["choices"]
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, tuple):
            return tuple(int(part) for part in text.split("x"))
        value = type(default)(text)
    except (ValueError, KeyError):
        raise ValueError(f"--grid {entry.name}: {text!r} is no {type(default).__name__}") from None
    if choices and value not in choices:
        raise ValueError(f"--grid {entry.name}: {text!r} is none of {', '.join(choices)}")
    return value


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Run the grid from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.ablate",
        description="Train and test a grid of settings: one table, one plot.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add_recipe_flags(parser, arguments)
    parser.add_argument(
        "--grid", nargs="+", required=True, metavar="NAME=V,V", help="settings and their values"
    )
    parser.add_argument("--split", default="test", choices=("val", "test"), help="to test on")
    options = vars(parser.parse_args(arguments))
    recipe = recipe_of(parser, options)
    if not (recipe.data and recipe.out):
        parser.error("--data and --out are needed")
    out, results = Path(recipe.out), []
    try:
        cells = cells_of(read_grid(options["grid"]))
        for number, cell in enumerate(cells, 1):
            sys.stderr.write(f"cell {number} of {len(cells)}: {name_of(cell)}\n")
            results.append(run_cell(recipe, cell, out, options["split"]))
            write_tables(out, results)
        draw_plot(out, results)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write((out / "ablation.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
