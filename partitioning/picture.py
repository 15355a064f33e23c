"""A world map of a partition: the cells of its three levels, coloured by their photos.

    python -m partitioning.picture cells.parquet --output cells.png

The projection is equirectangular: a degree of longitude is drawn as wide as one of latitude, so
cells look wider than they are, and the more so the nearer to a pole.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from partitioning.atomic_file import atomic_path
from partitioning.cells import Cells
from partitioning.coastline import land_polygons
from partitioning.geojson import outlines
from partitioning.partition import Partition, load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure
    from matplotlib.path import Path as Curve

SEA, LAND, SHORE, INK, FAINT = "#f3f6f8", "#e3e2dc", "#6f7b83", "#1d2a35", "#61717d"
COLOURS = "YlGnBu"
WIDTH_IN, MARGIN_IN, TITLE_IN, GAP_IN, BAR_IN = 16.0, 0.4, 1.15, 0.5, 0.14
DPI = 150


def draw_partition(partition: Partition, path: str | Path) -> None:
    """Draw a PNG, 2400 px wide: the fine cells on a large map, the middle and coarse on small ones.

    All maps share one logarithmic scale of photos a cell. The far south is left out unless a cell
    lies there.
    """
    # Not pyplot: it keeps every figure alive and may look for a display.
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    photos = np.concatenate([cells.photos for cells in partition.levels.values()])
    scale = ScalarMappable(LogNorm(photos.min(), max(photos.max(), photos.min() + 1)), COLOURS)
    south = -60 if min(cells.lat.min() for cells in partition.levels.values()) > -58 else -90
    large_in = WIDTH_IN - 2 * MARGIN_IN
    small_in = (large_in - MARGIN_IN) / 2
    shape = (85 - south) / 360
    height_in = MARGIN_IN + small_in * shape + GAP_IN + large_in * shape + TITLE_IN
    figure = Figure((WIDTH_IN, height_in), dpi=DPI, facecolor="white")
    upper_in = MARGIN_IN + small_in * shape + GAP_IN
    for name, left_in, bottom_in, width_in in (
        ("fine", MARGIN_IN, upper_in, large_in),
        ("middle", MARGIN_IN, MARGIN_IN, small_in),
        ("coarse", 2 * MARGIN_IN + small_in, MARGIN_IN, small_in),
    ):
        box = np.array([left_in, bottom_in, width_in, width_in * shape])
        box /= [WIDTH_IN, height_in, WIDTH_IN, height_in]
        axes = figure.add_axes(tuple(box), xlim=(-180, 180), ylim=(south, 85), facecolor=SEA)
        _draw_map(axes, partition.levels[name], name, scale)
    _draw_title(figure, partition, scale)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_map(axes: "Axes", cells: Cells, name: str, scale: "ScalarMappable") -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import PathPatch

    land = _curve(land_polygons())
    rings = outlines(cells.ids)
    photos = np.repeat(cells.photos, [len(of_cell) for of_cell in rings])
    shapes = [ring[:, ::-1] for of_cell in rings for ring in of_cell]
    axes.add_patch(PathPatch(land, facecolor=LAND, edgecolor="none"))
    # Edges of one width would paint over the smallest cells, which are a pixel or less.
    edges = [min(0.3, 0.15 * np.ptp(shape[:, 1])) for shape in shapes]
    colours = scale.to_rgba(photos, alpha=0.9)
    axes.add_collection(
        PolyCollection(shapes, facecolors=colours, edgecolors="white", linewidths=edges)
    )
    axes.add_patch(PathPatch(land, facecolor="none", edgecolor=SHORE, linewidth=0.5))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    label = f"{name}   {len(cells):,} cells   t_min {cells.t_min:,}, t_max {cells.t_max:,}"
    axes.set_title(label, loc="left", fontsize=11, color=INK, pad=5)


def _curve(rings: list[np.ndarray]) -> "Curve":
    """One path of all rings, so that a ring wound the other way is left out of the filling."""
    from matplotlib.path import Path as Curve

    return Curve.make_compound_path(*[Curve(ring[:, ::-1], closed=True) for ring in rings])


def _draw_title(figure: "Figure", partition: Partition, scale: "ScalarMappable") -> None:
    width_in, height_in = figure.get_size_inches()
    in_cells = int(partition.coarse.photos.sum())
    figure.text(
        MARGIN_IN / width_in, 1 - 0.5 / height_in, "Geocells", size=22, weight="bold", color=INK
    )
    figure.text(
        (MARGIN_IN + 1.75) / width_in,
        1 - 0.5 / height_in,
        f"{in_cells:,} photos in {len(partition.coarse):,} coarse, {len(partition.middle):,} "
        f"middle and {len(partition.fine):,} fine cells",
        size=12,
        color=FAINT,
    )
    left_in, bottom_in = width_in - MARGIN_IN - 4, height_in - 0.48
    bar_axes = figure.add_axes(
        (left_in / width_in, bottom_in / height_in, 4 / width_in, BAR_IN / height_in)
    )
    bar = figure.colorbar(scale, cax=bar_axes, orientation="horizontal")
    bar.outline.set_visible(False)
    bar_axes.tick_params(labelsize=9, colors=FAINT)
    bar.set_label("photos in a cell", size=9, color=FAINT)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m partitioning.picture", description="Draw a world map of geocells."
    )
    parser.add_argument("cells", type=Path, help="cells.parquet to draw")
    parser.add_argument(
        "--output", type=Path, default=Path("cells.png"), help="PNG to write (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        draw_partition(load(options.cells), options.output)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
