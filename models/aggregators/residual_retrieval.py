"""Residual retrieval module (RRM): a mean, then a small network around a shortcut.

Kordopatis-Zilos et al., "Leveraging EfficientNet and Contrastive Learning for Accurate Global-scale
Location Estimation", 2021, https://arxiv.org/abs/2105.07645.
"""

from torch import Tensor, nn

from models.aggregators.aggregator import Aggregator


class ResidualRetrieval(Aggregator):
    """`(B, D, H, W)` to `(B, D)`: norm(x + W2 relu(W1 x)) with x = norm(mean over places)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim = width
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, maps: Tensor) -> Tensor:
        """Aggregate `(B, D, H, W)` to `(B, D)`."""
        mean = self.norm_in(maps.mean(dim=(2, 3)))
        return self.norm_out(mean + self.outer(self.inner(mean).relu()))
