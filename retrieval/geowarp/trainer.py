"""The training loop of GeoWarp: three losses, a checkpoint after each epoch, exact resuming.

All that is drawn at random is a function of the seed, the epoch and the step, so a checkpoint holds
the random state as its two numbers: a run killed at any moment and resumed ends with the weights of
the run that was not.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from data.photos.photo_list import refuse_other_photos
from models.geowarp import GeoWarp, common
from models.training.checkpoint import (
    AtomicCheckpointIO,
    checkpoints_in,
    newest_readable,
    prune,
    step_path,
)
from models.warping.losses import consistency_loss, features_loss, self_supervised_loss
from retrieval.bars import bar
from retrieval.geowarp.settings import GeoWarpSettings
from retrieval.geowarp.views import Epochs, ViewPairs

WARM_STEPS = 50  # of the cosine schedule
WEIGHTS = {"self_supervised": "ss_w", "consistency": "consistency_w",
           "features_wise": "features_wise_w"}  # setting by loss  # fmt: skip
_STREAM = 4  # of random numbers; others are in views.py and weak_pairs.py

PhotoPairs = tuple[Tensor, Tensor]


class Sources(NamedTuple):
    """What is learned from; each gives the batches of an epoch.

    Attributes:
        views: Synthetic pairs; None where their loss has no weight.
        photos: Pairs of photos of one place; None likewise.
    """

    views: Epochs | None
    photos: Callable[[int], Iterator[PhotoPairs]] | None


class GeoWarpTrainer:
    """Trains the regression of a GeoWarp.

    Args:
        model: On its device.
        settings: How.
        directory: Of the checkpoints.
        binding: What a resumed run must have alike, beside the settings; plain types.
        seed: Of all that is drawn.
        photos: Which are learned from and measured on, likewise (data/photos/photo_list.py).

    Attributes:
        history: Of each epoch: mean losses, what `measure` said, pairs that could not be warped.
    """

    def __init__(
        self,
        model: GeoWarp,
        settings: GeoWarpSettings,
        directory: Path,
        binding: dict[str, Any],
        seed: int,
        photos: Mapping[str, str],
    ) -> None:
        self.model, self.settings, self.directory = model, settings, directory
        self.photos = dict(photos)
        # More epochs may be asked for; under the cosine schedule they change every step.
        own = {k: v for k, v in settings.plain().items() if k != "epochs"}
        if settings.schedule == "cosine":
            own["epochs"] = settings.epochs
        self.binding, self.seed = {**binding, **own, "seed": seed}, seed
        self.optimizer = optimizer_of(model.regression, settings)
        self.history: list[dict[str, Any]] = []
        self._degenerate = 0

    def resume(self) -> None:
        """Go on from the newest whole checkpoint.

        Raises:
            ValueError: there is none, or one of other settings or photos.
        """
        path = newest_readable(self.directory)
        if path is None:
            raise ValueError(
                f"--resume: no checkpoint in {self.directory}; leave out --resume to start"
            )
        held = AtomicCheckpointIO().load_checkpoint(path)
        theirs = held.get("binding", {})
        other = [f"{k} {theirs.get(k)}, now {v}" for k, v in self.binding.items()
                 if theirs.get(k) != v]  # fmt: skip
        if other:
            raise ValueError(
                f"the run to resume had other settings: {'; '.join(other)}; give them again, or "
                "take another --out"
            )
        refuse_other_photos(self.directory.parent, held.get("photos", {}), self.photos)
        self.model.regression.load_state_dict(held["regression"])
        self.optimizer.load_state_dict(held["optimizer"])
        self.history = held["history"]

    def refuse_used(self) -> None:
        """Raise ValueError where a run would be overwritten."""
        if checkpoints_in(self.directory):
            raise ValueError(
                f"{self.directory.parent} holds a run: go on with it by --resume, or take another "
                "--out"
            )

    def fit(self, sources: Sources, measure: Callable[[], dict[str, float]] | None = None) -> None:
        """Train the epochs that are left.

        Args:
            sources: What to learn from.
            measure: Called after each epoch; what it says goes into the history.

        Raises:
            ValueError: a loss is no longer a finite number, or no photo can be read.
            OSError: a checkpoint cannot be written.
        """
        self.model.train()
        for epoch in range(len(self.history), self.settings.epochs):
            entry: dict[str, Any] = {"epoch": epoch + 1, **self._epoch(epoch, sources)}
            if measure:
                entry |= measure()
            self.history.append(entry)
            self._save(epoch + 1)
            _tell(entry)
        self.model.eval()

    def _epoch(self, epoch: int, sources: Sources) -> dict[str, float]:
        """Train one epoch; mean losses, and how many pairs could not be warped."""
        steps, self._degenerate = self.settings.iterations_per_epoch, 0
        views = sources.views(epoch) if sources.views else repeat(None)
        photos = sources.photos(epoch) if sources.photos else repeat(None)
        sums, done = dict.fromkeys(WEIGHTS, 0.0), 0
        with bar(f"epoch {epoch + 1} of {self.settings.epochs}: steps", steps) as on_done:
            for step, (made, taken) in enumerate(zip(views, photos, strict=False)):
                losses = self._step(epoch * steps + step, made, taken)
                sums = {name: sums[name] + losses.get(name, 0.0) for name in WEIGHTS}
                done += 1
                on_done(1)
        if not done:
            raise ValueError("no photo of a whole epoch could be read")
        return {name: total / done for name, total in sums.items()} | {
            "not_warped": self._degenerate
        }

    def _step(
        self, step: int, views: ViewPairs | None, photos: PhotoPairs | None
    ) -> dict[str, float]:
        """One step of the optimiser; a graph is freed before the next is built."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.settings, step)
        self.optimizer.zero_grad()
        found: dict[str, float] = {}
        for losses in self._losses(step, views, photos):
            torch.stack(list(losses.values())).sum().backward()
            for name, loss in losses.items():
                found[name] = float(loss.detach())
                self._check(name, found[name], step)
        norm = nn.utils.get_total_norm(
            [p.grad for p in self.model.regression.parameters() if p.grad is not None]
        )
        self._check("gradient", float(norm), step)
        self.optimizer.step()
        return found

    def _losses(
        self, step: int, views: ViewPairs | None, photos: PhotoPairs | None
    ) -> Iterator[dict[str, Tensor]]:
        """Weighted losses by name; those of one graph come together."""
        if views is not None:
            ways = self.model.both_ways(views.a, views.b)
            loss = self_supervised_loss(*ways, views.truth)
            yield {"self_supervised": self.settings.ss_w * loss}
        if photos is not None:
            yield self._of_photos(step, *photos)

    def _of_photos(self, step: int, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        """Both weak losses: the source asks the regression of the same pairs for each, we once."""
        model, settings = self.model, self.settings
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            straight = model.dense(torch.cat([a, b])).chunk(2)
        ways = model.both_ways(*straight)
        if settings.consistency_w:
            with torch.no_grad():
                mirrored = model.dense(torch.cat([a.flip(-1), b.flip(-1)])).chunk(2)
            loss = consistency_loss(*ways, *model.both_ways(*mirrored))
            found["consistency"] = settings.consistency_w * loss
        if settings.features_wise_w:
            compared = features_loss(model, a, b, common(*ways), self._equation_weights(step))
            self._degenerate += compared.degenerate
            found["features_wise"] = settings.features_wise_w * compared.value
        return found

    def _equation_weights(self, step: int) -> torch.Generator:
        random = np.random.default_rng([self.seed, _STREAM, step])
        return torch.Generator().manual_seed(int(random.integers(2**62)))

    def _check(self, name: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            raise ValueError(
                f"{name} became {value} at step {step + 1}: lower --lr, which is "
                f"{self.settings.lr:g}, or the weight of that loss; the checkpoints of "
                f"{len(self.history)} epochs in {self.directory} are whole"
            )

    def _save(self, epoch: int) -> None:
        checkpoint = {
            "regression": self.model.regression.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "binding": self.binding,
            "photos": self.photos,
        }
        path = step_path(self.directory, epoch * self.settings.iterations_per_epoch)
        AtomicCheckpointIO().save_checkpoint(checkpoint, path)
        prune(self.directory)


def optimizer_of(regression: nn.Module, settings: GeoWarpSettings) -> torch.optim.Optimizer:
    """The settings' optimiser; Adam with decoupled weight decay."""
    options: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adam":
        return torch.optim.AdamW(regression.parameters(), **options)
    return torch.optim.SGD(regression.parameters(), momentum=0.9, **options)


def rate(settings: GeoWarpSettings, step: int) -> float:
    """Learning rate of a step; cosine begins with a straight rise."""
    if settings.schedule == "constant":
        return settings.lr
    share = step / (settings.epochs * settings.iterations_per_epoch)
    warm = min(1.0, (step + 1) / WARM_STEPS)
    return settings.lr * warm * 0.5 * (1 + math.cos(math.pi * share))


def _tell(entry: dict[str, Any]) -> None:
    figures = "  ".join(f"{k} {v:.4f}" for k, v in entry.items() if isinstance(v, float))
    lost = f"  pairs not warped {entry['not_warped']}" if entry["not_warped"] else ""
    sys.stderr.write(f"epoch {entry['epoch']}: {figures}{lost}\n")
