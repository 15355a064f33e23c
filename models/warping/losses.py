"""What GeoWarp learns from: synthetic views, agreement with itself, and what both photos show.

    self-supervised   both quads of both ways against the truth: four mean squared errors
    consistency       both ways and both ways of the mirrored pair against their mean: likewise
    features-wise     mean squared difference of the dense features of both photos, once warped

Berton et al., "Viewpoint Invariant Dense Matching for Visual Geolocalization", 2021,
https://arxiv.org/abs/2109.09827, sections 3.3 and 3.4. The last two need pairs of photos of one
place and no labels of what they share.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from models.geowarp import GeoWarp, Quads
from models.homography import is_degenerate, warp

WEIGHT_POWER = 0.1  # of the uniform numbers that weigh the equations of a training's homographies


class FeaturesLoss(NamedTuple):
    """The features-wise loss of a batch.

    Attributes:
        value: Of the pairs that could be warped; 0 where there is none.
        degenerate: How many could not: a quad of theirs was no picture.
    """

    value: Tensor
    degenerate: int


def self_supervised_loss(forth: Tensor, back: Tensor, truth: Quads) -> Tensor:
    """Compare with the known quads.

    Args:
        forth: Prediction of (a, b), `(B, 8, 2)`: quad on a, quad on b.
        back: Of (b, a), `(B, 8, 2)`: quad on b, quad on a.
        truth: On a and on b.
    """
    mse = functional.mse_loss
    of_forth = mse(forth[:, :4], truth.a) + mse(forth[:, 4:], truth.b)
    return of_forth + mse(back[:, :4], truth.b) + mse(back[:, 4:], truth.a)


def consistency_loss(
    forth: Tensor, back: Tensor, mirrored_forth: Tensor, mirrored_back: Tensor
) -> Tensor:
    """Compare four predictions of one pair with their mean, which passes on no gradient.

    Args:
        forth: Prediction of (a, b), `(B, 8, 2)`.
        back: Of (b, a).
        mirrored_forth: Of (a, b) with both photos mirrored left and right.
        mirrored_back: Of (b, a), likewise.
    """
    four = [swapped(forth), back, mirrored(swapped(mirrored_forth)), mirrored(mirrored_back)]
    mean = torch.stack(four).mean(dim=0).detach()
    return torch.stack([functional.mse_loss(one, mean) for one in four]).sum()


def features_loss(
    model: GeoWarp,
    a: Tensor,
    b: Tensor,
    predicted: Quads,
    generator: torch.Generator | None = None,
) -> FeaturesLoss:
    """Warp both photos of each pair to what they share and compare their dense features.

    Args:
        model: Describes the warped photos.
        a: Normalised photos `(B, 3, H, W)`.
        b: Of the same places.
        predicted: What they share, by the model; the gradient goes through it to the regression.
        generator: Of the equations' weights, `u^0.1` with u uniform.
    """
    is_kept = ~(is_degenerate(predicted.a) | is_degenerate(predicted.b))
    weights = torch.rand(len(a), 4, generator=generator).pow(WEIGHT_POWER).to(a.device)
    warped = [
        warp(photos[is_kept], quads[is_kept], weights=weights[is_kept])
        for photos, quads in ((a, predicted.a), (b, predicted.b))
    ]
    degenerate = int((~is_kept).sum())
    if degenerate == len(a):
        return FeaturesLoss(predicted.a.sum() * 0, degenerate)
    seen_a, seen_b = model.dense(torch.cat(warped)).chunk(2)
    return FeaturesLoss(functional.mse_loss(seen_a, seen_b), degenerate)


def swapped(corners: Tensor) -> Tensor:
    """Corners `(B, 8, 2)` with the two quads in the other order."""
    return corners.roll(4, dims=1)


def mirrored(corners: Tensor) -> Tensor:
    """Corners `(B, 8, 2)` as they lie in photos mirrored left and right."""
    left_for_right = corners[:, [1, 0, 3, 2, 5, 4, 7, 6]]
    return left_for_right * corners.new_tensor([-1, 1])
