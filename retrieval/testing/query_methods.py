"""How a query of another shape than the database is shown to the model, and its answers joined.

- `hard_resize`: squeezed into the database's size;
- `single_query`: resized to the same short side, its own shape kept;
- `central_crop`: resized until it covers the database's size, the middle cut out;
- `five_crops`: squares in the corners and the middle, their descriptors averaged;
- `nearest_crop`: the same squares, each searched for; of each answer the nearest square counts;
- `maj_voting`: likewise, and an answer that several squares share comes nearer: among each
  square's first 1, 5 and 10 answers, one that is there c > 1 times gains 0.01 c / n;
- `crop_voting`: five larger squares, whose answers vote (retrieval/testing/crop_voting.py).

All but the last are the methods of Berton et al., "Deep Visual Geo-localization Benchmark", 2022,
https://arxiv.org/abs/2204.03444. The database itself is always `hard_resize`d.
"""

import math
from collections import Counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.place_sets.photos import Size, View, resized
from retrieval.nearest import Nearest
from retrieval.testing.crop_voting import CropVoting, voted, voting_crops

METHODS = (
    "hard_resize",
    "single_query",
    "central_crop",
    "five_crops",
    "nearest_crop",
    "maj_voting",
    "crop_voting",
)
SEARCHED_EACH = ("nearest_crop", "maj_voting", "crop_voting")
VOTED_DEPTHS = (1, 5, 10)
VOTE_WEIGHT = 0.01


def view_of(
    method: str,
    size: Size,
    voting: CropVoting = CropVoting(),  # noqa: B008  (immutable)
    seen: Size | None = None,
) -> View:
    """What makes the pictures `(V, 3, h, w)` of a query `(3, H, W)`.

    Args:
        method: One of `METHODS`.
        size: Of the database's photos, px.
        voting: Of `crop_voting`.
        seen: What the model sees of `size` at scale 1, px: joined models shrink what they are
            given (`retrieval.testing.ensembles.seen_size`); None is a model that does not.

    Raises:
        ValueError: unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"test method must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "hard_resize":
        return lambda rgb: resized(rgb, size)[None]
    if method == "single_query":
        return lambda rgb: with_short_side(rgb, min(size))[None]
    if method == "central_crop":
        return lambda rgb: _central_crop(rgb, size)[None]
    if method == "crop_voting":
        return lambda rgb: voting_crops(rgb, voting, _read_crop(size, voting, seen))
    return lambda rgb: five_squares(with_short_side(rgb, min(size)), min(size))


def with_short_side(rgb: Tensor, side: int) -> Tensor:
    """Resize `(3, H, W)` so that its short side is `side`, its shape kept."""
    height, width = rgb.shape[1:]
    scale = side / min(height, width)
    return resized(rgb, (max(side, round(height * scale)), max(side, round(width * scale))))


def five_squares(rgb: Tensor, side: int) -> Tensor:
    """Squares `(5, 3, side, side)`: top left and right, bottom left and right, middle."""
    down, across = rgb.shape[1] - side, rgb.shape[2] - side
    corners = [(0, 0), (0, across), (down, 0), (down, across), (down // 2, across // 2)]
    return torch.stack([rgb[:, y : y + side, x : x + side] for y, x in corners])


def joined_descriptors(views: NDArray[Any], method: str) -> NDArray[Any]:
    """What to search for: `(Q, D)`, or `(Q V, D)` where each picture is searched for.

    Args:
        views: Descriptors `(Q, V, D)`.
        method: One of `METHODS`.
    """
    if method in SEARCHED_EACH:
        return views.reshape(-1, views.shape[2])
    if method == "five_crops":
        return views.mean(axis=1, dtype=np.float32)
    return views[:, 0]


def read_size(
    method: str,
    size: Size,
    voting: CropVoting = CropVoting(),  # noqa: B008  (immutable)
    seen: Size | None = None,
) -> Size:
    """Least size at which a query must be read: its pictures may be larger than the database's.

    The arguments are those of `view_of`.
    """
    if method != "crop_voting":
        return size
    longest = max(_read_crop(size, voting, seen))
    side = max(*size, math.ceil(longest / voting.crop_share))
    return side, side


def searched_depth(
    method: str,
    depth: int,
    voting: CropVoting = CropVoting(),  # noqa: B008  (immutable)
) -> int:
    """How many answers each picture needs for `depth` answers of its query."""
    return max(depth, voting.preds_per_crop) if method == "crop_voting" else depth


def joined_answers(
    found: Nearest,
    views: int,
    method: str,
    depth: int | None = None,
    voting: CropVoting = CropVoting(),  # noqa: B008  (immutable)
) -> Nearest:
    """One list for each query of the lists of its pictures.

    Args:
        found: `(Q V, K)`.
        views: V.
        method: One of `METHODS`; only those of `SEARCHED_EACH` change anything.
        depth: Answers of each query; None takes K.
        voting: Of `crop_voting`.

    Returns:
        `(Q, depth)`; for `maj_voting` the distances are those after the vote, for `crop_voting`
        those to the nearest crop, whatever the order.
    """
    if method not in SEARCHED_EACH:
        return found
    k = depth or found.rows.shape[1]
    if method == "crop_voting":
        return voted(found, views, k, voting)
    lists = []
    for start in range(0, len(found.rows), views):
        rows = found.rows[start : start + views]
        distances = found.distances[start : start + views].copy()
        if method == "maj_voting":
            vote(rows, distances)
        lists.append(_best_once(rows.ravel(), distances.ravel(), k))
    return Nearest(*(np.stack(column) for column in zip(*lists, strict=True)))


def vote(
    rows: NDArray[np.int64], distances: NDArray[np.float32], weight: float = VOTE_WEIGHT
) -> None:
    """Bring answers that several pictures share nearer, in place; both `(V, K)`."""
    for depth in VOTED_DEPTHS:
        for row, count in Counter(rows[:, :depth].ravel().tolist()).items():
            if count > 1 and row >= 0:
                distances[:, :depth][rows[:, :depth] == row] -= weight * count / depth


def _best_once(
    rows: NDArray[np.int64], distances: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k nearest, each row once."""
    order = np.lexsort((rows, distances))
    _, first = np.unique(rows[order], return_index=True)
    kept = order[np.sort(first)]
    kept = kept[rows[kept] >= 0][:k]
    missing = k - len(kept)
    return (
        np.concatenate([rows[kept], np.full(missing, -1, np.int64)]),
        np.concatenate([distances[kept], np.full(missing, np.inf, np.float32)]),
    )


def _read_crop(size: Size, voting: CropVoting, seen: Size | None) -> Size:
    """Size of a crop that a model which shrinks `size` to `seen` sees at `crop_px`."""
    height, width = (
        max(1, round(voting.crop_px * read / shown))
        for read, shown in zip(size, seen or size, strict=True)
    )
    return height, width


def _central_crop(rgb: Tensor, size: Size) -> Tensor:
    scale = max(size[0] / rgb.shape[1], size[1] / rgb.shape[2])
    height, width = (
        max(wanted, round(length * scale))
        for wanted, length in zip(size, rgb.shape[1:], strict=True)
    )
    covering = resized(rgb, (height, width))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return covering[:, top : top + size[0], left : left + size[1]].contiguous()
