"""Class-index maps to network input: colour-coded or one-hot.

A segmentation map travels as one class index a pixel. The networks of the literature see it as a
colour picture (`--seg_channels 3`, TransLocator); one channel a class loses nothing and needs no
palette. Both are made inside the model, so that a map is stored and augmented in one form only.
"""

import colorsys

import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_CLASSES = 256  # what one byte a pixel can tell apart


def palette(num_classes: int = MAX_CLASSES) -> Tensor:
    """Return RGB colours `(num_classes, 3)` in [-1, 1]; class 0 (unlabelled) is mid-grey.

    Hues step by the golden ratio, so that neighbouring class numbers differ strongly.
    """
    colours = [(0.5, 0.5, 0.5)]
    for i in range(1, num_classes):
        colours.append(
            colorsys.hsv_to_rgb(i * 0.618034 % 1, (1.0, 0.6)[i % 2], (1.0, 0.7)[i // 2 % 2])
        )
    return torch.tensor(colours) * 2 - 1


class SegmentationInput(nn.Module):
    """Class indices uint8 `(B, S, S)` to `(B, channels, S, S)`.

    Args:
        channels: 3 for the colour-coded form, else the number of classes for the one-hot form.
    """

    colours: Tensor

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        if not 2 <= channels <= MAX_CLASSES:
            raise ValueError(f"seg_channels must be 3 (colour-coded) or 2..256, got {channels}")
        self.channels = channels
        table = palette() if channels == 3 else torch.zeros(0, 3)
        self.register_buffer("colours", table, persistent=False)

    def forward(self, seg: Tensor) -> Tensor:
        """Encode `(B, S, S)`; a one-hot class beyond `channels` becomes all zeros."""
        if self.channels == 3:
            return functional.embedding(seg.long(), self.colours).permute(0, 3, 1, 2)
        classes = torch.arange(self.channels, device=seg.device).view(1, -1, 1, 1)
        return (seg.long()[:, None] == classes).float()
