"""Two pictures of a test: how errors are distributed, and where on the globe answers go wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.evaluation.accuracy import HIERARCHICAL, PRIOR
from models.evaluation.intervals import WORLD_THRESHOLDS_KM
from partitioning.atomic_file import atomic_path
from partitioning.coastline import land_polygons

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEA, LAND, SHORE, INK, FAINT = "#f3f6f8", "#e3e2dc", "#6f7b83", "#1d2a35", "#8a959d"
COLOURS = ("#8fb8de", "#5b8fc7", "#2f6ba8", "#d1495b", "#9aa3a9")
ERROR_COLOURS = "viridis_r"
NEAREST_KM, FARTHEST_KM = 1.0, 20_038.0  # half the Earth's girth: no error is larger
MAX_LINES = 400  # more would hide the map
DPI = 130

FloatArray = NDArray[np.float64]


def draw_errors(errors_km: Mapping[str, FloatArray], path: Path, title: str) -> None:
    """Draw the share of photos within each distance, a curve for each row, distance logarithmic.

    Args:
        errors_km: row -> errors `(N,)`.
        path: PNG to write.
        title: above the picture.
    """
    figure = _figure(8.0, 5.0)
    axes = figure.add_subplot(xscale="log", xlim=(NEAREST_KM, FARTHEST_KM), ylim=(0, 100))
    for number, (name, errors) in enumerate(errors_km.items()):
        distances, percent = cumulative(errors)
        colour = COLOURS[-1] if name == PRIOR else COLOURS[min(number, len(COLOURS) - 2)]
        width, style = 2.2 if name == HIERARCHICAL else 1.3, "--" if name == PRIOR else "-"
        axes.step(distances, percent, style, where="post", color=colour, lw=width, label=name)
    for km in WORLD_THRESHOLDS_KM:
        axes.axvline(km, color=FAINT, lw=0.6, zorder=0)
    axes.set_xticks(WORLD_THRESHOLDS_KM, [f"{km:g}" for km in WORLD_THRESHOLDS_KM])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="distance from the truth, km", ylabel="photos within it, %")
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.legend(loc="upper left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def cumulative(errors_km: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sorted distances and the percent of photos within each; both begin with none at all."""
    distances = np.concatenate([[0.0], np.sort(errors_km)])
    return distances, 100 * np.arange(len(distances)) / len(errors_km)


def draw_world(
    truth: tuple[FloatArray, FloatArray],
    answer: tuple[FloatArray, FloatArray],
    errors_km: FloatArray,
    path: Path,
    title: str,
) -> None:
    """Map the photos, coloured by error, with lines from truth to answer for some of them.

    Args:
        truth: lat, lon of the photos, degrees `(N,)` each.
        answer: lat, lon of the answers.
        errors_km: `(N,)`.
        path: PNG to write.
        title: above the map.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LogNorm

    figure = _figure(12.0, 6.2)
    axes = figure.add_subplot()
    _draw_land(axes)
    shown = np.random.default_rng(0).permutation(len(errors_km))[:MAX_LINES]
    lines = [
        line
        for row in shown
        for line in straight_lines(*(float(x[row]) for x in (*truth, *answer)))
    ]
    axes.add_collection(LineCollection(lines, colors="#555555", linewidths=0.4, alpha=0.35))
    dots = axes.scatter(
        truth[1], truth[0], c=np.clip(errors_km, NEAREST_KM, None), s=7, lw=0, zorder=3,
        cmap=ERROR_COLOURS, norm=LogNorm(NEAREST_KM, FARTHEST_KM),
    )  # fmt: skip
    bar = figure.colorbar(dots, label="error, km", shrink=0.7, pad=0.01)
    bar.set_ticks(WORLD_THRESHOLDS_KM, labels=[f"{km:g}" for km in WORLD_THRESHOLDS_KM])
    drawn = f"lines to the answers of {len(shown):,} of {len(errors_km):,} photos"
    axes.set_title(f"{title}\n{drawn}", loc="left", fontsize=10, color=INK)
    _save(figure, path)


def straight_lines(
    lat: float, lon: float, to_lat: float, to_lon: float
) -> list[list[tuple[float, float]]]:
    """A line on the map from one place to another the short way round, as (lon, lat) pieces.

    One that crosses the antimeridian is drawn in two pieces, each running off its edge.
    """
    turn = 360.0 * round((to_lon - lon) / 360.0)
    pieces = [[(lon, lat), (to_lon - turn, to_lat)]]
    if turn:
        pieces.append([(lon + turn, lat), (to_lon, to_lat)])
    return pieces


def _draw_land(axes: "Axes") -> None:
    """Land outlines, equirectangular; rings wound the other way round are left out as lakes."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    rings = [Curve(ring[:, ::-1], closed=True) for ring in land_polygons()]
    land = Curve.make_compound_path(*rings)
    axes.add_patch(PathPatch(land, facecolor=LAND, edgecolor=SHORE, linewidth=0.4, zorder=0))
    axes.set(xlim=(-180, 180), ylim=(-90, 90), xticks=[], yticks=[], facecolor=SEA, aspect=1)
    axes.spines[:].set_visible(False)


def _figure(width_in: float, height_in: float) -> "Figure":
    # Not pyplot: it keeps every figure alive and may look for a display.
    from matplotlib.figure import Figure

    return Figure((width_in, height_in), dpi=DPI, facecolor="white", layout="constrained")


def _save(figure: "Figure", path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
