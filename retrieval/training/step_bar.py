"""A bar for the steps of a round, in the manner of the other bars here."""

from contextlib import ExitStack
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import pytorch_lightning as pl

from retrieval.bars import bar


class StepBar(pl.Callback):
    """Open while a round's steps run; mining and validation lie outside of it."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._advance: Any = None

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Open the bar."""
        what = f"round {trainer.current_epoch + 1}: steps"
        shown = bar(what, int(trainer.num_training_batches), trainer.is_global_zero)
        self._advance = self._open.enter_context(shown)

    def on_train_batch_end(self, *arguments: Any, **more: Any) -> None:
        """Advance it."""
        self._advance(1)
        trainer = arguments[0]
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._open.close()

    def on_exception(self, *arguments: Any) -> None:
        """Close it."""
        self._open.close()
