"""A U-Net of partial convolutions: a photo with holes to a photo.

Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions", 2018,
https://arxiv.org/abs/1804.07723, section 3.2: every encoder stage halves the photo (windows of 7,
5, 5, then 3), every decoder stage doubles it to its nearest neighbours and joins the encoder's
features and mask of that size, the last one the photo itself. Batch norm everywhere but in the
first and the last stage; ReLU on the way down, leaky ReLU (0.2) on the way up.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.inpainting.partial_conv import PartialConv2d

KERNELS = (7, 5, 5)  # of the first encoder stages; 3 of all others
LEAK = 0.2
MOST_WIDER = 8  # the widest stage has so many times the channels of the first


@dataclass(frozen=True)
class UNetSettings:
    """The size of a network; plain values, so that they travel with its weights.

    Attributes:
        width: Channels of the first stage; the next ones have 2, 4, then 8 times as many.
        depth: Stages on the way down. A hole is filled as far as about 2^depth px from its edge.
    """

    width: int = 64
    depth: int = 7

    def __post_init__(self) -> None:
        if self.width < 1 or not 1 <= self.depth <= 12:
            raise ValueError(f"width {self.width}, depth {self.depth}: width >= 1, depth 1 to 12")

    def plain(self) -> dict[str, Any]:
        """As a dict for JSON."""
        return asdict(self)

    @property
    def widths(self) -> list[int]:
        """Channels after each stage of the encoder."""
        return [self.width * min(2**stage, MOST_WIDER) for stage in range(self.depth)]


class Stage(nn.Module):
    """Partial convolution, batch norm where it is asked for, activation where there is a slope."""

    def __init__(self, conv: PartialConv2d, has_norm: bool, slope: float | None) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.conv.out_channels) if has_norm else nn.Identity()
        self.slope = slope

    def forward(self, features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Features and mask of the next size."""
        result, mask = self.conv(features, masks)
        result = self.norm(result)
        if self.slope is not None:
            result = functional.leaky_relu(result, self.slope)
        return result, mask


class PartialConvUNet(nn.Module):
    """Photos in 0..1 `(B, 3, H, W)` and where they are known `(B, 1, H, W)` to whole photos.

    Any height and width: the photo is padded with unknown pixels to a multiple of 2^depth.
    """

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = settings
        widths, down, up = settings.widths, [], []
        for stage, (before, after) in enumerate(zip([3, *widths], widths, strict=False)):
            kernel = KERNELS[stage] if stage < len(KERNELS) else 3
            conv = PartialConv2d([before], after, kernel, stride=2, bias=stage == 0)
            down.append(Stage(conv, has_norm=stage > 0, slope=0.0))
        for stage in reversed(range(settings.depth)):
            below, beside = widths[stage], widths[stage - 1] if stage else 3
            conv = PartialConv2d([below, beside], beside, bias=stage == 0)
            up.append(Stage(conv, has_norm=stage > 0, slope=LEAK if stage else None))
        self.encoder, self.decoder = nn.ModuleList(down), nn.ModuleList(up)

    def forward(self, photos: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Paint.

        Args:
            photos: In 0..1; what is not known does not matter, but must be finite.
            known: 1 or 0.

        Returns:
            Whole photos, about 0..1, and `(B, 1, H, W)`, 1 where anything known was in reach;
            elsewhere they are grey.
        """
        height, width = photos.shape[2:]
        step = 2**self.settings.depth
        padding = (0, -width % step, 0, -height % step)
        features, mask = functional.pad(photos * 2 - 1, padding), functional.pad(known, padding)
        beside = []
        for stage in self.encoder:
            beside.append((features, mask))
            features, mask = stage(features, mask)
        for stage, (skipped, skipped_mask) in zip(self.decoder, reversed(beside), strict=True):
            features, mask = (functional.interpolate(x, scale_factor=2.0) for x in (features, mask))
            masks = torch.cat([mask, skipped_mask], dim=1)
            features, mask = stage(torch.cat([features, skipped], dim=1), masks)
        painted = features[..., :height, :width] * 0.5 + 0.5
        return painted, mask[..., :height, :width]

    def freeze_encoder_norms(self) -> None:
        """Second phase of the paper: batch norms of the encoder keep what they have learned.

        Holes make their batch statistics wrong; with the statistics fixed the network settles.
        Call it after `train()`, which would set them going again.
        """
        for module in self.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
                module.requires_grad_(False)
