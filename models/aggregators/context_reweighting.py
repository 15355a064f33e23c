"""NetVLAD whose places are weighted by their surroundings: contextual reweighting (CRN).

Three convolutions of 3, 5 and 7 places see the map at half its size and say how much each place
counts; a tree then weighs less than a facade. Kim, Dunn and Frahm, "Learned Contextual Feature
Reweighting for Image Geo-Localization", 2017.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.aggregators.netvlad import NetVLAD

FILTERS = {3: 32, 5: 32, 7: 20}  # size -> number, of the paper


class ContextWeights(nn.Module):
    """Weights `(B, 1, H, W)`, not negative, of the places of a map `(B, D, H, W)`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shrink = nn.AvgPool2d(kernel_size=3, stride=2, ceil_mode=True)
        self.filters = nn.ModuleList(
            nn.Conv2d(width, number, size, padding=size // 2) for size, number in FILTERS.items()
        )
        self.accumulate = nn.Conv2d(sum(FILTERS.values()), 1, kernel_size=1)
        # A start at which no place is thrown away: ReLU's gradient is 0 where all weights are.
        nn.init.constant_(self.accumulate.get_parameter("bias"), 1.0)

    def forward(self, maps: Tensor) -> Tensor:
        """Weigh the places of `(B, D, H, W)`."""
        small = self.shrink(maps) if min(maps.shape[2:]) >= 3 else maps
        context = torch.cat([conv(small) for conv in self.filters], dim=1).relu()
        weights = self.accumulate(context).relu()
        return functional.interpolate(weights, maps.shape[2:], mode="bilinear", align_corners=False)


class ContextReweightedVLAD(NetVLAD):
    """Aggregate `(B, D, H, W)` to `(B, K D)`: NetVLAD's assignment times the context's weights."""

    def __init__(self, width: int, clusters: int = 64) -> None:
        super().__init__(width, clusters)
        self.context = ContextWeights(width)

    def assign(self, units: Tensor) -> Tensor:
        """Weights `(B, K, N)` of the centres at each place of `(B, D, H, W)`."""
        return super().assign(units) * self.context(units).flatten(2)
