"""Terms of the multi-task loss: geocells of several levels and scene, masked without a label.

    loss = sum over levels l of  w_l * CE(cells_l)  +  w_scene * CE(scene)

CE is the mean cross-entropy over the photos of the batch that carry that label; a task that no
photo of the batch is labelled for adds nothing (Mueller-Budack et al., ECCV 2018; weights as in
TransLocator, ECCV 2022). models/losses/geocell.py puts the loss together, with all its options.
"""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

MISSING = -1  # the label of a photo in no kept cell, or of unknown scene


class Losses(NamedTuple):
    """Attributes: total, weighted sum to minimise; parts, task name -> unweighted loss."""

    total: Tensor
    parts: dict[str, Tensor]


def masked_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the labelled rows of `(B, C)`; 0 where no row is labelled.

    `labels` is int64 `(B,)`, `MISSING` where unknown.
    """
    total = functional.cross_entropy(logits, labels, ignore_index=MISSING, reduction="sum")
    return total / (labels != MISSING).sum().clamp(min=1)


def masked_mean(values: Tensor, known: Tensor) -> Tensor:
    """Mean of the values `(B,)` that are known; 0, with a gradient of 0, where none is.

    A value that is not known may be anything that is finite.
    """
    return (values * known).sum() / known.sum().clamp(min=1)
