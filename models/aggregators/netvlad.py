"""NetVLAD: residuals to learned centres, softly assigned.

    V_k = sum over places n of a_nk (x_n - c_k),  a_n = softmax over k of w_k . x_n

with x_n of length 1; each V_k is brought to length 1, then all of them together. Arandjelovic et
al., "NetVLAD: CNN architecture for weakly supervised place recognition", 2016,
https://arxiv.org/abs/1511.07247.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.aggregators.aggregator import Aggregator


class NetVLAD(Aggregator):
    """Aggregate `(B, D, H, W)` to `(B, K D)`, of length 1.

    Args:
        width: D.
        clusters: K.
    """

    def __init__(self, width: int, clusters: int = 64) -> None:
        super().__init__()
        self.dim = clusters * width
        self.conv = nn.Conv2d(width, clusters, kernel_size=1, bias=False)
        self.centroids = nn.Parameter(torch.rand(clusters, width))

    @torch.no_grad()
    def start_from(self, centroids: Tensor, descriptors: Tensor) -> float:
        """Set centres and assignment from k-means on descriptors of the training photos.

        The assignment's sharpness alpha is chosen so that on average the nearest centre weighs a
        hundred times the second: alpha = -ln(0.01) / mean(first - second similarity).

        Args:
            centroids: `(K, D)`.
            descriptors: `(N, D)`, of length 1.

        Returns:
            alpha.

        Raises:
            ValueError: wrong shapes, or the descriptors do not tell two centres apart.
        """
        if centroids.shape != self.centroids.shape or descriptors.shape[1:] != centroids.shape[1:]:
            raise ValueError(
                f"centroids {tuple(centroids.shape)} and descriptors {tuple(descriptors.shape)} do "
                f"not fit {tuple(self.centroids.shape)}"
            )
        directions = functional.normalize(centroids, dim=1)
        nearest = (descriptors @ directions.T).topk(2, dim=1).values
        gap = float((nearest[:, 0] - nearest[:, 1]).mean())
        if not gap > 1e-6:  # rounding alone makes equal ones differ by less
            raise ValueError("two centroids are equally near to every descriptor; cluster again")
        alpha = -math.log(0.01) / gap
        self.centroids.copy_(centroids)
        self.conv.weight.copy_((alpha * directions)[:, :, None, None])
        return alpha

    def assign(self, units: Tensor) -> Tensor:
        """Weights `(B, K, N)` of the centres at each place of `(B, D, H, W)`."""
        return self.conv(units).flatten(2).softmax(dim=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Aggregate `(B, D, H, W)` to `(B, K D)`."""
        units = functional.normalize(maps, dim=1)
        return self.aggregate(units, self.assign(units))

    def aggregate(self, units: Tensor, weights: Tensor) -> Tensor:
        """Sum the residuals of unit features `(B, D, H, W)` by weights `(B, K, N)`."""
        # Two products in place of all N K residuals: sum a (x - c) = sum a x - (sum a) c.
        sums = weights @ units.flatten(2).transpose(1, 2)
        residuals = sums - weights.sum(dim=2, keepdim=True) * self.centroids
        return functional.normalize(functional.normalize(residuals, dim=2).flatten(1), dim=1)
