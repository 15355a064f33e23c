"""Averages over the places of a feature map: SPoC and GeM.

SPoC (Babenko and Lempitsky, "Aggregating Deep Convolutional Features for Image Retrieval", 2015,
https://arxiv.org/abs/1510.07493) is the mean, which after L2 is the sum. GeM: models/gem.py.
"""

import torch
from torch import Tensor

from models.aggregators.aggregator import Aggregator
from models.gem import GeM


class MeanPool(Aggregator):
    """SPoC: `(B, D, H, W)` to the mean `(B, D)` over all places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim = width

    def forward(self, maps: Tensor) -> Tensor:
        """Pool `(B, D, H, W)` to `(B, D)`."""
        return maps.mean(dim=(2, 3))


class GeMPool(Aggregator):
    """GeM over the places of a map: `(B, D, H, W)` to `(B, D)`; its exponent is learned.

    Args:
        width: D.
        p: the exponent at the start.
        eps: features are clamped from below to this.
    """

    def __init__(self, width: int, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.dim = width
        self.pool = GeM(p, eps)

    def forward(self, maps: Tensor) -> Tensor:
        """Pool `(B, D, H, W)` to `(B, D)`."""
        p = self.pool.p
        powers = maps.clamp(min=self.pool.eps)
        # By logarithms in half the time of x ** p; in place where no gradient needs what was there.
        if torch.is_grad_enabled():
            powers = powers.log().mul(p).exp_()
        else:
            powers.log_().mul_(p).exp_()
        return powers.mean(dim=(2, 3)).pow(1 / p)
