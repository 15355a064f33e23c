"""Partial convolution: a convolution that looks at known pixels only, and knows where it could.

    x' = W . (X * M) sum(1) / sum(M) + b  where sum(M) > 0,  else 0;     m' = 1 where sum(M) > 0

over each window, X its features and M their mask (1 = known). Equations 1 and 2 of Liu et al.,
"Image Inpainting for Irregular Holes Using Partial Convolutions", 2018,
https://arxiv.org/abs/1804.07723. What lies outside the picture counts as unknown, so the border
needs no padding of its own.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class PartialConv2d(nn.Module):
    """Features `(B, C, H, W)` with masks `(B, G, H, W)` to features and a mask `(B, 1, H', W')`.

    A mask each for groups of channels, not for every channel: a decoder joins two kinds of
    features, each of which is known elsewhere.

    Args:
        channels: Number of channels under each of the G masks; they sum to C.
        width: Channels of the output.
        kernel: Odd edge of the window.
        stride: Of the window.
        bias: Whether b is learned.
    """

    counts: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        kernel: int = 3,
        stride: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0 or not channels or min(channels) < 1:
            raise ValueError(f"need an odd kernel and channels, got {kernel} and {channels}")
        self.channels = tuple(channels)
        self.conv = nn.Conv2d(sum(channels), width, kernel, stride, kernel // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(width, 1, 1)) if bias else None
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        # Convolved with the masks, these count the known values of each window.
        counts = torch.tensor(self.channels, dtype=torch.float32).view(1, -1, 1, 1)
        self.register_buffer("counts", counts.repeat(1, 1, kernel, kernel), persistent=False)

    def forward(self, features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve `(B, C, H, W)` where `(B, G, H, W)`, 0 or 1, says that it is known."""
        with torch.no_grad():
            stride, padding = self.conv.stride, self.conv.padding
            known = functional.conv2d(masks, self.counts, None, stride, padding)
            mask = (known > 0.5).to(features.dtype)
            scale = self.counts.sum() / known.clamp(min=1) * mask
        result = self.conv(features * self._spread(masks)) * scale
        if self.bias is not None:
            result = result + self.bias * mask
        return result, mask

    def _spread(self, masks: Tensor) -> Tensor:
        """The mask of every channel; one alone is left to broadcasting."""
        if len(self.channels) == 1:
            return masks
        times = torch.tensor(self.channels, device=masks.device)
        return masks.repeat_interleave(times, dim=1, output_size=sum(self.channels))
