"""Train a `GeocellViT` with Lightning: its steps.

Logged (models/training/task_metrics.py): the loss of every task, and on validation top-1 of every
level and the share of photos within 25, 200, 750 and 2500 km by hierarchical decoding. Validation
counts every photo once, though a rank may see one again where the photos do not divide among the
ranks.
"""

from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from models.decode import ancestors, nested_posterior
from models.geocell_vit import GeocellViT, Prediction
from models.losses.geocell import GeocellLoss
from models.losses.joined import joined_loss, part_weights
from models.losses.memory_light_head import LinearLogits
from models.losses.multi_task import MISSING, Losses
from models.losses.settings import LossSettings
from models.training.ema import Average
from models.training.loss_watch import LossWatch
from models.training.optimizer import Optimizing
from models.training.sharding import shard
from models.training.task_metrics import TaskMetrics
from models.training.validation_record import Batch, ValidationRecord
from partitioning.geodesy import haversine_km
from partitioning.partition import LEVELS, Partition

SHOWN_KM = (200, 2500)  # in the progress bar


class GeocellTask(pl.LightningModule):
    """The training of one model.

    Args:
        model: the network.
        partition: the cells its heads predict.
        loss: what the loss is made of.
        optimizing: optimiser and schedule.
        ema: weight of the past in the running average of weights; 0 = none is kept.
        freeze_backbone: train the heads only.
        light_heads: in training, never compute the logits of the cells whole: for very many cells
            (models/losses/memory_light_head.py).
        seed: of what the network itself draws (dropout).
        settings: what else the run depends on, plain types; a checkpoint of a run with others is
            refused.

    Raises:
        ValueError: the model's heads are not for this partition.
    """

    def __init__(
        self,
        model: GeocellViT,
        partition: Partition,
        loss: LossSettings | None = None,
        optimizing: Optimizing | None = None,
        ema: float = 0.0,
        freeze_backbone: bool = False,
        light_heads: bool = False,
        seed: int = 0,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_heads(model, partition)
        loss = loss or LossSettings()
        self.model = model
        self.partition = partition
        self.levels = tuple(level for level in LEVELS if level in model.cell_heads)
        self.loss = GeocellLoss(loss, partition, self.levels, model.descriptor_head.dim)
        self.part_weights = part_weights(loss, self.levels)
        self.optimizing = optimizing or Optimizing()
        self.freeze_backbone = freeze_backbone
        self.light_heads = light_heads
        self.seed = seed
        self.settings = settings or {}
        self.watch = LossWatch()
        if loss.retrieval == "none":  # no gradient will come: DDP would wait for it in vain
            model.descriptor_head.requires_grad_(False)
        if freeze_backbone:
            model.encoder.requires_grad_(False)
            self.train(self.training)
        self.average = Average(model, ema) if ema else None
        self.metrics = self.val_metrics = self._new_metrics()

    def configure_model(self) -> None:
        """Shard, where the strategy is one that does (Lightning sets the mesh)."""
        mesh = getattr(self, "_device_mesh", None)
        if mesh is not None:
            for model in (self.model, self.average and self.average.module):
                if model is not None:
                    shard(model, mesh["data_parallel"])

    def train(self, mode: bool = True) -> "GeocellTask":
        """Keep a frozen backbone as it is, its batch statistics too."""
        super().train(mode)
        if self.freeze_backbone:
            self.model.encoder.eval()
        return self

    def on_train_start(self) -> None:
        """Begin to count; a run resumed within an epoch counts what is left of it."""
        self.metrics = self._new_metrics()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the batch, so that a resumed run draws what it would have drawn."""
        place = (self.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the settings.

        Raises:
            FloatingPointError: the last loss was not finite: such weights are not worth keeping.
        """
        self.watch.check()
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

    def losses(
        self, prediction: Prediction, batch: Batch, usable: Tensor
    ) -> tuple[Losses, dict[str, Tensor]]:
        """The losses of a batch, and for each part which photos it is the mean of, bool `(B,)`."""
        cells = batch["cells"].masked_fill(~usable[:, None], MISSING)
        scene = batch["scene"].masked_fill(~usable, MISSING)
        scene = scene.masked_fill(scene >= prediction.scene.shape[1], MISSING)
        prediction = prediction._replace(scene=prediction.scene.float())
        losses = self.loss(prediction, cells, scene, batch["lat"], batch["lon"])
        of_finest = cells[:, LEVELS.index(self.levels[-1])] != MISSING
        known = {name: of_finest for name in losses.parts}
        known |= {level: cells[:, LEVELS.index(level)] != MISSING for level in self.levels}
        return losses, known | {"scene": scene != MISSING}

    def _predict(self, batch: Batch) -> Prediction:
        """What the model says, the cells' logits yet to be computed where heads are light."""
        inputs = batch["rgb"], batch["seg"], batch["has_seg"]
        if not self.light_heads:
            return self.model(*inputs)
        summary, patches = self.model.encoder(*inputs)
        heads: Any = self.model.cell_heads
        cells: Any = {
            level: LinearLogits(summary, head.weight, head.bias) for level, head in heads.items()
        }
        scene, descriptor = self.model.scene_head(summary), self.model.descriptor_head(patches)
        return Prediction(cells, scene, descriptor)

    def compile_model(self) -> None:
        """Have the network compiled when it first runs: what `training_step` calls of it."""
        network = self.model.encoder if self.light_heads else self.model
        network.compile()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch.

        Raises:
            FloatingPointError: a loss is not finite; the message names the photos.
        """
        losses, known = self.losses(self._predict(batch), batch, self.usable(batch))
        self.watch.see(losses.total, batch["key"])
        self.metrics.add_losses(losses, known)
        total, photos = losses.total.detach(), len(batch["key"])
        self.log("loss", total, prog_bar=True, logger=False, batch_size=photos)
        if self._trainer is None or self._trainer.world_size == 1:
            return losses.total
        counts = {name: is_known.sum() for name, is_known in known.items()}
        return joined_loss(losses.parts, self.part_weights, counts, self._mean_over_ranks)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Move the weights, then their average."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.model, self.trainer.global_step + 1)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's losses."""
        self._log_means("train", self.metrics)
        self.metrics = self._new_metrics()

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self.val_metrics = self._new_metrics()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch."""
        network = self.average.module if self.average is not None else self.model
        prediction = network(batch["rgb"], batch["seg"], batch["has_seg"])
        usable = self.usable(batch) & batch["counts"]
        losses, known = self.losses(prediction, batch, usable)
        cells = {level: batch["cells"][:, LEVELS.index(level)] for level in self.levels}
        self.val_metrics.add_losses(losses, known)
        self.val_metrics.add_top1(prediction, cells, known)
        record = ValidationRecord()
        record.add(prediction, batch, usable, LEVELS.index(self.levels[-1]))
        logits, _, positions = record.joined()
        if len(positions):
            self.val_metrics.add_errors(self.errors_km(logits, positions))

    def on_validation_epoch_end(self) -> None:
        """Log what the ranks found together."""
        means = self._log_means("val", self.val_metrics)
        for km in SHOWN_KM:
            if f"within_{km}_km" in means:
                self.log(f"%<{km}km", means[f"within_{km}_km"], prog_bar=True, logger=False)

    def _new_metrics(self) -> TaskMetrics:
        return TaskMetrics(self.part_weights, self.levels, self.device)

    def _log_means(self, stage: str, metrics: TaskMetrics) -> dict[str, float]:
        """Log the same on every rank: a log that one rank alone asks for would wait for ever."""
        means = metrics.means(lambda sums: self.trainer.strategy.reduce(sums, reduce_op="sum"))
        self.log_dict({f"{stage}/{name}": value for name, value in means.items()})
        return means

    def _mean_over_ranks(self, values: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(values, reduce_op="mean")

    def errors_km(self, logits: dict[str, np.ndarray], positions: np.ndarray) -> np.ndarray:
        """Distance of each decoded answer from the true positions `(N, 2)`; km `(N,)`."""
        posterior = nested_posterior(logits, ancestors(self.partition, self.levels))
        best = posterior.argmax(axis=1)
        finest = self.partition.levels[self.levels[-1]]
        lat, lon = finest.lat[best], finest.lon[best]
        return haversine_km(lat, lon, positions[:, 0], positions[:, 1])

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule over the whole run, for the model and what the loss learns."""
        trained = nn.ModuleList([self.model, self.loss])
        steps = int(self.trainer.estimated_stepping_batches)
        return self.optimizing.build(trained, steps, self._is_scaled)

    @property
    def _is_scaled(self) -> bool:
        return getattr(self.trainer, "precision", "") == "16-mixed"

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Clip the norm; Lightning itself refuses to beside a fused optimiser in bfloat16."""
        if self._is_scaled:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            weights = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(weights, gradient_clip_val)


def check_heads(model: GeocellViT, partition: Partition) -> None:
    """Compare the heads with the cells.

    Raises:
        ValueError: a head has another number of classes than its level has cells.
    """
    for level, count in model.architecture.num_cells.items():
        if level not in LEVELS:
            raise ValueError(f"no level {level!r}: there are {', '.join(LEVELS)}")
        cells = len(partition.levels[level])
        if count != cells:
            raise ValueError(
                f"the model has {count} {level} classes and cells.parquet {cells} {level} cells: "
                "take the cells.parquet that the model was made for, or train a new model"
            )
