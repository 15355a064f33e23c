"""Two views of one photo with known homographies, to learn from without labels.

Two trapezoids with vertical sides are drawn in the photo; each, stretched over a whole picture, is
a view. What both show, seen from either view, is what GeoWarp has to find. Berton et al.,
"Viewpoint Invariant Dense Matching for Visual Geolocalization", 2021,
https://arxiv.org/abs/2109.09827, section 3.3. Quads as in models/homography.py.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.homography import homography, project, warp, whole


class Views(NamedTuple):
    """The geometry of a batch of pairs; each quad `(B, 4, 2)`.

    Attributes:
        a, b: The trapezoids, in the photo.
        common: What both show, in the photo.
        seen_a, seen_b: The same as each view sees it.
    """

    a: Tensor
    b: Tensor
    common: Tensor
    seen_a: Tensor
    seen_b: Tensor


def random_trapezoids(count: int, k: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw trapezoids with vertical sides.

    Args:
        count: How many.
        k: How far they may differ from the whole photo: each side lies within k of its edge,
            uniformly; half of the photo's width is 1.
        generator: Of the random numbers.

    Returns:
        `(count, 4, 2)`.

    Raises:
        ValueError: k outside 0..1, 1 excluded: that may leave nothing of a trapezoid.
    """
    if not 0 <= k < 1:
        raise ValueError(f"k must be 0 or more and below 1, got {k}")
    drawn = 1 - k * torch.rand(count, 6, generator=generator)
    left, right, *heights = (drawn * drawn.new_tensor([-1, 1, -1, -1, 1, 1])).unbind(1)
    x = torch.stack([left, right, right, left], dim=1)
    return torch.stack([x, torch.stack(heights, dim=1)], dim=2)


def common_quad(a: Tensor, b: Tensor) -> Tensor:
    """The quad on the corners that the intersection of two trapezoids has at its left and right.

    Where upper or lower sides cross, the intersection has more corners: it is convex, so the quad
    lies inside of it.

    Args:
        a: `(B, 4, 2)`, sides vertical.
        b: Likewise; the two overlap.
    """
    left = torch.maximum(a[:, 0, 0], b[:, 0, 0])
    right = torch.minimum(a[:, 1, 0], b[:, 1, 0])
    corners = []
    for x, is_upper in ((left, True), (right, True), (right, False), (left, False)):
        choose = torch.maximum if is_upper else torch.minimum
        corners.append(torch.stack([x, choose(_side(a, x, is_upper), _side(b, x, is_upper))], 1))
    return torch.stack(corners, dim=1)


def views_of(a: Tensor, b: Tensor) -> Views:
    """The geometry of pairs of trapezoids, each `(B, 4, 2)`, as `random_trapezoids` draws them."""
    common = common_quad(a, b)
    seen = (project(homography(quads, whole(len(quads), quads)), common) for quads in (a, b))
    return Views(a, b, common, *seen)


def random_views(count: int, k: float, generator: torch.Generator | None = None) -> Views:
    """Draw the geometry of `count` pairs; arguments and errors as `random_trapezoids`."""
    return views_of(*(random_trapezoids(count, k, generator) for _ in range(2)))


def render(photos: Tensor, views: Views) -> tuple[Tensor, Tensor]:
    """The pictures that both views show of photos, float `(B, C, H, W)`; of the same shape."""
    return warp(photos, views.a), warp(photos, views.b)


def _side(quads: Tensor, x: Tensor, is_upper: bool) -> Tensor:
    """Height of the upper or lower side at `x`, `(B,)`."""
    start, end = (quads[:, 0], quads[:, 1]) if is_upper else (quads[:, 3], quads[:, 2])
    share = (x - start[:, 0]) / (end[:, 0] - start[:, 0])
    return start[:, 1] + share * (end[:, 1] - start[:, 1])
