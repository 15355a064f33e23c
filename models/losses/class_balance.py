"""Answers to cells of very unequal size: a cell of Paris holds a hundred times a cell of Siberia.

Four of them, by name, each with one strength; n_j is the number of training photos of cell j, z the
logits, y the true cell, p = softmax(z):

- "inverse_frequency": the photo's loss times w_y, w_j proportional to n_j^-strength; 0.5 is the
  square root that word embeddings took (Mikolov et al., NeurIPS 2013), 1 gives all cells one vote.
- "effective_number": the same with w_j proportional to (1 - b) / (1 - b^n_j), b = strength (Cui et
  al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019,
  https://arxiv.org/abs/1901.05555).
- "logit_adjustment": the loss sees z_j + strength log(n_j / sum n) in place of z_j (Menon et al.,
  "Long-tail learning via logit adjustment", ICLR 2021, https://arxiv.org/abs/2007.07314). The
  plain z then answers as if all cells were equally likely before the photo is seen.
- "focal": the photo's loss times (1 - p_y)^strength (Lin et al., "Focal Loss for Dense Object
  Detection", ICCV 2017, https://arxiv.org/abs/1708.02002).

All but "focal" move the answer away from where most photos are taken. They help photos of rare
places and cost photos like the training set's: compare both before using one.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def class_weights(name: str, photos: ArrayLike, strength: float) -> NDArray[np.float64]:
    """Weight of each cell `(C,)`, scaled so that the mean over all training photos is 1.

    The scale keeps the loss as large as unweighted, and a photo's part in it does not depend on
    the other photos of its batch.

    Args:
        name: "inverse_frequency", "effective_number", or any other, which weighs all alike.
        photos: training photos of each cell `(C,)`, at least 1.
        strength: exponent, or b.

    Raises:
        ValueError: a cell without photos.
    """
    counts = _counts(photos)
    if name == "inverse_frequency":
        weights = counts**-strength
    elif name == "effective_number":
        # 1 - b^n by expm1: near b = 1 the difference would keep no digit.
        log_b = np.log(strength) if strength > 0 else -np.inf
        weights = (1 - strength) / -np.expm1(counts * log_b)
    else:
        return np.ones(len(counts))
    return weights * (counts.sum() / (counts * weights).sum())


def log_prior(photos: ArrayLike) -> NDArray[np.float64]:
    """log(n_j / sum n) of each cell `(C,)`.

    Raises:
        ValueError: a cell without photos.
    """
    counts = _counts(photos)
    return np.log(counts / counts.sum())


def focal_factor(log_probability: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma of each photo `(B,)`, from log p of its true cell."""
    miss = -torch.expm1(log_probability)
    # The derivative of a power below 1 is infinite at 0.
    return miss.clamp(min=torch.finfo(miss.dtype).eps) ** gamma


def _counts(photos: ArrayLike) -> NDArray[np.float64]:
    counts = np.asarray(photos, dtype=np.float64)
    if not (counts >= 1).all():
        raise ValueError(
            f"{int((~(counts >= 1)).sum())} cells hold no training photo, the first is class "
            f"{int(np.flatnonzero(~(counts >= 1))[0])}: cut the cells from the training photos"
        )
    return counts
