"""The training step of place recognition, for Lightning."""

from functools import partial
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.losses.triplet import TRIPLET_LOSSES, Loss
from models.places.autoencoder_branch import AutoencoderBranch, watched_maps
from models.places.embedder import Embedder
from retrieval.descriptor_cache import normal
from retrieval.training.recipe import PlaceRecipe
from retrieval.training.triplet_rounds import TripletBatch

WITH_MARGIN = ("triplet", "second_order", "quadruplet")


class PlaceTask(pl.LightningModule):
    """An embedder that learns from triplets.

    Args:
        embedder: To train.
        recipe: How.

    Raises:
        ValueError: the recipe leaves nothing to train, or its backbone has no blocks to choose.
    """

    def __init__(self, embedder: Embedder, recipe: PlaceRecipe) -> None:
        super().__init__()
        self.embedder, self.recipe = embedder, recipe
        self.loss = loss_of(recipe)
        freeze(embedder, recipe)
        self.autoencoder = branch_of(embedder, recipe)
        self.train()  # Lightning leaves modes as they are

    def train(self, mode: bool = True) -> "PlaceTask":
        """As torch's; batch norms keep their statistics where the recipe says so."""
        super().train(mode)
        if self.recipe.freeze_norms:
            for module in self.embedder.extractor.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def training_step(self, batch: TripletBatch, index: int) -> Tensor:
        """Loss of a batch; triplets with an unreadable photo do not count."""
        pictures = normal(batch.pictures.flatten(0, 1), self.embedder, self.device)
        with watched_maps(self.embedder.extractor) as maps:
            descriptors = self.embedder(pictures).float()
        descriptors = descriptors.unflatten(0, batch.pictures.shape[:2])[batch.is_readable]
        painting = self._painting_loss(maps[0], pictures, batch.is_readable)
        if not len(descriptors):
            return descriptors.sum() + painting  # 0, with a gradient for every process to share
        loss = self.loss(descriptors[:, 0], descriptors[:, 1], descriptors[:, 2:])
        self.log("train/loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss + painting

    def _painting_loss(self, maps: Tensor, pictures: Tensor, is_readable: Tensor) -> Tensor | float:
        """Weighted loss of the autoencoder's branch over the photos of readable triplets."""
        if self.autoencoder is None:
            return 0.0
        is_kept = is_readable.repeat_interleave(len(pictures) // len(is_readable))
        loss = self.autoencoder.loss(maps[is_kept], pictures[is_kept])
        if is_readable.any():
            self.log("train/painting", loss, on_step=False, on_epoch=True, sync_dist=True)
        return self.recipe.autoencoder_weight * loss

    def on_train_epoch_start(self) -> None:
        """Set the round's learning rate; no state, so that a resumed run needs none."""
        # Not current_epoch, which a resumed trainer counts up late.
        round_: int = self.trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.recipe.lr_of(round_)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's optimiser over what is trained."""
        trained = [p for p in self.parameters() if p.requires_grad]
        options: dict[str, Any] = {"lr": self.recipe.lr, "weight_decay": self.recipe.weight_decay}
        if self.recipe.optimizer == "sgd":
            return torch.optim.SGD(trained, momentum=0.9, **options)
        return torch.optim.Adam(trained, **options)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the run must be resumed with."""
        checkpoint["binding"] = self.recipe.binding

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse other settings.

        Raises:
            ValueError: the checkpoint was made with others.
        """
        # A setting that is newer than the checkpoint had the value that changes nothing.
        theirs, ours = PlaceRecipe().binding | checkpoint["binding"], self.recipe.binding
        other = [f"{k} {theirs.get(k)}, now {v}" for k, v in ours.items() if theirs.get(k) != v]
        if other:
            raise ValueError(
                f"the run to resume had other settings: {'; '.join(other)}; give them again, or "
                "take another --out"
            )


def loss_of(recipe: PlaceRecipe) -> Loss:
    """The recipe's loss with its margin.

    Raises:
        ValueError: unknown name.
    """
    if recipe.loss not in TRIPLET_LOSSES:
        raise ValueError(f"loss must be one of {', '.join(TRIPLET_LOSSES)}, got {recipe.loss!r}")
    margin = {"margin": recipe.margin} if recipe.loss in WITH_MARGIN else {}
    return partial(TRIPLET_LOSSES[recipe.loss], **margin)


def branch_of(embedder: Embedder, recipe: PlaceRecipe) -> AutoencoderBranch | None:
    """The recipe's autoencoder branch, None where it has none.

    Raises:
        ValueError: its backbone is frozen.
    """
    if not recipe.autoencoder_weight:
        return None
    if recipe.freeze_backbone:
        raise ValueError(
            "--autoencoder_weight: the decoder's loss teaches the backbone, which is frozen; leave "
            "out one of --autoencoder_weight and --freeze_backbone"
        )
    extractor = embedder.extractor
    return AutoencoderBranch(extractor, blocks_of(extractor), recipe.size)


def freeze(embedder: Embedder, recipe: PlaceRecipe) -> None:
    """Leave out of training what the recipe leaves out.

    Raises:
        ValueError: nothing is left, or the backbone has fewer blocks or none.
    """
    extractor = embedder.extractor
    if recipe.freeze_backbone:
        extractor.requires_grad_(False)
    elif recipe.trained_blocks:
        blocks = blocks_of(extractor)
        if recipe.trained_blocks > len(blocks):
            raise ValueError(
                f"--trained_blocks {recipe.trained_blocks}: {recipe.backbone} has {len(blocks)} "
                "blocks that can be chosen; 0 trains all of it"
            )
        extractor.requires_grad_(False)
        for block in blocks[-recipe.trained_blocks :]:
            block.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in embedder.parameters()):
        raise ValueError(
            f"nothing to train: {recipe.aggregation} has no weights and the backbone is frozen; "
            "add --fc_dim or --attention, or leave out --freeze_backbone"
        )


def blocks_of(extractor: nn.Module) -> list[nn.Module]:
    """The blocks of a backbone, in order: its parts where it is a sequence, or its longest list."""
    network = getattr(extractor, "network", extractor)
    if isinstance(network, nn.Sequential):
        return list(network)
    lists = [m for m in extractor.modules() if isinstance(m, (nn.ModuleList, nn.Sequential))]
    return list(max(lists, key=len)) if lists else []
