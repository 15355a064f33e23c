"""What a run logs of an epoch: losses, top-1 of every level, photos within 25 to 2500 km.

Sums and counts over batches and ranks (models/training/tally.py), each quantity over the photos
that are labelled for it.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from models.geocell_vit import Prediction
from models.losses.multi_task import Losses
from models.training.tally import Tally

VALIDATION_KM = (25, 200, 750, 2500)


class TaskMetrics:
    """The tally of one epoch.

    Args:
        weights: name of each of the loss's parts -> its weight in the loss.
        levels: the levels that are predicted.
        device: where the sums are kept.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        levels: Sequence[str],
        device: torch.device | str = "cpu",
    ) -> None:
        self._weights = weights
        names = [f"loss_{name}" for name in weights]
        names += [f"top1_{level}" for level in levels]
        self._tally = Tally([*names, *(f"within_{km}_km" for km in VALIDATION_KM)], device)

    def add_losses(self, losses: Losses, known: dict[str, Tensor]) -> None:
        """Add a batch's losses.

        Args:
            losses: means over the photos of the batch.
            known: name of each part -> which photos it is the mean of, bool `(B,)`.
        """
        for name, part in losses.parts.items():
            count = known[name].sum()
            self._tally.add(f"loss_{name}", part.detach() * count, count)

    def add_top1(
        self, prediction: Prediction, cells: dict[str, Tensor], known: dict[str, Tensor]
    ) -> None:
        """Add how many labelled photos have their own cell first."""
        for level, labels in cells.items():
            right = (prediction.cells[level].argmax(1) == labels) & known[level]
            self._tally.add(f"top1_{level}", right.sum(), known[level].sum())

    def add_errors(self, errors_km: np.ndarray) -> None:
        """Add how many of the photos are placed within each distance, in percent."""
        for km in VALIDATION_KM:
            within = 100.0 * float((errors_km <= km).sum())
            self._tally.add(f"within_{km}_km", within, len(errors_km))

    def means(self, sum_over_ranks: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The figures of all ranks together; the loss is that of all photos as one batch."""
        means = self._tally.means(sum_over_ranks)
        parts = {name: means.get(f"loss_{name}") for name in self._weights}
        loss = sum(self._weights[name] * part for name, part in parts.items() if part is not None)
        return ({"loss": loss} if any(p is not None for p in parts.values()) else {}) | means
