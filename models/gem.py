"""Generalised-mean pooling: patch vectors to one descriptor.

    gem(x)_d = ( mean over patches n of max(x_nd, eps)^p )^(1/p)

p = 1 is the average, p -> infinity the maximum; p is learned and starts at 3 (Radenovic et al.,
"Fine-tuning CNN Image Retrieval with No Human Annotation", 2018, https://arxiv.org/abs/1711.02512).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class GeM(nn.Module):
    """Pool `(B, N, D)` patch vectors to `(B, D)`.

    Args:
        p: the exponent at the start.
        eps: vectors are clamped from below to this; a transformer's negative values count as
            absent, like a convolutional network's after its ReLU.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))
        self.eps = eps

    def forward(self, patches: Tensor) -> Tensor:
        """Pool `(B, N, D)` to `(B, D)`."""
        return patches.clamp(min=self.eps).pow(self.p).mean(dim=1).pow(1 / self.p)


class DescriptorHead(nn.Module):
    """Patch vectors `(B, N, D)` to unit descriptors for retrieval: GeM, a projection, L2.

    Args:
        width: length D of a patch vector.
        dim: length of the descriptor; 0 leaves out the projection and keeps D.
    """

    def __init__(self, width: int, dim: int = 0) -> None:
        super().__init__()
        self.dim = dim or width
        self.pool = GeM()
        self.project = nn.Linear(width, dim) if dim else nn.Identity()

    def forward(self, patches: Tensor) -> Tensor:
        """Describe `(B, N, D)` as `(B, dim)`, of length 1."""
        return functional.normalize(self.project(self.pool(patches)), dim=-1)
