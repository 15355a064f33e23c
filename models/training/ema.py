"""A running average of the weights, which validates and generalises better than the last step's.

After optimiser step n (1, 2, ...):

    average <- d_n * average + (1 - d_n) * weights,      d_n = min(decay, (1 + n) / (10 + n))

The smaller factor of the first steps forgets the start (as in TensorFlow's
ExponentialMovingAverage). Buffers, such as batch statistics, are taken over as they are. The
average is a module, so that checkpoints, devices and sharding treat it like any other.
"""

import copy

import torch
from torch import nn


class Average(nn.Module):
    """The average of a module's weights.

    Args:
        module: whose weights; the average begins as a copy of them.
        decay: weight of the past, in (0, 1).

    Raises:
        ValueError: the decay is out of range.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        if not 0 < decay < 1:
            raise ValueError(f"--ema must lie between 0 (off) and 1, got {decay}")
        self.decay = decay
        self.module = copy.deepcopy(module).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights of `module` after optimiser step number `step` (1, 2, ...)."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        weights = [parameter.detach() for parameter in module.parameters()]
        torch._foreach_lerp_(list(self.module.parameters()), weights, share)
        for ours, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            ours.copy_(theirs)

    def train(self, mode: bool = True) -> "Average":
        """Stay in evaluation mode."""
        return super().train(False)
