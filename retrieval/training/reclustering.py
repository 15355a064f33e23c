"""DyNetVLAD: cluster NetVLAD anew with the trained backbone, reset its layer, and go on.

NetVLAD's centres start from k-means over the local features of a backbone that has seen no place
yet. When training no longer raises recall, the backbone has changed and the centres are those of
features that no longer exist: so k-means runs once more over the features as they are now, centres
and assignment start from it, what the optimiser remembers of them is forgotten, and training goes
on. The backbone stays as it is. As often as `retrieval.train --reclusterings` says.

The reset is a function of weights, seed and number, made after a checkpoint is written or, where a
run was stopped right then, when it goes on: a resumed run is the run that was never stopped.
"""

import sys
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import pytorch_lightning as pl
import torch
from torch import Tensor

from data.place_sets.photos import PlacePhotos
from models.aggregators.netvlad import NetVLAD
from models.places.embedder import Embedder
from retrieval.descriptor_cache import Engine
from retrieval.training.clustering import start_netvlad
from retrieval.training.recall_watch import RecallWatch

NUMBER_STEP = 7919  # from one clustering's seed to the next one's


class Reclustering(pl.Callback):
    """Reset NetVLAD whenever the watch would stop; stands after the watch in the list.

    Args:
        watch: Says when nothing gets better.
        photos: To cluster, those of the training database.
        times: At most.
        engine: How photos are described.
        seed: Of the photos that are drawn and of k-means.

    Attributes:
        epochs: Those after which the layer was reset, so far.
    """

    def __init__(
        self, watch: RecallWatch, photos: PlacePhotos, times: int, engine: Engine, seed: int
    ) -> None:
        self.watch, self.photos, self.times = watch, photos, times
        self.engine, self.seed = engine, seed
        self.epochs: list[int] = []

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Make up for a reset that a stopped run did not come to."""
        self._go_on(trainer, module)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Reset instead of stopping."""
        self._go_on(trainer, module)

    def _go_on(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.should_stop or len(self.epochs) >= self.times:
            return
        embedder = module.embedder
        assert isinstance(embedder, Embedder)
        engine = self.engine._replace(device=trainer.strategy.root_device)
        number = len(self.epochs) + 1
        alpha = recluster(
            embedder, self.photos, engine, self.seed + NUMBER_STEP * number, trainer.optimizers
        )
        for weights in reset_weights(embedder):  # rounding may differ from process to process
            weights.data.copy_(trainer.strategy.broadcast(weights.data))
        self.epochs.append(len(self.watch.history) - 1)
        self.watch.waited, trainer.should_stop = 0, False
        if trainer.is_global_zero:
            sys.stderr.write(
                f"nothing gets better: {embedder.settings.aggregation} is clustered anew, {number} "
                f"of {self.times}, alpha {alpha:.1f}\n"
            )

    def state_dict(self) -> dict[str, Any]:
        """What was reset so far."""
        return {"epochs": list(self.epochs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with it."""
        self.epochs = list(state_dict["epochs"])


def recluster(
    embedder: Embedder,
    photos: PlacePhotos,
    engine: Engine,
    seed: int,
    optimizers: list[torch.optim.Optimizer],
) -> float:
    """Start an embedder's NetVLAD from k-means over photos as its backbone sees them now.

    Args:
        embedder: On the engine's device, with a NetVLAD.
        photos: To cluster.
        engine: How they are described.
        seed: Of drawing and of k-means.
        optimizers: What they remember of the layer is forgotten.

    Returns:
        NetVLAD's alpha.

    Raises:
        ValueError: the embedder has no NetVLAD, or as `start_netvlad`.
    """
    reset = reset_weights(embedder)
    alpha = start_netvlad(embedder, photos, engine, seed)
    assert alpha is not None
    for optimizer in optimizers:
        for weights in reset:
            optimizer.state.pop(weights, None)
    return alpha


def reset_weights(embedder: Embedder) -> tuple[Tensor, Tensor]:
    """What clustering sets: weights of the assignment, and centres.

    Raises:
        ValueError: the embedder has no NetVLAD.
    """
    if not isinstance(embedder.aggregator, NetVLAD):
        raise ValueError(
            f"--reclusterings: {embedder.settings.aggregation} has no clusters; take --aggregation "
            "netvlad or crn, or --reclusterings 0"
        )
    return embedder.aggregator.conv.weight, embedder.aggregator.centroids
