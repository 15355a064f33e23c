"""GeoWarp: which part of one photo shows what of another, seen from elsewhere.

Dense local features of two photos are correlated, a small network makes of the correlations a quad
on either photo, and both quads stretched over whole pictures show the place from one viewpoint.
Berton et al., "Viewpoint Invariant Dense Matching for Visual Geolocalization", 2021,
https://arxiv.org/abs/2109.09827. Only the regression learns; the features stay as they are. Quads
as in models/homography.py.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.homography import CORNERS
from models.places.local_features import Extractor

SIDE = 15  # of the maps that are correlated
KERNELS = (7, 5, 5, 5, 5, 5)
CHANNELS = (SIDE * SIDE, 128, 128, 64, 64, 64, 64)
SMALLEST = 1e-6  # added to squared lengths, as in the source: its weights are used to it


class Quads(NamedTuple):
    """What two photos of a pair have in common.

    Attributes:
        a: On the first photo, `(B, 4, 2)`.
        b: On the second.
    """

    a: Tensor
    b: Tensor


def dense_features(maps: Tensor) -> Tensor:
    """Feature maps `(B, D, H, W)` pooled to `(B, D, 15, 15)`, of length 1 over D."""
    return unit(functional.adaptive_avg_pool2d(maps, SIDE))


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """How alike each place of one map is to each of another.

    Args:
        a: Dense features `(B, D, 15, 15)`.
        b: Likewise.

    Returns:
        `(B, 225, 15, 15)`: at (n, y, x) that of a's place n, counted column by column, and b's
        place (y, x), not below 0, of length 1 over n.
    """
    places = a.mT.flatten(2)  # the weights of the source are in this order
    products = torch.einsum("bdn,bdyx->bnyx", places, b)
    return unit(functional.relu(products))


def unit(maps: Tensor) -> Tensor:
    """Vectors over the channels of `(B, C, H, W)` at length 1, those near 0 shorter."""
    return maps / (maps.square().sum(dim=1, keepdim=True) + SMALLEST).sqrt()


class HomographyRegression(nn.Module):
    """Correlations `(B, 225, 15, 15)` to corners `(B, 8, 2)`: a quad on each of two photos.

    Starts with both quads the whole photo.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, kernel in zip(CHANNELS[:-1], CHANNELS[1:], KERNELS, strict=True):
            convolution = nn.Conv2d(inputs, outputs, kernel, padding=1)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        self.conv = nn.Sequential(*layers)  # 15 x 15 places shrink to 11, 9, 7, 5, 3, 1
        self.linear = nn.Linear(CHANNELS[-1], 16)
        nn.init.zeros_(self.linear.weight)
        with torch.no_grad():
            self.linear.bias.copy_(torch.tensor(CORNERS * 2).flatten())

    def forward(self, correlations: Tensor) -> Tensor:
        """Regress `(B, 225, 15, 15)`."""
        return self.linear(self.conv(correlations).flatten(1)).view(-1, 8, 2)


class GeoWarp(nn.Module):
    """An extractor of local features, which stays as it is, and the regression that learns.

    Args:
        extractor: Any of models/places/local_features.py.
    """

    def __init__(self, extractor: Extractor) -> None:
        super().__init__()
        self.extractor = extractor.requires_grad_(False).eval()
        self.regression = HomographyRegression()

    def train(self, mode: bool = True) -> "GeoWarp":
        """As torch's, but that the extractor stays in evaluation mode."""
        super().train(mode)
        self.extractor.eval()
        return self

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps `(B, D, h, w)` of normalised photos `(B, 3, H, W)`."""
        return self.extractor(images).maps

    def dense(self, images: Tensor) -> Tensor:
        """Dense features `(B, D, 15, 15)` of normalised photos `(B, 3, H, W)`."""
        return dense_features(self.maps(images))

    def both_ways(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """What the regression says of dense features (a, b) and of (b, a); each `(B, 8, 2)`.

        The first four corners lie on the first of the two.
        """
        pairs = torch.cat([correlation(a, b), correlation(b, a)])
        forth, back = self.regression(pairs).chunk(2)
        return forth, back

    def quads(self, a: Tensor, b: Tensor) -> Quads:
        """What dense features `(B, D, 15, 15)` of two photos have in common.

        The mean of both ways, so that to swap the photos is to swap the quads.
        """
        return common(*self.both_ways(a, b))


def common(forth: Tensor, back: Tensor) -> Quads:
    """The mean of what `GeoWarp.both_ways` says, `(B, 8, 2)` each."""
    return Quads((forth[:, :4] + back[:, 4:]) / 2, (forth[:, 4:] + back[:, :4]) / 2)
