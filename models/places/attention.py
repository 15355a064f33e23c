"""Attention on a feature map, before it is aggregated: CBAM and non-local blocks.

Each takes and gives `(B, D, H, W)`. Context reweighting belongs to its aggregator:
models/aggregators/context_reweighting.py.
"""

import torch
from torch import Tensor, nn


class CBAM(nn.Module):
    """Convolutional block attention: first which channels count, then which places.

    Channels: sigmoid(f(mean over places) + f(maximum over places)), f two layers with D / reduction
    units between. Places: sigmoid of a 7 x 7 convolution over (maximum, mean over channels). Woo et
    al., "CBAM: Convolutional Block Attention Module", 2018, https://arxiv.org/abs/1807.06521.

    Args:
        width: D.
        reduction: how many times fewer units the hidden layer has.
    """

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, width // reduction)
        self.channels = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.places = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Weigh `(B, D, H, W)`."""
        means, maxima = maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))
        weights = (self.channels(means) + self.channels(maxima)).sigmoid()
        maps = maps * weights[:, :, None, None]
        both = torch.stack([maps.amax(dim=1), maps.mean(dim=1)], dim=1)
        return maps * self.places(both).sigmoid()


class NonLocal(nn.Module):
    """A non-local block: every place takes from every other what is like it.

        y_i = x_i + BN(W sum over j of softmax over j (theta(x_i) . phi(x_j)) g(x_j))

    The normalisation starts at 0, so the block starts as the identity. Wang et al., "Non-local
    Neural Networks", 2018, https://arxiv.org/abs/1711.07971 (embedded Gaussian).

    Args:
        width: D.
        bottleneck: channels of theta, phi and g.
    """

    def __init__(self, width: int, bottleneck: int = 128) -> None:
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(width, bottleneck, 1) for _ in range(3))
        self.back = nn.Conv2d(bottleneck, width, kernel_size=1)
        self.norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Mix the places of `(B, D, H, W)`."""
        query, key, value = (conv(maps).flatten(2) for conv in (self.theta, self.phi, self.g))
        weights = (query.transpose(1, 2) @ key).softmax(dim=-1)
        mixed = (value @ weights.transpose(1, 2)).unflatten(2, maps.shape[2:])
        return maps + self.norm(self.back(mixed))


ATTENTIONS = {"cbam": CBAM, "non_local": NonLocal}
