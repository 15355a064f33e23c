"""Train a network that fills holes in photos.

    python -m models.inpainting.train --photos DIR --out runs/inpainting

Any folder of photos will do; holes are made up (models/inpainting/masks.py). What comes out in
--out is an inpainter (models/inpainting/inpainter.py), history.csv, samples.png (photo, hole, what
was painted, photo with the hole filled), held_out.json with the error on photos that were not
trained on, and checkpoints. A run that was stopped, by --minutes, a kill or Ctrl-C, goes on exactly
by the same command on the same photos with --resume; one whose loss is not finite stops and names
the photos. The paper's two phases are --steps and, with the encoder's batch norms fixed,
--frozen_steps.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from data.photos.photo_list import photo_list
from models.inpainting.held_out import HeldOut, in_words
from models.inpainting.inpainter import Inpainter, save_inpainter
from models.inpainting.painting_run import PaintingRun
from models.inpainting.photos import HoledPhotos, find_photos
from models.inpainting.recipe import InpaintingRecipe, parse_recipe
from models.training.loss_watch import LossWatch
from partitioning.atomic_file import atomic_path


def train(recipe: InpaintingRecipe) -> Inpainter:
    """Train, or go on with a training, and write the model.

    Raises:
        ValueError, OSError: what the user gave cannot be trained on; the message says why.
        FloatingPointError: the loss is not finite; the message names the photos.
    """
    out = Path(recipe.out)
    found = find_photos(Path(recipe.photos))
    judged, learned = split(found, recipe)
    run = PaintingRun(recipe, {"photos": photo_list(found)})
    photos = HoledPhotos(learned, recipe.size, recipe.hole_share, recipe.seed)
    held_out = HeldOut(HoledPhotos(judged, recipe.size, recipe.hole_share, recipe.seed))
    sys.stderr.write(f"{len(learned):,} photos to learn from, {len(judged)} to judge by\n")
    with _bar(recipe.total, run.step) as show:
        _work(run, photos, held_out, show)
    figures = held_out.judge(run.network)
    _write(out / "held_out.json", json.dumps(figures, indent=2) + "\n")
    held_out.draw(run.network, out / "samples.png")
    origin = {"steps": run.step, "held out": in_words(figures), "settings": recipe.binding}
    model = save_inpainter(out, run.network, origin)
    where = (
        "" if run.step >= recipe.total else f", stopped after {run.step:,} steps: go on by --resume"
    )
    sys.stdout.write(f"inpainter: {out} ({in_words(figures)}{where})\n")
    return model


def split(paths: list[Path], recipe: InpaintingRecipe) -> tuple[list[Path], list[Path]]:
    """Photos to judge by, at most a fifth of all, and the others, to learn from."""
    count = max(1, min(recipe.held_out, len(paths) // 5))
    order = np.random.default_rng((recipe.seed, 1)).permutation(len(paths))
    return [paths[i] for i in sorted(order[:count])], [paths[i] for i in sorted(order[count:])]


def _work(
    run: PaintingRun,
    photos: HoledPhotos,
    held_out: HeldOut,
    show: Callable[[int, float], None],
) -> None:
    """Do the steps that are left, or those that the time allows; saves now and then."""
    recipe, began, watch = run.recipe, perf_counter(), LossWatch()
    sums: dict[str, Tensor] = {}
    saved = run.step
    for rows, squares, known in photos.batches(
        run.step, recipe.total, recipe.batch, recipe.workers
    ):
        terms = run.advance(squares, known)
        watch.see(terms["total"], [str(photos.paths[row]) for row in rows])
        sums = {name: sums.get(name, torch.zeros_like(v)) + v for name, v in terms.items()}
        show(run.step, terms["total"].item() if run.step % 10 == 0 else float("nan"))
        is_late = 0 < recipe.minutes <= (perf_counter() - began) / 60
        if run.step % recipe.save_every == 0 or run.step == recipe.total or is_late:
            watch.check()
            _note(run, held_out, {k: v.item() / (run.step - saved) for k, v in sums.items()})
            sums, saved = {}, run.step
        if is_late:
            return


def _note(run: PaintingRun, held_out: HeldOut, means: dict[str, float]) -> None:
    """Save, with the figures of the steps since the last time."""
    figures = held_out.judge(run.network)
    row: dict[str, Any] = {"step": run.step, **means}
    run.history.append(row | {k: figures[k] for k in ("hole_l1", "mean_colour_l1")})
    run.save()
    out = Path(run.recipe.out)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(run.history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(run.history)
    _write(out / "history.csv", table.getvalue())
    held_out.draw(run.network, out / "samples.png")


@contextmanager
def _bar(total: int, done: int) -> Iterator[Callable[[int, float], None]]:
    """A bar of the steps; yields what is told the step and, now and then, the loss."""
    columns = (
        TextColumn("steps"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total, completed=done)

        def show(step: int, loss: float) -> None:
            text = None if np.isnan(loss) else f"loss {loss:.3f}"
            progress.update(task, completed=step, description=text)

        yield show


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line; returns the exit status."""
    recipe = parse_recipe((__doc__ or "").splitlines()[0], arguments)
    try:
        train(recipe)
    except (ValueError, OSError, FloatingPointError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command with --resume goes on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
