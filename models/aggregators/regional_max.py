"""Maxima over a feature map: MAC, and R-MAC over squares of several sizes.

Tolias, Sicre and Jegou, "Particular object retrieval with integral max-pooling of CNN activations",
2016, https://arxiv.org/abs/1511.05879. At scale l the squares' side is 2 min(H, W) / (l + 1), and
l of them lie along the short side; along the long side as many more as bring the overlap of
neighbours at scale 1 nearest to 40%. The squares' maxima, each of length 1, are added to the whole
map's.
"""

import torch
from torch import Tensor
from torch.nn import functional

from models.aggregators.aggregator import Aggregator

MOST_EXTRA = 6  # squares along the long side beyond those along the short one


class MaxPool(Aggregator):
    """MAC: `(B, D, H, W)` to the maximum `(B, D)` over all places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim = width

    def forward(self, maps: Tensor) -> Tensor:
        """Pool `(B, D, H, W)` to `(B, D)`."""
        return maps.amax(dim=(2, 3))


class RegionalMax(Aggregator):
    """R-MAC: `(B, D, H, W)` to the sum `(B, D)` of the normalised maxima of squares.

    Args:
        width: D.
        scales: L of the paper.
        overlap: of neighbouring squares along the long side, at scale 1.
    """

    def __init__(self, width: int, scales: int = 3, overlap: float = 0.4) -> None:
        super().__init__()
        self.dim, self.scales, self.overlap = width, scales, overlap

    def forward(self, maps: Tensor) -> Tensor:
        """Pool `(B, D, H, W)` to `(B, D)`."""
        height, width = maps.shape[2:]
        total = functional.normalize(maps.amax(dim=(2, 3)), dim=1)
        for top, left, side in squares(height, width, self.scales, self.overlap):
            maxima = maps[:, :, top : top + side, left : left + side].amax(dim=(2, 3))
            total = total + functional.normalize(maxima, dim=1)
        return total


def squares(
    height: int, width: int, scales: int = 3, overlap: float = 0.4
) -> list[tuple[int, int, int]]:
    """Top, left and side of R-MAC's squares on a map of `height` x `width` places."""
    short, extra = min(height, width), _extra(height, width, overlap)
    found = []
    for scale in range(1, scales + 1):
        side = 2 * short // (scale + 1)
        if side == 0:
            continue
        rows = _starts(height, side, scale + (extra if height > width else 0))
        columns = _starts(width, side, scale + (extra if width > height else 0))
        found += [(top, left, side) for top in rows for left in columns]
    return found


def _extra(height: int, width: int, overlap: float) -> int:
    """How many more squares the long side takes."""
    short, long = min(height, width), max(height, width)
    if short == long:
        return 0
    counts = torch.arange(2, MOST_EXTRA + 2)
    shares = 1 - (long - short) / ((counts - 1) * short)  # of a square, shared with the next one
    return int((shares - overlap).abs().argmin()) + 1


def _starts(length: int, side: int, count: int) -> list[int]:
    """Where `count` squares begin, evenly from edge to edge."""
    step = (length - side) / (count - 1) if count > 1 else 0.0
    return [int(step * number) for number in range(count)]
