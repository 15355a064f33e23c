"""The cross-entropy of one level of geocells, with every option.

    CE = mean over labelled photos of
         b (log sum_j exp(z_j) - (1 - e) sum_j q_j z_j - e/C sum_j z_j)

e is the label smoothing (Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016), q
the target: the true cell, or with `smoothing_km` spread about it
(models/losses/distance_labels.py). b, and what is added to z, answer to cells of unequal size
(models/losses/class_balance.py).
"""

import torch
from torch import Tensor

from models.losses.class_balance import class_weights, focal_factor, log_prior
from models.losses.distance_labels import DistanceLabels
from models.losses.memory_light_head import (
    LinearLogits,
    LogWeights,
    Terms,
    chunked_terms,
    dense_terms,
)
from models.losses.multi_task import MISSING, masked_mean
from models.losses.settings import LossSettings
from partitioning.cells import Cells


class LevelLoss:
    """The cross-entropy of one level, with all that `LossSettings` asks of it.

    It is no module: a cast of the model to bfloat16 must not reach its constants.

    Args:
        cells: of the level.
        settings: of the loss.
    """

    def __init__(self, cells: Cells, settings: LossSettings) -> None:
        self.settings = settings
        weights = class_weights(settings.imbalance, cells.photos, settings.strength)
        self.weights = torch.from_numpy(weights).float()
        self.shift: Tensor | None = None
        if settings.imbalance == "logit_adjustment":
            self.shift = torch.from_numpy(settings.strength * log_prior(cells.photos)).float()
        self.distances: DistanceLabels | None = None
        if settings.smoothing_km is not None:
            self.distances = DistanceLabels(cells.lat, cells.lon, settings.smoothing_km)

    def __call__(
        self, logits: Tensor | LinearLogits, labels: Tensor, lat: Tensor, lon: Tensor
    ) -> Tensor:
        """Mean over the labelled photos; 0, with a gradient of 0, where there is none.

        Args:
            logits: `(B, C)`, or features and head.
            labels: int64 `(B,)`, `MISSING` where unknown.
            lat: true latitudes `(B,)`, degrees; may be NaN where the label is missing.
            lon: true longitudes `(B,)`, degrees.
        """
        known = labels != MISSING
        self._move(labels.device)
        log_weights = self._log_weights(known, lat, lon)
        terms = self._terms(logits, labels, log_weights)
        e = self.settings.label_smoothing
        loss = terms.log_sum - (1 - e) * terms.expected - e * terms.mean
        if self.settings.imbalance == "focal":
            loss = loss * focal_factor(terms.true - terms.log_sum, self.settings.strength)
        return masked_mean(loss * self.weights[labels.clamp(min=0)], known)

    def _log_weights(self, known: Tensor, lat: Tensor, lon: Tensor) -> LogWeights | None:
        if self.distances is None:
            return None
        distances = self.distances
        photos = distances.photo_vectors(torch.where(known, lat, 0), torch.where(known, lon, 0))
        return lambda start, stop: distances.log_weights(photos, start, stop)

    def _move(self, device: torch.device) -> None:
        if self.weights.device != device:
            self.weights = self.weights.to(device)
            self.shift = None if self.shift is None else self.shift.to(device)

    def _terms(
        self, logits: Tensor | LinearLogits, labels: Tensor, log_weights: LogWeights | None
    ) -> Terms:
        shift = 0 if self.shift is None else self.shift
        if isinstance(logits, LinearLogits):
            shifted = logits._replace(bias=logits.bias + shift)
            return chunked_terms(shifted, labels, log_weights)
        return dense_terms(logits + shift, labels, log_weights)
