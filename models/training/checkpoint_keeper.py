"""When to save: every so many steps, after every epoch, and the weights that validated best.

A checkpoint within an epoch holds all that a run depends on: weights and their running average,
optimiser, schedule, the sampler's place. Random numbers are a function of seed, epoch, batch and
rank (models/training/geocell_task.py), so they need no saving. After the last batch of an epoch
nothing is saved until its validation is over: a run resumed in between would skip it.
"""

import math
import sys
from pathlib import Path
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import pytorch_lightning as pl
from torch import Tensor

from models.training.checkpoint import AtomicCheckpointIO, newest_readable, prune, step_path
from models.training.geocell_task import GeocellTask

BEST = "best.ckpt"


class CheckpointKeeper(pl.Callback):
    """Save into `directory`: the last two checkpoints, and best.ckpt.

    Args:
        directory: made where it is missing; of one run only, shared by all nodes.
        every_steps: optimiser steps from one checkpoint to the next; 0 = at the end of epochs.
        monitor: the metric whose least value is best.
    """

    def __init__(self, directory: Path, every_steps: int = 0, monitor: str = "val/loss") -> None:
        self.directory, self.every_steps, self.monitor = directory, every_steps, monitor
        self.best_value, self.best_step = math.inf, -1
        self._saved_step = -1

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Save every so many steps."""
        step = trainer.global_step
        is_due = self.every_steps and step and step % self.every_steps == 0
        is_last = index + 1 >= trainer.num_training_batches
        if is_due and not is_last and step != self._saved_step:
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Keep the weights if they are the best yet; the metric is the same on all ranks."""
        value = trainer.callback_metrics.get(self.monitor)
        if value is None or trainer.sanity_checking or not float(value) < self.best_value:
            return
        self.best_value, self.best_step = float(value), trainer.global_step
        weights = trainer.strategy.lightning_module_state_dict()  # all ranks take part
        if trainer.is_global_zero:
            best = {"weights": weights, "step": self.best_step, self.monitor: self.best_value}
            trainer.strategy.checkpoint_io.save_checkpoint(best, self.directory / BEST)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save after every epoch and its validation."""
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        self._saved_step = trainer.global_step
        trainer.save_checkpoint(step_path(self.directory, self._saved_step))
        if trainer.is_global_zero:
            prune(self.directory)

    def state_dict(self) -> dict[str, Any]:
        """What was best so far."""
        return {"best_value": self.best_value, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with what was best so far, if its weights are still there."""
        if (self.directory / BEST).is_file():
            self.best_value = state_dict["best_value"]
            self.best_step = state_dict["best_step"]
        elif state_dict["best_step"] >= 0:
            sys.stderr.write(
                f"warning: {self.directory / BEST} is gone; best is judged from here on\n"
            )

    def chosen_weights(self, select: str, task: GeocellTask) -> tuple[dict[str, Tensor], str]:
        """The model's weights to publish, and in words which they are.

        Args:
            select: "best", "last" or "ema"; see --select of train_vit.py. Without a validation
                photo that could be judged there is no best, and the last are taken.
            task: what was trained.

        Raises:
            ValueError: the file of the weights is damaged or not there.
        """
        averaged = task.average is not None and select != "last"
        what = " of the running average" if averaged else ""
        if select == "best" and self.best_step >= 0:
            path, key = self.directory / BEST, "weights"
            words = f"best{what}: {self.monitor} {self.best_value:.4f} after {self.best_step} steps"
        else:
            newest = newest_readable(self.directory)
            if newest is None:
                raise ValueError(f"no checkpoint in {self.directory}: was it removed meanwhile?")
            path, key = newest, "state_dict"
            words = f"last{what}, after {int(newest.stem.removeprefix('step'))} steps"
        weights = AtomicCheckpointIO().load_checkpoint(path)[key]
        prefix = "average.module." if averaged else "model."
        of_model = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        return of_model, words
