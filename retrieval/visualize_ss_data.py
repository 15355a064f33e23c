"""Show what GeoWarp learns from: a photo, two synthetic views of it, and what both show.

    python -m retrieval.visualize_ss_data --image_path photo.jpg --k 0.8 --output views.png

On the left the photo with both trapezoids and the quad that they share; in the middle the two views
with that quad as each sees it; on the right the quad cut out of either view: the same picture
twice. models/warping/pairs.py says how they are made.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from data.images import ImageError, read_rgb
from data.place_sets.photos import resized
from models.homography import warp
from models.warping.pairs import Views, random_views, render
from partitioning.atomic_file import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONG_SIDE_PX = 1000
OF_A, OF_B, COMMON, INK = "#f26b38", "#2f7fd1", "#14b86a", "#1d2a35"
DPI = 130


def draw(photo: Tensor, views: Views, path: Path, title: str) -> None:
    """Draw one photo's views.

    Args:
        photo: uint8 `(3, H, W)`.
        views: A batch of one.
        path: PNG to write.
        title: Above the picture.
    """
    from matplotlib.figure import Figure

    source = photo[None].float()
    seen_a, seen_b = render(source, views)
    height, width = photo.shape[1:]
    # Two narrow columns beside a wide one of twice their height; a line of text above each row.
    row = 3.2 * height / width + 0.35
    figure = Figure(figsize=(13.2, 2 * row + 0.6), facecolor="white", layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(2, 1, 1))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
    left = figure.add_subplot(grid[:, 0])
    _show(left, source, "photo: two trapezoids and the quad that both contain", INK)
    for quads, colour, name in ((views.a, OF_A, "A"), (views.b, OF_B, "B")):
        _outline(left, quads, colour, (height, width), name)
    _outline(left, views.common, COMMON, (height, width), is_filled=True)
    for number, (seen, quads, colour, name) in enumerate(
        ((seen_a, views.seen_a, OF_A, "A"), (seen_b, views.seen_b, OF_B, "B"))
    ):
        middle = figure.add_subplot(grid[number, 1])
        _show(middle, seen, f"view {name}", colour)
        _outline(middle, quads, COMMON, (height, width), is_filled=True)
        right = figure.add_subplot(grid[number, 2])
        _show(right, warp(seen, quads), f"the quad, from view {name}", COMMON)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")


def _show(axes: Axes, picture: Tensor, title: str, colour: str) -> None:
    pixels = picture[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    axes.imshow(pixels, interpolation="antialiased")
    axes.set_title(title, fontsize=10, color=INK, loc="left", pad=5)
    axes.set(xticks=[], yticks=[], anchor="NW")
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2.5 if colour != INK else 0.8)


def _outline(
    axes: Axes,
    quads: Tensor,
    colour: str,
    size: tuple[int, int],
    name: str = "",
    is_filled: bool = False,
) -> None:
    """Draw a quad `(1, 4, 2)` on a picture of height and width `size`."""
    from matplotlib import patheffects
    from matplotlib.patches import Polygon

    corners = (quads[0].numpy() + 1) / 2 * np.array(size[::-1]) - 0.5
    # A white edge below keeps the line visible on any photo.
    halo: Any = [patheffects.Stroke(linewidth=5, foreground="white"), patheffects.Normal()]
    # Dashes, so that a trapezoid's side below the common quad's shows between them.
    style: dict[str, Any] = {"ls": (0, (3, 2))} if is_filled else {"path_effects": halo}
    axes.add_patch(Polygon(corners, fill=False, edgecolor=colour, lw=2.6, zorder=3, **style))
    if is_filled:
        axes.add_patch(Polygon(corners, facecolor=colour, alpha=0.14, linewidth=0, zorder=2))
    if name:
        box = {"boxstyle": "circle,pad=0.25", "facecolor": colour, "edgecolor": "white"}
        x, y = corners[0]
        axes.text(x, y, name, color="white", weight="bold", ha="center", va="center", bbox=box)
    axes.set(xlim=(-0.5, size[1] - 0.5), ylim=(size[0] - 0.5, -0.5))


def read_photo(path: Path) -> Tensor:
    """A photo uint8 `(3, H, W)`, its long side 1000 px at most.

    Raises:
        ImageError: it cannot be read.
    """
    photo = torch.from_numpy(read_rgb(path)).permute(2, 0, 1)
    factor = min(1.0, LONG_SIDE_PX / max(photo.shape[1:]))
    height, width = (max(1, round(factor * side)) for side in photo.shape[1:])
    return resized(photo, (height, width))


def main(arguments: list[str] | None = None) -> int:
    """Draw from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.visualize_ss_data",
        description="Show a photo, two synthetic views of it, and what both show.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--image_path", type=Path, required=True, metavar="FILE", help="a photo")
    add("--k", type=float, default=0.8, help="how far the views differ from the photo, 0 to 1")
    add("--output", type=Path, default=Path("views.png"), metavar="PNG", help="picture to write")
    add("--seed", type=int, default=0, help="another one draws other views")
    options = parser.parse_args(arguments)
    try:
        views = random_views(1, options.k, torch.Generator().manual_seed(options.seed))
        title = f"Synthetic views of {options.image_path.name}, k = {options.k:g}"
        draw(read_photo(options.image_path), views, options.output, title)
    except (ImageError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stderr.write(f"{options.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
