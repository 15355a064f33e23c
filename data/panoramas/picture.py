"""A picture of what undistortion does: tiles on a panorama, cut out plainly and undistorted.

    python -m data.panoramas.picture --panorama FILE --output PNG [--credit TEXT --yaws 0 120 240]

Mind the licence of the panorama: the credit stands below the picture.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.panorama import even_yaws_deg, sampling_places, undistort, vertical_fov_deg
from data.panoramas.cut import plain_cut
from data.panoramas.file import read_panorama
from partitioning.atomic_file import atomic_path

COLOURS = ("#e4572e", "#17bebb", "#ffc914")
FAINT = "#ffffff"
SIZE = (360, 480)  # of each tile shown
WIDTH_PX = 2048  # of the panorama, at most


def draw(
    path: Path,
    panorama: NDArray[np.uint8],
    tiles: int = 8,
    hfov_deg: float = 90.0,
    shown_deg: tuple[float, ...] = (0.0, 90.0, 225.0),
    credit: str = "",
) -> None:
    """Draw the panorama with the outlines of its tiles, and up to three of them in both ways.

    Args:
        path: PNG to write.
        panorama: uint8 `(H, 2 H, 3)`.
        tiles: Outlined.
        hfov_deg: Width of each.
        shown_deg: Yaws of those that are shown below.
        credit: Whose panorama it is, and its licence.

    Raises:
        ValueError: as `data.panorama.undistort`, or more or less than one to three are shown.
    """
    from matplotlib.figure import Figure

    if not 1 <= len(shown_deg) <= len(COLOURS):
        raise ValueError(f"one to {len(COLOURS)} tiles can be shown, not {len(shown_deg)}")
    figure = Figure((10, 10.4), dpi=100, layout="constrained")
    whole, below = figure.subfigures(2, 1, height_ratios=(1, 1.35))  # type: ignore[misc]
    _draw_panorama(whole.subplots(), panorama, tiles, hfov_deg, shown_deg)
    grid = below.subplots(2, len(shown_deg), squeeze=False)
    angles = hfov_deg, vertical_fov_deg(hfov_deg, SIZE)
    for column, yaw in enumerate(shown_deg):
        plain = plain_cut(panorama, yaw, 0, *angles, SIZE)
        ways = ("plain cut", plain), ("undistorted", undistort(panorama, yaw, 0, hfov_deg, SIZE))
        for row, (name, picture) in enumerate(ways):
            axes = grid[row, column]
            axes.imshow(picture)
            axes.set_title(f"{name}, yaw {yaw:g}°", fontsize=10)
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(color=COLOURS[column], linewidth=3)
    figure.text(0.005, 0.004, credit, fontsize=8, color="0.35")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_panorama(
    axes: Any,
    panorama: NDArray[np.uint8],
    tiles: int,
    hfov_deg: float,
    shown_deg: tuple[float, ...],
) -> None:
    axes.imshow(panorama)
    colours = dict(zip(shown_deg, COLOURS, strict=False))
    for yaw in [*even_yaws_deg(tiles), *shown_deg]:  # the shown ones last, over the others
        style = {"color": colours.get(yaw, FAINT), "linewidth": 2.5 if yaw in colours else 0.8}
        for columns, rows in outline(panorama.shape, yaw, hfov_deg):
            axes.plot(columns, rows, **style)
    axes.set(xlim=(0, panorama.shape[1] - 1), ylim=(panorama.shape[0] - 1, 0))
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{tiles} tiles, {hfov_deg:g}° wide, on their panorama", fontsize=10)


def outline(
    shape: tuple[int, ...], yaw_deg: float, hfov_deg: float
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The edge of a tile on a panorama, as lines of (columns, rows) that end at the seam."""
    rows, columns = sampling_places(shape, yaw_deg, 0.0, hfov_deg, SIZE)
    edges = [np.concatenate([v[0], v[:, -1], v[-1, ::-1], v[::-1, 0]]) for v in (columns, rows)]
    jumps = np.flatnonzero(np.abs(np.diff(edges[0])) > shape[1] / 2) + 1
    yield from zip(*(np.split(edge, jumps) for edge in edges), strict=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m data.panoramas.picture",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--panorama", type=Path, required=True, help="2:1 photo")
    add("--output", type=Path, required=True, help="PNG to write")
    add("--tiles", type=int, default=8, help="outlined on the panorama")
    add("--hfov_deg", type=float, default=90.0, help="width of a tile, degrees")
    add("--yaws", type=float, nargs="+", default=(0.0, 90.0, 225.0), help="shown, up to three")
    add("--credit", default="", help="whose panorama it is, and its licence")
    options = parser.parse_args(arguments)
    try:
        panorama = read_panorama(options.panorama, WIDTH_PX // 2)[0]
        yaws = tuple(options.yaws)
        draw(options.output, panorama, options.tiles, options.hfov_deg, yaws, options.credit)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
