"""Five crops of a phone's photo vote for the photos of the database that each of them finds.

A phone's photo has another shape and another field of view than the database's. Five squares of 90%
of its short side, in the corners and the middle, are shown at 224 px; each finds up to
`preds_per_crop` photos of the database, of which the first `preds_per_query` get 3 votes from it
and the rest 2. The most votes win. So few different sums leave many ties: of equal ones the photo
that is nearest to any of the crops comes first, then the one that stands first in the database.

Where one model sees photos at several scales, 224 px are those at scale 1; of models of different
sizes the largest one sees a crop at 224 px, and a smaller one smaller in proportion, as it does
any photo.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.place_sets.photos import Size, resized
from retrieval.nearest import Nearest

CROPS = 5
FIRST_VOTES, OTHER_VOTES = 3, 2


@dataclass(frozen=True)
class CropVoting:
    """How crops are cut and vote.

    Attributes:
        crop_share: Side of a crop in units of the photo's short side.
        crop_px: Side at which the model sees it at scale 1, the largest one of several, px.
        preds_per_query: Answers of a crop that get 3 votes.
        preds_per_crop: Answers of a crop that get any.
    """

    crop_share: float = 0.9
    crop_px: int = 224
    preds_per_query: int = 100
    preds_per_crop: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.crop_share <= 1 or self.crop_px < 1:
            raise ValueError(
                f"crop_share must lie in 0..1 and crop_px be positive, got {self.crop_share:g} and "
                f"{self.crop_px}"
            )
        if not 1 <= self.preds_per_query <= self.preds_per_crop:
            raise ValueError(
                "preds_per_query must be positive and preds_per_crop at least as large, got "
                f"{self.preds_per_query} and {self.preds_per_crop}"
            )


def voting_crops(rgb: Tensor, voting: CropVoting, size: Size | None = None) -> Tensor:
    """Squares of `(3, H, W)`, four corners and the middle, at `size`: `(5, 3, *size)`.

    Args:
        rgb: The photo.
        voting: How.
        size: Height and width to resize them to, px; None takes `crop_px` for both.
    """
    side = max(1, round(voting.crop_share * min(rgb.shape[1:])))
    down, across = rgb.shape[1] - side, rgb.shape[2] - side
    places = [(0, 0), (0, across), (down, 0), (down, across), (down // 2, across // 2)]
    shown = size or (voting.crop_px, voting.crop_px)
    return torch.stack([resized(rgb[:, y : y + side, x : x + side], shown) for y, x in places])


def voted(found: Nearest, crops: int, depth: int, voting: CropVoting) -> Nearest:
    """Count the votes.

    Args:
        found: `(Q crops, K)`, best first; what lies beyond `preds_per_crop` has no vote.
        crops: Of each query.
        depth: Answers of each query.
        voting: How.

    Returns:
        `(Q, depth)`, most votes first; the distances are those to the nearest crop and thus not in
        order. -1 and inf where fewer photos got a vote.
    """
    rows = found.rows[:, : voting.preds_per_crop]
    distances = found.distances[:, : voting.preds_per_crop]
    starts = range(0, len(rows), crops)
    lists = [_of_one(rows[i : i + crops], distances[i : i + crops], depth, voting) for i in starts]
    return Nearest(*(np.stack(column) for column in zip(*lists, strict=True)))


def _of_one(
    rows: NDArray[np.int64], distances: NDArray[np.float32], depth: int, voting: CropVoting
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The winners of one query; rows and distances `(crops, K)`."""
    votes = np.where(np.arange(rows.shape[1]) < voting.preds_per_query, FIRST_VOTES, OTHER_VOTES)
    is_found = rows >= 0
    photos, place = np.unique(rows[is_found], return_inverse=True)
    sums = np.bincount(place, np.broadcast_to(votes, rows.shape)[is_found], len(photos))
    nearest = np.full(len(photos), np.inf, np.float32)
    np.minimum.at(nearest, place, distances[is_found])
    order = np.lexsort((photos, nearest, -sums))[:depth]
    missing = depth - len(order)
    return (
        np.concatenate([photos[order], np.full(missing, -1, np.int64)]),
        np.concatenate([nearest[order], np.full(missing, np.inf, np.float32)]),
    )
