"""How far stated confidence lies from what comes true: the reliability diagram in numbers.

Photos are grouped by the probability of their likeliest cell; in each group the share whose
likeliest cell was right should be the mean probability stated (DeGroot and Fienberg, "The
Comparison and Evaluation of Forecasters", The Statistician 32, 1983).

    ECE = sum over bins b of  n_b / N |right_b - stated_b|

with bins of equal width (Naeini et al., AAAI 2015; Guo et al., ICML 2017) or of equal numbers of
photos ("adaptive": Nguyen and O'Connor, EMNLP 2015), which wastes no bin where no photo is. ECE is
never negative: a perfect model too scores about sqrt(bins / N) of it by chance, so compare models
on the same photos only. Every bin comes with the Wilson interval of its share. Torch-free.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.decode import FloatArray
from models.evaluation.intervals import Share, share_of

BINS = 15


class Bin(NamedTuple):
    """Photos of like confidence.

    Attributes:
        low: least confidence of the bin.
        high: greatest; it belongs to this bin in the last one only.
        stated: mean confidence of its photos.
        right: how many of them were right, with an interval.
    """

    low: float
    high: float
    stated: float
    right: Share


def reliability_bins(
    confidence: FloatArray, right: NDArray[np.bool_], bins: int = BINS, adaptive: bool = False
) -> list[Bin]:
    """Group photos by confidence; bins without a photo are left out.

    Args:
        confidence: probability of each photo's likeliest cell `(N,)`, in [0, 1].
        right: whether that cell holds the truth, bool `(N,)`.
        bins: how many, at most.
        adaptive: of equal numbers of photos; equals in confidence stay together.

    Raises:
        ValueError: no photo, a confidence outside [0, 1], or fewer than one bin.
    """
    if not len(confidence) or len(confidence) != len(right) or bins < 1:
        raise ValueError(f"{len(confidence)} photos in {bins} bins: both must be at least 1")
    if not ((confidence >= 0) & (confidence <= 1 + 1e-9)).all():
        raise ValueError("a confidence lies outside [0, 1], or is NaN")
    edges = np.linspace(0, 1, bins + 1)
    if adaptive:
        inner = np.quantile(confidence, edges[1:-1], method="higher")
        edges = np.unique(np.concatenate([[0.0], inner, [1.0]]))
    number = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, len(edges) - 2)
    found = []
    for index in np.unique(number):
        members = number == index
        share = share_of(int(right[members].sum()), int(members.sum()))
        stated = float(confidence[members].mean())
        found.append(Bin(float(edges[index]), float(edges[index + 1]), stated, share))
    return found


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """ECE of bins from `reliability_bins`."""
    photos = sum(each.right.n for each in bins)
    return sum(each.right.n * abs(each.right.share - each.stated) for each in bins) / photos


def largest_calibration_error(bins: Sequence[Bin]) -> float:
    """The gap of the worst bin."""
    return max(abs(each.right.share - each.stated) for each in bins)
