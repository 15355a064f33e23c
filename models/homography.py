"""Homographies: the map of the plane that takes four corners to four others, differentiable.

Direct linear transformation (Hartley and Zisserman, "Multiple View Geometry", 2nd edition, 4.1):
each pair of corners gives two equations in the eight unknowns of a 3 x 3 matrix. Corners are `(x,
y)` in [-1, 1] of a picture's width and height, in the order top left, top right, bottom right,
bottom left; -1 and 1 are its edges, not the middles of its outermost pixels.
"""

import torch
from torch import Tensor
from torch.nn import functional

CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
FLATTEST = 1e-5  # a triangle of three corners with less area (times two) is a line
SOUND = "a sound quad"
REASONS = (
    SOUND,
    "a corner is not a finite number",
    "three corners lie on one line",
    "its sides cross",
    "it is not convex",
    "it is mirrored",
)


def whole(count: int, like: Tensor | None = None) -> Tensor:
    """The quad of the whole picture, `(count, 4, 2)`, of the kind and on the device of `like`."""
    corners = torch.tensor(CORNERS) if like is None else like.new_tensor(CORNERS)
    return corners.expand(count, 4, 2)


def degeneracy(quads: Tensor) -> Tensor:
    """What is wrong with quads `(B, 4, 2)`: indices `(B,)` into `REASONS`, 0 where nothing is.

    A mirrored quad has a homography, but no camera sees a place mirrored: it is refused as well.
    """
    quads = quads.detach()
    sides = quads.roll(-1, dims=1) - quads
    turns = _cross(sides, sides.roll(-1, dims=1))
    backward = torch.minimum((turns < 0).sum(1), (turns > 0).sum(1))
    code = torch.zeros(len(quads), dtype=torch.int64, device=quads.device)
    code[backward == 1] = 4
    code[backward == 2] = 3
    code[(turns < 0).all(1)] = 5
    code[(turns.abs() < FLATTEST).any(1)] = 2
    code[~quads.isfinite().flatten(1).all(1)] = 1
    return code


def is_degenerate(quads: Tensor) -> Tensor:
    """Whether each of the quads `(B, 4, 2)` is no view of a picture; bool `(B,)`."""
    return degeneracy(quads) > 0


def homography(source: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """The matrices that take quads to quads.

    Args:
        source: `(B, 4, 2)`.
        target: `(B, 4, 2)`.
        weights: `(B, 4)`, positive, of the corners' equations, as in the least-squares form. Four
            corners fix a homography, so they change rounding only.

    Returns:
        `(B, 3, 3)`, scaled so that the source's mean has the homogeneous coordinate 1: finite for
        every convex quad, where a last entry of 1 would not be.

    Raises:
        ValueError: shapes that do not fit, or a degenerate quad; names the first and its fault.
    """
    for name, quads in (("source", source), ("target", target)):
        if quads.ndim != 3 or quads.shape[1:] != (4, 2) or len(quads) != len(source):
            raise ValueError(f"{name} must be (B, 4, 2), B alike in both, not {tuple(quads.shape)}")
        _refuse(name, quads)
    centre = source.mean(dim=1, keepdim=True)
    equations, right = _equations(source - centre, target)
    if weights is not None:
        twice = weights.repeat_interleave(2, dim=1)
        equations, right = equations * twice[:, :, None], right * twice
    solved = torch.linalg.solve(equations, right)
    centred = torch.cat([solved, torch.ones_like(solved[:, :1])], dim=1).view(-1, 3, 3)
    shift = torch.eye(3, dtype=source.dtype, device=source.device).repeat(len(source), 1, 1)
    shift[:, :2, 2] = -centre[:, 0]
    return centred @ shift


def project(matrices: Tensor, points: Tensor) -> Tensor:
    """Take points `(B, N, 2)` through homographies `(B, 3, 3)`."""
    x, y, depth = (points @ matrices[:, :, :2].mT + matrices[:, None, :, 2]).unbind(-1)
    return torch.stack([x / depth, y / depth], dim=-1)


def warp(
    pictures: Tensor,
    quads: Tensor,
    size: tuple[int, int] | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """What of each picture lies in its quad, spread over a whole picture; bilinear.

    Args:
        pictures: Pictures or feature maps, float `(B, C, H, W)`.
        quads: `(B, 4, 2)`; what lies outside of the picture is 0.
        size: Height and width of the result; None keeps them.
        weights: As in `homography`.

    Returns:
        `(B, C, h, w)`, differentiable in both.

    Raises:
        ValueError: as `homography`.
    """
    height, width = size or pictures.shape[2:]
    matrices = homography(whole(len(quads), quads), quads, weights)
    grid = project(matrices, _middles(height, width, quads)).view(-1, height, width, 2)
    return functional.grid_sample(pictures, grid.to(pictures.dtype), align_corners=False)


def _equations(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Left side `(B, 8, 8)` and right side `(B, 8)` of the linear system."""
    (x, y), (u, v) = source.unbind(-1), target.unbind(-1)
    one, nought = torch.ones_like(x), torch.zeros_like(x)
    of_u = torch.stack([x, y, one, nought, nought, nought, -u * x, -u * y], dim=-1)
    of_v = torch.stack([nought, nought, nought, x, y, one, -v * x, -v * y], dim=-1)
    return torch.stack([of_u, of_v], dim=2).flatten(1, 2), target.flatten(1)


def _middles(height: int, width: int, like: Tensor) -> Tensor:
    """The middles of all pixels, row by row, `(1, H W, 2)`."""
    rows, columns = ((torch.arange(n).to(like) + 0.5) / n * 2 - 1 for n in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], dim=-1).view(1, -1, 2)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _refuse(name: str, quads: Tensor) -> None:
    """Raise ValueError that names the first degenerate quad."""
    codes = degeneracy(quads)
    if bool((codes > 0).any()):
        first = int(codes.nonzero()[0])
        corners = [[round(value, 4) for value in corner] for corner in quads[first].tolist()]
        raise ValueError(
            f"{name} quad {first} of {len(quads)}: {REASONS[int(codes[first])]}: {corners}; leave "
            "such quads out, `is_degenerate` says which they are"
        )
