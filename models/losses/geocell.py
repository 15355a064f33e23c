"""The whole training loss of a geocell model, every part of it an option.

    loss = sum over levels l of  w_l * CE_l
         + w_scene * CE_scene  +  w_consistency * consistency  +  w_retrieval * retrieval

Each part is a mean over the photos of the batch that carry its label, 0 where none does.

- CE_l: cross-entropy, its labels smoothed evenly or, on the finest level, by distance, cells of
  unequal size balanced (models/losses/level.py). A level's logits may be `LinearLogits`, which are
  never computed whole (models/losses/memory_light_head.py).
- CE_scene: plain cross-entropy over 3, 16 or 365 kinds of scene.
- consistency: the finest posterior summed to each coarser level, against that level's own head
  (models/losses/nested_consistency.py), mean over coarser levels, and over photos in a cell of
  both.
- retrieval: multi-similarity or CosFace on the descriptor (models/losses/metric.py).

With the defaults it is the loss of models/losses/multi_task.py.
"""

from dataclasses import replace

from torch import Tensor, nn

from models.decode import ancestors
from models.geocell_vit import Prediction
from models.losses.level import LevelLoss
from models.losses.memory_light_head import LinearLogits
from models.losses.metric import CosFace, multi_similarity_loss
from models.losses.multi_task import MISSING, Losses, masked_cross_entropy, masked_mean
from models.losses.nested_consistency import NestedConsistency
from models.losses.settings import LossSettings
from partitioning.partition import LEVELS, Partition


class GeocellLoss(nn.Module):
    """The loss of a training task: `loss(outputs, cells, scene, lat, lon) -> (total, parts)`.

    A module because CosFace learns its class vectors: give the optimiser this module's parameters
    as well as the model's (there are none without CosFace).

    Args:
        settings: what it is made of.
        partition: the cells that the heads predict.
        levels: the levels that have a head, coarse to fine.
        descriptor_dim: length of the descriptor; CosFace needs it.
        num_places: classes of `places`, where CosFace is to learn those and not the finest cells.

    Raises:
        ValueError: CosFace without the descriptor's length.
    """

    def __init__(
        self,
        settings: LossSettings,
        partition: Partition,
        levels: tuple[str, ...] = LEVELS,
        descriptor_dim: int = 0,
        num_places: int = 0,
    ) -> None:
        super().__init__()
        self.settings, self.levels = settings, levels
        self.num_cells = {level: len(partition.levels[level]) for level in levels}
        plain = settings if settings.smooth_all_levels else replace(settings, smoothing_km=None)
        self._level_losses = {
            level: LevelLoss(partition.levels[level], settings if level == levels[-1] else plain)
            for level in levels
        }
        self._consistency: dict[str, NestedConsistency] = {}
        if settings.consistency:
            lineage = ancestors(partition, levels)
            self._consistency = {
                level: NestedConsistency(lineage[:, column], settings.consistency_direction)
                for column, level in enumerate(levels[:-1])
            }
        self.cosface: CosFace | None = None
        if settings.retrieval == "cosface":
            if descriptor_dim < 1:
                raise ValueError("CosFace needs the length of the descriptor: descriptor_dim")
            self.cosface = CosFace(num_places or self.num_cells[levels[-1]], descriptor_dim)

    def forward(
        self,
        outputs: Prediction,
        cells: Tensor,
        scene: Tensor,
        lat: Tensor,
        lon: Tensor,
        places: Tensor | None = None,
    ) -> Losses:
        """Combine all parts.

        Args:
            outputs: the model's, for B photos; a level's logits may be `LinearLogits`.
            cells: classes int64 `(B, 3)`, coarse, middle, fine; `MISSING` where in no cell.
            scene: scene classes int64 `(B,)`, `MISSING` where unknown.
            lat: true latitudes `(B,)`, degrees; read by distance-smoothed labels only.
            lon: true longitudes `(B,)`, degrees.
            places: what the descriptor is to tell apart, int64 `(B,)`; None = the finest cells.

        Returns:
            total, and the unweighted parts by name: the levels, "scene", and "consistency" and
            "retrieval" where they are on.

        Raises:
            ValueError: a head has another number of cells than the partition; consistency is asked
                of logits that are not computed whole.
        """
        self._check(outputs, cells)
        labels = {level: cells[:, LEVELS.index(level)] for level in self.levels}
        parts = {
            level: self._level_losses[level](outputs.cells[level], labels[level], lat, lon)
            for level in self.levels
        }
        parts["scene"] = masked_cross_entropy(outputs.scene, scene)
        if self.settings.consistency:
            parts["consistency"] = self._divergence(outputs.cells, labels)
        if self.settings.retrieval != "none":
            of = multi_similarity_loss if self.cosface is None else self.cosface
            place = labels[self.levels[-1]] if places is None else places
            parts["retrieval"] = of(outputs.descriptor, place)
        weights, zero = self._weights(), parts["scene"].new_zeros(())
        total = sum((weights[name] * part for name, part in parts.items()), zero)
        return Losses(total, parts)

    def _weights(self) -> dict[str, float]:
        settings = self.settings
        return dict(zip(LEVELS, settings.level_weights, strict=True)) | {
            "scene": settings.scene_weight,
            "consistency": settings.consistency,
            "retrieval": settings.retrieval_weight,
        }

    def _divergence(self, logits: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
        """Mean over the coarser levels; 0 where there is none."""
        finest = self.levels[-1]
        total = logits[finest].new_zeros(())
        for level, divergence in self._consistency.items():
            both = (labels[finest] != MISSING) & (labels[level] != MISSING)
            each = divergence(logits[finest].float(), logits[level].float())
            total = total + masked_mean(each, both) / len(self._consistency)
        return total

    def _check(self, outputs: Prediction, cells: Tensor) -> None:
        if cells.ndim != 2 or cells.shape[1] != len(LEVELS):
            raise ValueError(f"cells must be (B, {len(LEVELS)}), got {tuple(cells.shape)}")
        for level, count in self.num_cells.items():
            logits = outputs.cells[level]
            if isinstance(logits, LinearLogits) and self.settings.consistency:
                raise ValueError(
                    f"{level}: nested consistency compares whole posteriors, and this head never "
                    "computes its logits whole: set consistency 0, or take the plain head"
                )
            found = len(logits.weight) if isinstance(logits, LinearLogits) else logits.shape[1]
            if found != count:
                raise ValueError(
                    f"{level}: the head has {found} classes and the cells file {count}: they "
                    "belong to different partitions; use the cells.parquet of this model's run"
                )
