"""Rows of a comparison beside the same rows trained again: what chance in training does to gains.

The intervals of one study say what other queries would do. What another training would do, only
another training says: `--train_flags="--seed 1"` into another folder, then `--beside` that folder.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from retrieval.comparing.methods import METHODS
from retrieval.comparing.runs import SPLITS
from retrieval.comparing.table import Row

TABLE, STUDY = "comparison.csv", "study.json"
FIGURE = "R@1"


class Repeat(NamedTuple):
    """Another study of the same rows.

    Attributes:
        name: Of its folder, and what its trainings were given besides.
        gains: Of R@1 over the base by row and split, points; rows that were run.
    """

    name: str
    gains: dict[str, dict[str, float]]


def read_repeats(folders: Sequence[Path], out: Path) -> list[Repeat]:
    """Read other studies of the rows of the study in `out`.

    Raises:
        ValueError: one cannot be read, is the same one, or differs in more than its further flags.
    """
    places = [folder.resolve() for folder in folders]
    if len({*places, out.resolve()}) <= len(places):
        raise ValueError("--beside names a study twice, or --out itself")
    ours = _settings(out)
    for folder in folders:
        theirs = _settings(folder)
        if other := sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name)):
            raise ValueError(
                f"--beside {folder}: that study had another {', '.join(other)}; only --train_flags "
                "may differ"
            )
    return [read_repeat(folder) for folder in folders]


def _settings(folder: Path) -> dict[str, Any]:
    """Of a study, but for the flags that all its trainings were given besides."""
    try:
        settings: dict[str, Any] = json.loads((folder / STUDY).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: no comparison there ({error!r})") from error
    return {name: value for name, value in settings.items() if name != "train_flags"}


def read_repeat(folder: Path) -> Repeat:
    """Read what a comparison wrote into a folder.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    try:
        with (folder / TABLE).open(newline="") as file:
            rows = list(csv.DictReader(file))
        flags = json.loads((folder / STUDY).read_text())["train_flags"]
        gains = {
            row["method"]: {split: float(row[f"{split} {FIGURE} gain points"]) for split in SPLITS}
            for row in rows
            if row.get(f"test {FIGURE} gain points")
        }
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"--beside {folder}: no finished comparison there ({error!r}); give the --out of one"
        ) from error
    return Repeat(f"{folder.resolve().name}{f' ({flags})' if flags else ''}", gains)


def repeats_section(rows: Sequence[Row], repeats: Sequence[Repeat]) -> str:
    """The gains of all studies as Markdown, and which of them keep their side of 0."""
    here = {
        row.name: {split: row.gains[split][FIGURE].points for split in SPLITS}
        for row in rows
        if row.gains
    }
    studies = [Repeat("here", here), *repeats]
    heads = ["method", "against", *(study.name for study in studies), "test: mean, least to most"]
    lines = [heads, ["---"] * len(heads)]
    sides: dict[str, list[str]] = {"gain": [], "loss": [], "either": []}
    for name in here:
        found = [study.gains[name] for study in studies if name in study.gains]
        cells = [_cell(study.gains.get(name)) for study in studies]
        lines.append([name, METHODS[name].base, *cells, _spread([g["test"] for g in found])])
        if len(found) > 1:
            sides[_side([gain[split] for gain in found for split in SPLITS])].append(name)
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## Trained again\n\n{_ABOUT}\n\n{table}\n\n{_words(sides)}\n"


_ABOUT = (
    f"{FIGURE} minus the base's, points, on val and test, in this study and in others of the same "
    "rows. A row that gains in one training and loses in another shows chance."
)


def _cell(gain: dict[str, float] | None) -> str:
    return ", ".join(f"{gain[split]:+.1f}" for split in SPLITS) if gain else ""


def _spread(points: list[float]) -> str:
    mean = sum(points) / len(points)
    return f"{mean:+.1f}, {min(points):+.1f} to {max(points):+.1f}"


def _side(points: list[float]) -> str:
    if min(points) > 0:
        return "gain"
    return "loss" if max(points) < 0 else "either"


def _words(sides: dict[str, list[str]]) -> str:
    said = (
        ("gain", "Gains in every training, on val and on test"),
        ("loss", "Losses in every training, on val and on test"),
        ("either", "Now a gain, now a loss or none"),
    )
    return "\n".join(f"- {words}: {', '.join(sides[k]) or 'none'}." for k, words in said)
