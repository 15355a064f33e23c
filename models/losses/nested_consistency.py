"""Let the levels agree: a photo in a fine cell is in that cell's parent.

    up_m = sum over the fine cells f within m of p_fine(f)           the fine posterior, summed
    KL(up || p) = sum over m of up_m (log up_m - log p_m)

p is the posterior of the coarser head over those of its cells that have a fine cell (a cell whose
fine cells were all dropped for want of photos is left out and p renormalised: of a photo known to
lie in a fine cell, the summed posterior can say nothing else). The loss is 0 exactly where both
agree, and positive elsewhere (Kullback and Leibler, "On Information and Sufficiency", 1951).

Direction:

- "symmetric": (KL(up || p) + KL(p || up)) / 2, gradient into both heads.
- "fine_to_coarse": KL(up || p), up held fast: the fine head teaches the coarser one.
- "coarse_to_fine": KL(p || up), p held fast.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def log_sum_by_parent(log_fine: Tensor, parents: Tensor, num_parents: int) -> Tensor:
    """Log of the probability that each parent's fine cells hold together.

    Args:
        log_fine: log-probabilities `(B, F)`.
        parents: parent of each fine cell, int64 `(F,)`.
        num_parents: M; each of 0..M-1 is some cell's parent.

    Returns:
        `(B, M)`.
    """
    rows = parents.expand(len(log_fine), -1)
    lowest = log_fine.new_full((len(log_fine), num_parents), -torch.inf)
    # Each parent's own maximum: under one for all, unlikely parents would sum to 0.
    peak = lowest.scatter_reduce(1, rows, log_fine.detach(), "amax")
    above = torch.exp(log_fine - peak.gather(1, rows))
    return peak + torch.zeros_like(peak).index_add(1, parents, above).log()


class NestedConsistency:
    """The divergence of two levels' posteriors.

    Args:
        parents: class of each fine cell at the coarser level, int64 `(F,)`.
        direction: see the module's docstring.
    """

    def __init__(self, parents: NDArray[np.int64], direction: str = "symmetric") -> None:
        with_children, own_parent = np.unique(parents, return_inverse=True)
        self.direction = direction
        self.with_children = torch.from_numpy(with_children)
        self.own_parent = torch.from_numpy(own_parent.ravel())

    def __call__(self, fine: Tensor, coarser: Tensor) -> Tensor:
        """One divergence a photo `(B,)`, from the logits `(B, F)` and `(B, M)` of both heads."""
        if self.own_parent.device != fine.device:
            self.with_children = self.with_children.to(fine.device)
            self.own_parent = self.own_parent.to(fine.device)
        log_fine = fine.log_softmax(dim=1)
        up = log_sum_by_parent(log_fine, self.own_parent, len(self.with_children))
        own = coarser[:, self.with_children].log_softmax(dim=1)
        if self.direction == "fine_to_coarse":
            return _divergence(up.detach(), own)
        if self.direction == "coarse_to_fine":
            return _divergence(own.detach(), up)
        return (_divergence(up, own) + _divergence(own, up)) / 2


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of each row."""
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)
