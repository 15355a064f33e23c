"""One training of UNIT from start to end: progress, checkpoints, samples, the list of losses."""

import csv
import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.training.checkpoint import (
    AtomicCheckpointIO,
    checkpoints_in,
    newest_readable,
    prune,
    step_path,
)
from models.translation.model import save_unit, write_samples
from models.translation.photos import SidePhotos, batches
from models.translation.training import UnitTraining
from partitioning.atomic_file import atomic_path

LOSSES = "losses.csv"
LISTED_EVERY = 10  # steps
SAMPLES = 4  # photos of each side


class Run:
    """One training.

    Args:
        training: Networks and optimisers.
        sides: day and night.
        out: Of all that comes out.
        save_every: Steps between checkpoints.
    """

    def __init__(
        self, training: UnitTraining, sides: dict[str, SidePhotos], out: Path, save_every: int
    ) -> None:
        self.training, self.sides, self.out, self.save_every = training, sides, out, save_every
        self.losses: list[dict[str, float]] = []

    def start(self, is_resumed: bool) -> None:
        """Take up the last checkpoint, or see that there is none.

        Raises:
            ValueError: there is none to resume, one that would be overwritten, one of other
                settings or photos.
        """
        directory = self.out / "checkpoints"
        if not is_resumed:
            if checkpoints_in(directory):
                raise ValueError(
                    f"{self.out} holds a run: go on with it by --resume, or take another --out"
                )
            return
        newest = newest_readable(directory)
        if newest is None:
            raise ValueError(f"--resume: no checkpoint in {directory}; leave it out to start")
        state = AtomicCheckpointIO().load_checkpoint(newest)
        if state["photos"] != self._fingerprints():
            raise ValueError(
                f"{newest} was trained on other photos than those given: give the same folders "
                "and notes, or take another --out"
            )
        self.training.go_on(state)
        self.losses = state["losses"]

    def go(self, steps: int, minutes: float = 0.0, workers: int = 2) -> None:
        """Train until so many steps are taken in all, or minutes have passed; save all.

        Raises:
            ValueError: a loss is not finite, or no photo of a side can be read.
            OSError: the disk is full or may not be written to.
        """
        ends = monotonic() + 60 * minutes if minutes else float("inf")
        training = self.training
        with shown("steps", steps, training.step) as on_step:
            for step, photos in batches(self.sides, training.step, workers):
                if step >= steps or monotonic() >= ends:
                    break
                losses = training.learn(photos)
                if training.step % LISTED_EVERY == 0:
                    self.losses.append({"step": training.step, **losses})
                if training.step % self.save_every == 0:
                    self.save()
                on_step()
        if training.step % self.save_every or training.step == 0:
            self.save()

    def save(self) -> None:
        """Write checkpoint, model, samples and losses.

        Raises:
            ValueError: a weight is not finite.
            OSError: they cannot be written; what was there is whole.
        """
        directory, step = self.out / "checkpoints", self.training.step
        state = self.training.state() | {"photos": self._fingerprints(), "losses": self.losses}
        AtomicCheckpointIO().save_checkpoint(state, step_path(directory, step))
        prune(directory)
        origin: dict[str, Any] = {"step": step}
        origin |= {side: len(photos.paths) for side, photos in self.sides.items()}
        save_unit(self.out, self.training.translator, origin)
        self._write_samples(self.out / "samples" / f"step{step:07d}.png")
        with atomic_path(self.out / LOSSES) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.losses[0] if self.losses else ["step"])
            writer.writerows([f"{value:.6g}" for value in row.values()] for row in self.losses)

    def _write_samples(self, path: Path) -> None:
        """The same photos each time: those of the first steps."""
        count = -(-SAMPLES // self.training.settings.batch)
        photos = {
            side: torch.cat([photos.batch(step) for step in range(count)])[:SAMPLES]
            for side, photos in self.sides.items()
        }
        on_device = {side: pictures.to(self.training.device) for side, pictures in photos.items()}
        write_samples(path, self.training.translator, on_device)

    def _fingerprints(self) -> dict[str, str]:
        """Of the photos' names, by side."""
        return {
            side: hashlib.sha256("\n".join(p.name for p in photos.paths).encode()).hexdigest()
            for side, photos in self.sides.items()
        }


@contextmanager
def shown(what: str, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr while the block runs; yields what is told that one more is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        task = progress.add_task(what, total=total, completed=done)
        yield lambda: progress.advance(task)
