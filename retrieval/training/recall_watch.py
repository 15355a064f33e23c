"""Validates by recall, keeps best and last weights, and stops when nothing gets better.

After each round (one mining and its triplets) a checkpoint is written, so that a run goes on at a
boundary of the cache. After each epoch (several rounds) recall is measured on the validation set.
"""

import json
import sys
from pathlib import Path
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import numpy as np
import pytorch_lightning as pl

from data.place_sets.photos import PlacePhotos, Rows
from data.places import Photos, Places
from models.places.embedder import Embedder
from models.training.checkpoint import prune, step_path
from partitioning.atomic_file import atomic_path
from retrieval.bars import bar
from retrieval.descriptor_cache import Descriptors, Engine, describe_shared
from retrieval.evaluate import Share, answerable, first_hits, recall_of_ranks
from retrieval.nearest import nearest

BEST, HISTORY = "best.ckpt", "recalls.json"
DEPTHS = (1, 5, 10, 20)
WATCHED = 5  # R@5, as the benchmark does


class RecallWatch(pl.Callback):
    """Measure, keep, stop.

    Args:
        places: The validation set.
        directory: Of the checkpoints.
        size: Of the photos, px.
        engine: How photos are described.
        rounds: In an epoch.
        patience: Epochs without better R@5 before it stops.

    Attributes:
        history: Recalls after each epoch, plain types; the first entry is before training.
        best: Share of queries with a right answer among five, at best.
        refused: Photos that could not be read, and why.
    """

    def __init__(
        self,
        places: Places,
        directory: Path,
        size: tuple[int, int],
        engine: Engine,
        rounds: int,
        patience: int,
    ) -> None:
        self.places, self.directory, self.size, self.engine = places, directory, size, engine
        self.rounds, self.patience = rounds, patience
        self.history: list[dict[str, Any]] = []
        self.best, self.best_epoch, self.waited = -1.0, 0, 0
        self.refused: dict[str, str] = {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Measure once before training; a run that had stopped stays stopped."""
        if not self.history:
            self._measure(trainer, module)
        trainer.should_stop = self.waited >= self.patience

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Validate if the epoch is over, then save."""
        if (trainer.current_epoch + 1) % self.rounds == 0:
            self._measure(trainer, module)
            trainer.should_stop = self.waited >= self.patience
        trainer.save_checkpoint(step_path(self.directory, trainer.global_step))
        if trainer.is_global_zero:
            prune(self.directory)

    def _measure(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        engine = self.engine._replace(device=trainer.strategy.root_device)
        embedder = module.embedder
        assert isinstance(embedder, Embedder)
        recalls, refused = validate(
            embedder, self.places, self.size, engine, trainer.is_global_zero
        )
        self.refused |= refused
        epoch, loss = len(self.history), trainer.callback_metrics.get("train/loss")
        entry: dict[str, Any] = {f"R@{k}": share.percents() for k, share in recalls.items()}
        entry |= {"epoch": epoch, "loss": float(loss) if loss is not None else None}
        self.history.append(entry)
        self.waited += 1
        if recalls[WATCHED].share > self.best:
            self.best, self.best_epoch, self.waited = recalls[WATCHED].share, epoch, 0
            self._keep_best(trainer, embedder, epoch)
        if trainer.is_global_zero:
            self._tell(entry, epoch)

    def _keep_best(self, trainer: pl.Trainer, embedder: Embedder, epoch: int) -> None:
        if trainer.is_global_zero:
            best = {"weights": embedder.state_dict(), "epoch": epoch}
            trainer.strategy.checkpoint_io.save_checkpoint(best, self.directory / BEST)

    def _tell(self, entry: dict[str, Any], epoch: int) -> None:
        with atomic_path(self.directory.parent / HISTORY) as temporary:
            temporary.write_text(json.dumps(self.history, indent=2) + "\n")
        figures = "  ".join(f"R@{k} {entry[f'R@{k}']['percent']:.1f}" for k in DEPTHS)
        loss = "" if entry["loss"] is None else f"  loss {entry['loss']:.4f}"
        what = "untrained" if epoch == 0 else f"epoch {epoch}"
        sys.stderr.write(f"{what}: {figures}{loss}{'  (best)' if self.waited == 0 else ''}\n")

    def state_dict(self) -> dict[str, Any]:
        """What was measured so far."""
        names = ("history", "best", "best_epoch", "waited", "refused")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with it."""
        for name, value in state_dict.items():
            setattr(self, name, value)


def validate(
    embedder: Embedder,
    places: Places,
    size: tuple[int, int],
    engine: Engine,
    is_shown: bool = True,
) -> tuple[dict[int, Share], dict[str, str]]:
    """Recall of an embedder, queries squeezed into the database's size; and unreadable photos.

    Queries without a positive are left out; one that cannot be read is a miss.
    """
    refused: dict[str, str] = {}

    def described(photos: Photos, what: str) -> tuple[Descriptors, Rows]:
        pictures = PlacePhotos(photos.paths, size)
        with bar(f"validating: {what}", len(photos), is_shown) as on_done:
            found = describe_shared(embedder, pictures, np.arange(len(photos)), engine, on_done)
        refused.update(pictures.refused)
        # Unreadable ones have zeros, on all processes alike.
        return found, np.flatnonzero(~found.any(axis=1))

    database, without = described(places.database, "database")
    queries, unreadable = described(places.queries, "queries")
    rows = nearest(queries, database, min(max(DEPTHS), len(database)), without).rows
    rows[unreadable] = -1
    positives = [places.positives.of(query) for query in range(len(queries))]
    asked = np.flatnonzero(answerable(positives))
    ranks = first_hits(rows[asked], [positives[query] for query in asked])
    return recall_of_ranks(ranks, DEPTHS), refused
