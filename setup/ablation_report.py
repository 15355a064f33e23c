"""The ablation study's report: table, words and the whole model's calibration plots.

Written by `setup.ablation_study`; every figure is read from what test_vit.py wrote.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from models.evaluation.calibration import Calibration
from models.evaluation.intervals import conformal_range
from models.evaluation.judgement import judge
from models.evaluation.posterior_file import read_posteriors
from models.evaluation.prediction_csv import read_predictions
from models.reliability import write as write_plots
from partitioning.atomic_file import atomic_path
from setup.ablation_table import SHOWN_KM, answers_of, markdown_table, rows_of, verdicts
from setup.blue_marble_crops import BLOCK_DEGREES

WHOLE, SAME = "whole model", "another seed"
REGION = 0.9  # the region whose hold on the truth is shown

_REPORT = """# Ablations on Blue Marble

**Overhead imagery, not photographs.** Crops of NASA's Blue Marble, 111 km from north to south, at
32 px; a small ViT from scratch. The table compares parts of the machinery with each other; nothing
in it says how well photographs are placed.

{crops:,} training crops, each seen {times}; the same for every row. {tiles:,} test tiles in
{blocks} blocks of {degrees:g} degrees, at least one tile away from every training crop. Gains are
those of the whole model over the row's. Their 95% intervals are of a bootstrap of whole blocks;
p is McNemar's on tiles. "Beats" asks for both. Each p is of a single test: of {tests} such tests
about {by_chance:.1f} fall below 0.05 by chance alone. One run of each setting was trained.

{table}

{sentences}

Where it does not beat a row, this is why nothing can be said for that part: gains under about
{unseen:.1f} points within {far:g} km cannot be told from chance on these tiles, and with a small
network that sees each crop {times} none larger arose.

The whole model's regions of 90% held {held_90_percent:.1f}% of the test tiles, 95% interval
{held_90_low:.1f} to {held_90_high:.1f} if the tiles were independent; 90 {holds} in it. It was
calibrated on {calibrated:,} tiles of other blocks that lie away from training as the test's do.
With so few, chance alone puts 95% of such tests between {chance_low:.1f} and {chance_high:.1f}%,
more widely still as tiles of a block are alike. Smaller regions: coverage.png; see reliability.png
and abstention.png too.

The tiles have no scene labels: what the scene head brings cannot be judged here.

Minutes of training, {jobs} at a time: {minutes}. Made by `python -m setup.ablation_study`.
"""


def facts_of(folder: Path) -> dict[str, Any]:
    """What a row says besides figures: test tiles, minutes of training, hold of the region.

    Raises:
        FileNotFoundError: the model was not trained and tested here.
    """
    report = json.loads((folder / "test/report.json").read_text())
    region = next(r for r in report["regions"] if r["mass"] == REGION)
    low, high = region["interval_95"]
    held = 100 * region["held"] / region["photos"]
    shares = {"held_90_percent": held, "held_90_low": 100 * low, "held_90_high": 100 * high}
    minutes = json.loads((folder / "minutes.json").read_text())["minutes"]
    return {"tiles": region["photos"], "minutes": minutes, **shares}


def write_report(
    output: Path,
    settings: Mapping[str, Any],
    folders: Mapping[str, Path],
    flags: Mapping[str, str],
    jobs: int,
) -> str:
    """Write table and plots into `output`; return the Markdown.

    Args:
        output: made where it is missing.
        settings: crops and epochs of the study.
        folders: name -> tested model, `WHOLE` among them.
        flags: name -> what the ablation changes.
        jobs: models that were trained at a time.

    Raises:
        ValueError, OSError: a model's test is damaged or not there.
    """
    answers = {
        name: answers_of(read_predictions(folder / "test"), BLOCK_DEGREES)
        for name, folder in folders.items()
    }
    facts = {name: {"flags": flags[name], **facts_of(folder)} for name, folder in folders.items()}
    rows = rows_of(answers, facts, WHOLE)
    calibration = Calibration.read(folders[WHOLE] / "calibration.json")
    blocks = int(answers[WHOLE].blocks.max()) + 1
    text = describe(settings, rows, blocks, jobs, calibration.photos)
    test = read_posteriors(folders[WHOLE] / "test/posteriors.npz")
    write_plots(judge(test, calibration), output)
    with atomic_path(output / "ablation.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    with atomic_path(output / "ablation.md") as temporary:
        temporary.write_text(text)
    return text


def describe(
    settings: Mapping[str, Any],
    rows: list[dict[str, Any]],
    blocks: int,
    jobs: int,
    calibrated: int,
) -> str:
    """The report, Markdown."""
    whole = next(row for row in rows if row["model"] == WHOLE)
    tests = len(SHOWN_KM) * sum(row["model"] not in (WHOLE, SAME) for row in rows)
    epochs = settings["epochs"]
    far = SHOWN_KM[-1]
    # Half the intervals' width, of the settings that differ least from the whole model.
    widths = [r[f"gain_high_{far:g}_km"] - r[f"gain_low_{far:g}_km"] for r in rows if r != whole]
    low, high = conformal_range(calibrated, whole["tiles"], REGION)
    return _REPORT.format(
        **{name: whole[name] for name in whole if name.startswith("held") or name == "tiles"},
        crops=settings["crops"],
        times="once" if epochs == 1 else f"{epochs} times",
        blocks=blocks,
        degrees=BLOCK_DEGREES,
        tests=tests,
        by_chance=tests / 20,
        table=markdown_table(rows, WHOLE),
        sentences="\n".join(f"- {sentence}" for sentence in verdicts(rows, WHOLE, SAME)),
        unseen=min(widths) / 2,
        far=far,
        calibrated=calibrated,
        chance_low=100 * low,
        chance_high=100 * high,
        holds="lies" if whole["held_90_low"] <= 90 <= whole["held_90_high"] else "does NOT lie",
        jobs=jobs,
        minutes=", ".join(f"{row['model']} {row['minutes']:.1f}" for row in rows),
    )
