"""A world map of where the samples of a folder of shards were taken, on a logarithmic scale.

A plain grid in degrees (equirectangular): its squares are narrower on the ground the nearer to a
pole.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from partitioning.atomic_file import atomic_path
from partitioning.coastline import land_polygons

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

SEA, LAND, SHORE, INK, FAINT = "#f3f6f8", "#e3e2dc", "#6f7b83", "#1d2a35", "#61717d"
COLOURS = ("#fbcf8b", "#f28d3e", "#cf3a2d", "#83163c", "#2f0f33")  # from one sample to most
WIDTH_IN, TITLE_IN, MARGIN_IN, BAR_IN, DPI = 16.0, 0.9, 0.3, 4.0, 150
SOUTH, NORTH = -60.0, 85.0  # of the map, unless a sample lies beyond


def draw_density(
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
    path: str | Path,
    title: str = "",
    square_deg: float = 1.0,
) -> None:
    """Draw a PNG, 2400 px wide.

    Args:
        lat: Latitudes of the samples in degrees `(N,)`.
        lon: Longitudes.
        path: The picture.
        title: Over the map.
        square_deg: Edge of the squares that samples are counted in.

    Raises:
        ValueError: there is no sample.
    """
    # Not pyplot: it keeps every figure alive and may look for a display.
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.figure import Figure

    if not len(lat):
        raise ValueError("no sample to draw a map of")
    south, north = max(-90, min(SOUTH, lat.min() - 1)), min(90, max(NORTH, lat.max() + 1))
    map_in = (WIDTH_IN - 2 * MARGIN_IN) * (north - south) / 360
    figure = Figure((WIDTH_IN, map_in + TITLE_IN + MARGIN_IN), dpi=DPI, facecolor="white")
    grid = density(lat, lon, square_deg)
    edges_lat, edges_lon = (np.arange(-end, end + square_deg / 2, square_deg) for end in (90, 180))

    axes = _axes(figure, MARGIN_IN, MARGIN_IN, WIDTH_IN - 2 * MARGIN_IN, map_in)
    axes.set(xlim=(-180, 180), ylim=(south, north), facecolor=SEA, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    _draw_land(axes, LAND, "none")
    squares = axes.pcolormesh(
        edges_lon,
        edges_lat,
        np.ma.masked_equal(grid, 0),
        cmap=LinearSegmentedColormap.from_list("density", COLOURS),
        norm=LogNorm(1, max(10, grid.max())),
        rasterized=True,
    )
    _draw_land(axes, "none", SHORE)
    _draw_title(figure, title, squares, square_deg)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _axes(
    figure: "Figure", left_in: float, bottom_in: float, width_in: float, height_in: float
) -> "Axes":
    total_in = np.array([*figure.get_size_inches()] * 2)
    return figure.add_axes(tuple(np.array([left_in, bottom_in, width_in, height_in]) / total_in))


def _draw_title(figure: "Figure", title: str, squares: "ScalarMappable", square_deg: float) -> None:
    top_in = figure.get_figheight()
    place = MARGIN_IN / WIDTH_IN, 1 - 0.55 / top_in
    figure.text(*place, title, size=18, weight="bold", color=INK)
    bar_axes = _axes(figure, WIDTH_IN - MARGIN_IN - BAR_IN, top_in - 0.42, BAR_IN, 0.14)
    bar = figure.colorbar(
        squares, cax=bar_axes, orientation="horizontal", format=lambda value, _: f"{value:,.0f}"
    )
    bar.outline.set_visible(False)
    bar_axes.minorticks_off()
    bar_axes.tick_params(labelsize=9, colors=FAINT)
    squares_are = "square degree" if square_deg == 1 else f"square of {square_deg:g} degrees"
    bar.set_label(f"samples in a {squares_are}", size=9, color=FAINT)


def density(
    lat: NDArray[np.float64], lon: NDArray[np.float64], square_deg: float = 1.0
) -> NDArray[np.int64]:
    """Samples in each square: int64 `(180 / square_deg, 360 / square_deg)`, from the south west."""
    rows, columns = round(180 / square_deg), round(360 / square_deg)
    row = np.minimum(((lat + 90) / square_deg).astype(np.int64), rows - 1)
    column = np.minimum(((lon + 180) / square_deg).astype(np.int64), columns - 1)
    return np.bincount(row * columns + column, minlength=rows * columns).reshape(rows, columns)


def _draw_land(axes: "Axes", face: str, edge: str) -> None:
    """All rings as one path, so that a ring wound the other way is left out of the filling."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    rings = [Curve(ring[:, ::-1], closed=True) for ring in land_polygons()]
    land = Curve.make_compound_path(*rings)
    axes.add_patch(PathPatch(land, facecolor=face, edgecolor=edge, linewidth=0.5))
