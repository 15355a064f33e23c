"""What inpainting is trained on: pixels, features, their correlations, and smoothness at the seam.

    L = valid + 6 hole + 0.05 perceptual + 120 (style of out + style of comp) + 0.1 total variation

Equations 3 to 7 of Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions",
2018, https://arxiv.org/abs/1804.07723; out is what the network painted, comp the same with the
known pixels put back. Every L1 norm is divided by the number of values it sums over. (A thesis of
this field prints 0.005 for the perceptual weight; the paper has 0.05.)
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional

Pyramid = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; the paper's."""

    valid: float = 1.0
    hole: float = 6.0
    perceptual: float = 0.05
    style: float = 120.0
    variation: float = 0.1

    def __post_init__(self) -> None:
        if min(asdict(self).values()) < 0:
            raise ValueError(f"weights of losses must not be negative: {asdict(self)}")


def composed(painted: Tensor, photos: Tensor, known: Tensor) -> Tensor:
    """What was painted with the known pixels put back."""
    return known * photos + (1 - known) * painted


def loss_terms(
    painted: Tensor, photos: Tensor, known: Tensor, pyramid: Pyramid | None = None
) -> dict[str, Tensor]:
    """The terms without their weights, by the names of `LossWeights`.

    Args:
        painted: `(B, 3, H, W)`, what the network made.
        photos: Likewise, the truth.
        known: `(B, 1, H, W)`, 0 in the hole, else 1.
        pyramid: Feature maps of photos; None leaves perceptual and style out.
    """
    error, comp = (painted - photos).abs(), composed(painted, photos, known)
    terms = {
        "valid": (known * error).mean(),
        "hole": ((1 - known) * error).mean(),
        "variation": total_variation(comp, known),
    }
    if pyramid is None:
        return terms
    with torch.no_grad():
        truth = pyramid(photos)
    made, joined = pyramid(painted), pyramid(comp)
    terms["perceptual"] = _distance(made, truth) + _distance(joined, truth)
    style = [gram(maps) for maps in truth]
    terms["style"] = sum(_distance([gram(m) for m in maps], style) for maps in (made, joined))  # type: ignore[assignment]
    return terms


def total_loss(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """The weighted sum of the terms."""
    return torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()


def gram(maps: Tensor) -> Tensor:
    """Correlations of channels `(B, C, C)` of maps `(B, C, H, W)`, divided by C H W."""
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


def total_variation(comp: Tensor, known: Tensor) -> Tensor:
    """Differences of neighbours that both lie in the hole widened by a pixel, over all values."""
    region = functional.max_pool2d(1 - known, kernel_size=3, stride=1, padding=1)
    right = (comp[..., 1:] - comp[..., :-1]).abs() * region[..., 1:] * region[..., :-1]
    down = (comp[..., 1:, :] - comp[..., :-1, :]).abs() * region[..., 1:, :] * region[..., :-1, :]
    return (right.sum() + down.sum()) / comp.numel()


def _distance(maps: list[Tensor], truth: list[Tensor]) -> Tensor:
    """Mean absolute difference, summed over the levels."""
    return torch.stack([(a - b).abs().mean() for a, b in zip(maps, truth, strict=True)]).sum()
