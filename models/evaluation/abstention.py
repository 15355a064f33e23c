"""Answer fewer photos, and more of the answers are right: accuracy against the share answered.

Photos are answered from the surest down; at every share k/N answered, accuracy is the share of the
k that lie within a distance of the truth ("risk-coverage curve": El-Yaniv and Wiener, "On the
Foundations of Noise-free Selective Classification", JMLR 11, 2010). Its mean error over all k is

    AURC = 1/N sum over k of (1 - hits_k / k)          (Geifman et al., ICLR 2019,
                                                         https://arxiv.org/abs/1805.08206)

0 where nothing is ever wrong; where confidence says nothing, the error of answering all. Among
photos equally sure the order is none: hits_k is then the mean over all their orders. Torch-free.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.decode import FloatArray


class Curve(NamedTuple):
    """Accuracy by the share answered; one entry for each k of 1..N photos.

    Attributes:
        answered: k / N.
        accuracy: hits_k / k.
        confidence: of the k-th photo: what to ask for to answer so many.
    """

    answered: FloatArray
    accuracy: FloatArray
    confidence: FloatArray


def abstention_curve(confidence: FloatArray, right: NDArray[np.bool_]) -> Curve:
    """The curve of N photos.

    Args:
        confidence: `(N,)`; only its order counts.
        right: whether each answer is right, bool `(N,)`.

    Raises:
        ValueError: no photo, or a confidence that is NaN.
    """
    photos = len(confidence)
    if not photos or len(right) != photos:
        raise ValueError(f"{photos} confidences for {len(right)} answers: at least one is needed")
    if np.isnan(confidence).any():
        raise ValueError(f"{int(np.isnan(confidence).sum())} confidences are NaN")
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    # Equals form a block; within it hits grow evenly, as they do on average over its orders.
    ends = np.append(np.flatnonzero(np.diff(ranked)), photos - 1) + 1
    hits_at_ends = np.cumsum(right[order])[ends - 1]
    answered = np.arange(1, photos + 1)
    hits = np.interp(answered, np.append(0, ends), np.append(0, hits_at_ends))
    return Curve(answered / photos, hits / answered, ranked)


def area_under_risk(curve: Curve) -> float:
    """AURC: the mean error over all shares answered; less is better."""
    return float(1 - curve.accuracy.mean())


def least_area_under_risk(right: NDArray[np.bool_]) -> float:
    """The AURC of a confidence that ranks every right answer above every wrong one."""
    return area_under_risk(abstention_curve(np.asarray(right, np.float64), right))


def accuracy_when_answering(curve: Curve, share: float) -> tuple[int, float]:
    """How many photos are answered at a share in (0, 1], and the accuracy among them.

    Raises:
        ValueError: `share` is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share answered must lie in (0, 1], got {share}")
    count = max(1, round(share * len(curve.answered)))
    return count, float(curve.accuracy[count - 1])
