"""Train a `GeocellViT` with Lightning: steps, metrics, optimiser.

Logged: the loss of every task, top-1 of every level over labelled photos, and on validation the
share of photos within 25, 200, 750 and 2500 km by hierarchical decoding.
"""

import math
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from models.decode import ancestors, nested_posterior
from models.geocell_vit import GeocellViT, Prediction
from models.losses import MISSING, Losses, geocell_loss
from partitioning.geodesy import haversine_km
from partitioning.partition import LEVELS, Partition

VALIDATION_KM = (25, 200, 750, 2500)
SHOWN_KM = (200, 2500)  # in the progress bar
Batch = dict[str, Any]


class ValidationRecord:
    """What validation collects: finest cells, positions and logits of every usable photo."""

    def __init__(self) -> None:
        self.logits: dict[str, list[np.ndarray]] = {}
        self.cells: list[np.ndarray] = []
        self.positions: list[np.ndarray] = []

    def add(self, prediction: Prediction, batch: Batch, usable: Tensor, finest: int) -> None:
        """Keep the usable photos of one batch; `finest` is the column of their finest cells."""
        valid = usable.cpu().numpy()
        for level, values in prediction.cells.items():
            self.logits.setdefault(level, []).append(values.float().cpu().numpy()[valid])
        self.cells.append(batch["cells"][:, finest].cpu().numpy()[valid])
        self.positions.append(torch.stack([batch["lat"], batch["lon"]], 1).cpu().numpy()[valid])

    def joined(self) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Return logits by level, finest cells `(N,)` and positions `(N, 2)`."""
        logits = {level: np.concatenate(parts) for level, parts in self.logits.items()}
        return logits, np.concatenate(self.cells), np.concatenate(self.positions)


class GeocellTask(pl.LightningModule):
    """The training of one model.

    Args:
        model: the network.
        partition: the cells its heads predict.
        level_weights: weight of each level's loss.
        scene_weight: weight of the scene loss.
        learning_rate: peak of the schedule (AdamW).
        weight_decay: AdamW's.
        warmup_share: share of all steps in which the rate climbs; a cosine to 0 follows.
        freeze_backbone: train the heads only.
        seed: of what the network itself draws (dropout).
        settings: what else the run depends on, plain types; a checkpoint of a run with others is
            refused.
    """

    def __init__(
        self,
        model: GeocellViT,
        partition: Partition,
        level_weights: dict[str, float],
        scene_weight: float = 0.5,
        learning_rate: float = 3e-4,
        weight_decay: float = 0.05,
        warmup_share: float = 0.05,
        freeze_backbone: bool = False,
        seed: int = 0,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.partition = partition
        self.levels = tuple(level for level in LEVELS if level in model.cell_heads)
        self.level_weights = level_weights
        self.scene_weight = scene_weight
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_share = warmup_share
        self.freeze_backbone = freeze_backbone
        self.seed = seed
        self.settings = settings or {}
        self.record = ValidationRecord()
        if freeze_backbone:
            model.encoder.requires_grad_(False)

    def on_train_epoch_start(self) -> None:
        """Seed the epoch, so that a resumed one draws the same; keep a frozen backbone frozen."""
        sequence = np.random.SeedSequence((self.seed, self.current_epoch, self.global_rank))
        torch.manual_seed(int(sequence.generate_state(1)[0]))
        if self.freeze_backbone:  # its batch statistics too
            self.model.encoder.eval()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the settings."""
        checkpoint["settings"] = self.settings

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Compare the settings.

        Raises:
            ValueError: the run to resume had others.
        """
        before = checkpoint.get("settings", self.settings)
        other = [
            f"{name} {before.get(name)!r} (now {value!r})"
            for name, value in self.settings.items()
            if before.get(name) != value
        ]
        if other:
            raise ValueError(
                f"the run to resume had {', '.join(other)}: resume with the same settings, or "
                "start a new run"
            )

    def usable(self, batch: Batch) -> Tensor:
        """Which photos of a batch can be learned from and judged, bool `(B,)`."""
        if self.model.encoder.needs_map:
            return batch["valid"] & batch["has_seg"]
        return batch["valid"]

    def _losses(self, batch: Batch) -> tuple[Prediction, dict[str, Tensor], Losses]:
        prediction = self.model(batch["rgb"], batch["seg"], batch["has_seg"])
        usable = self.usable(batch)
        cells = {
            level: batch["cells"][:, LEVELS.index(level)].masked_fill(~usable, MISSING)
            for level in self.levels
        }
        scene = batch["scene"].masked_fill(~usable, MISSING)
        scene = scene.masked_fill(scene >= prediction.scene.shape[1], MISSING)
        losses = geocell_loss(prediction, cells, scene, self.level_weights, self.scene_weight)
        return prediction, cells, losses

    def _log_losses(self, stage: str, losses: Losses, photos: int) -> None:
        values = {f"{stage}/loss": losses.total}
        values |= {f"{stage}/loss_{name}": part for name, part in losses.parts.items()}
        self.log_dict(values, batch_size=photos, on_step=False, on_epoch=True, sync_dist=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch.

        Raises:
            FloatingPointError: the loss is not finite; the message names the photos.
        """
        _, _, losses = self._losses(batch)
        if not torch.isfinite(losses.total):
            raise FloatingPointError(
                f"the loss became {losses.total.item()} on photos {', '.join(batch['key'])}: "
                "lower --lr, or look at these photos"
            )
        photos = len(batch["key"])
        self._log_losses("train", losses, photos)
        self.log("loss", losses.total.detach(), prog_bar=True, logger=False, batch_size=photos)
        return losses.total

    def on_validation_epoch_start(self) -> None:
        """Begin a new record."""
        self.record = ValidationRecord()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the record."""
        prediction, cells, losses = self._losses(batch)
        photos = len(batch["key"])
        self._log_losses("val", losses, photos)
        for level, labels in cells.items():
            labelled = labels != MISSING
            if labelled.any():
                right = (prediction.cells[level].argmax(1) == labels)[labelled].float().mean()
                count = int(labelled.sum())
                self.log(f"val/top1_{level}", right, batch_size=count, sync_dist=True)
        self.record.add(prediction, batch, self.usable(batch), LEVELS.index(self.levels[-1]))

    def on_validation_epoch_end(self) -> None:
        """Log how many photos are placed within each distance."""
        logits, _, positions = self.record.joined()
        if not len(positions):
            return
        errors_km = self.errors_km(logits, positions)
        for km in VALIDATION_KM:
            share = 100 * float((errors_km <= km).mean())
            self.log(f"val/within_{km}_km", share, sync_dist=True)
            if km in SHOWN_KM:
                self.log(f"%<{km}km", share, prog_bar=True, logger=False, sync_dist=True)

    def errors_km(self, logits: dict[str, np.ndarray], positions: np.ndarray) -> np.ndarray:
        """Distance of each decoded answer from the true positions `(N, 2)`; km `(N,)`."""
        posterior = nested_posterior(logits, ancestors(self.partition, self.levels))
        best = posterior.argmax(axis=1)
        finest = self.partition.levels[self.levels[-1]]
        lat, lon = finest.lat[best], finest.lon[best]
        return haversine_km(lat, lon, positions[:, 0], positions[:, 1])

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up and cosine; no decay on biases, norms and other vectors."""
        trained = [p for p in self.model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate)
        total = max(1, int(self.trainer.estimated_stepping_batches))
        warmup = max(1, round(self.warmup_share * total))

        def rate(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (
                1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup)))
            )

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
