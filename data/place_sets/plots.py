"""Pictures of a set of places: its map, how near answers lie, some queries beside theirs."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from data.images import ImageError, read_rgb
from data.overview.density_map import FAINT, INK
from data.place_sets.measures import SetMeasures, SplitMeasures
from data.place_sets.names import PlaceName
from partitioning.atomic_file import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"train": "#3a76b0", "val": "#dd8f1d", "test": "#b8323f"}
QUERY_INK = "#101820"
DPI, WIDTH_IN = 130, 11.0
MARGIN, STRIP = 0.06, 0.09  # of a map: around its photos, and below for its scale
LEAST_SIDE = 0.4  # of a map's longer side: a straight street is no line
BINS_M = np.arange(0, 52.5, 2.5)
TILE_PX, GAP_PX, TEXT_PX = (260, 180), 8, 14


def draw_map(measures: SetMeasures, path: Path) -> None:
    """Draw all photos in metres, north up: all splits, then each by itself, with a scale.

    Of a set in several UTM zones, the fullest is drawn.
    """
    from matplotlib.figure import Figure

    zone, positions = _of_fullest_zone(measures)
    points = np.concatenate([np.concatenate(pair) for pair in positions.values()])
    corner, sides = points.min(axis=0), np.ptp(points, axis=0) + 1
    tall_in = float(np.clip(0.8 * WIDTH_IN * sides[1] / sides[0] + 1.2, 3.2, 7.0))
    heights = [tall_in] if len(positions) == 1 else [tall_in, 4.4]
    figure = Figure((WIDTH_IN, sum(heights)), dpi=DPI, facecolor="white", layout="constrained")
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    everything = parts[0].subplots()
    _draw_photos(everything, positions, corner, size=6)
    everything.set_title(f"{measures.directory.name}: UTM zone {zone or 'not named'}", color=INK)
    _draw_key(everything, positions)
    if len(heights) > 1:
        below = parts[1].subplots(1, len(positions), squeeze=False)[0]
        for axes, (name, pair) in zip(below, positions.items(), strict=True):
            _draw_photos(axes, {name: pair}, corner, size=10)
            axes.set_title(name, color=COLOURS[name], weight="bold")
    _save(figure, path)


def _of_fullest_zone(
    measures: SetMeasures,
) -> tuple[int, dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
    """That zone, and split -> metres of database and queries in it."""
    splits = measures.splits.values()
    zones = np.concatenate([z for s in splits for z in (s.database.zones, s.queries.zones)])
    names, counts = np.unique(zones, return_counts=True)
    zone = int(names[counts.argmax()])
    positions = {
        name: tuple(photos.utm_m[photos.zones == zone] for photos in (s.database, s.queries))
        for name, s in measures.splits.items()
    }
    return zone, {name: (d, q) for name, (d, q) in positions.items() if len(d) or len(q)}


def _draw_photos(
    axes: "Axes",
    positions: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    corner: NDArray[np.float64],
    size: float,
) -> None:
    from matplotlib.ticker import MaxNLocator

    for name, (database, queries) in positions.items():
        shown: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": True}
        (east, north), (asked_east, asked_north) = (database - corner).T, (queries - corner).T
        axes.scatter(east, north, color=COLOURS[name], alpha=0.5, **shown)
        axes.scatter(asked_east, asked_north, color=QUERY_INK, marker="^", **shown)
    points = np.concatenate([np.concatenate(pair) for pair in positions.values()]) - corner
    low, high = points.min(axis=0), points.max(axis=0)
    reach = (high - low) * (0.5 + MARGIN)
    reach = np.maximum(reach, max(float(reach.max()) * LEAST_SIDE, 10.0))
    (left, bottom), (right, top) = (low + high) / 2 - reach, (low + high) / 2 + reach
    strip = STRIP * max(right - left, top - bottom)
    axes.set(xlim=(left, right), ylim=(bottom - strip, top), aspect="equal")
    _draw_scale(axes, right - left, bottom - strip / 2, strip)
    axes.set_xlabel("m east", color=FAINT)
    axes.set_ylabel("m north", color=FAINT)
    axes.tick_params(colors=FAINT, labelsize=8)
    for axis, side in zip((axes.xaxis, axes.yaxis), reach / reach.max(), strict=True):
        axis.set_major_locator(MaxNLocator(max(2, round(5 * float(side)))))
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.spines[:].set_color("#c9d1d6")


def _draw_scale(axes: "Axes", width_m: float, at: float, strip_m: float) -> None:
    """A bar of a round length, at most a quarter of the map, and an arrow to the north."""
    power = 10 ** np.floor(np.log10(width_m / 4))
    length = float(max(step for step in (1, 2, 5) if step * power <= width_m / 4) * power)
    start = axes.get_xlim()[0] + 0.03 * width_m
    axes.plot([start, start + length], [at, at], color=INK, lw=3, solid_capstyle="butt")
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.annotate(
        text, (start + length, at), (5, 0), textcoords="offset points", va="center", size=8,
        color=INK,
    )  # fmt: skip
    east, half = axes.get_xlim()[1] - 0.04 * width_m, strip_m * 0.35
    axes.annotate(
        "", (east, at + half), (east, at - half), arrowprops={"arrowstyle": "-|>", "color": INK}
    )
    axes.annotate(
        "N", (east, at), (-9, 0), textcoords="offset points", ha="center", va="center", size=9,
        color=INK,
    )  # fmt: skip


def _draw_key(axes: "Axes", positions: Iterable[str]) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], ls="", marker="o", color=COLOURS[name], label=f"{name}, database")
        for name in positions
    ]
    marks.append(Line2D([], [], ls="", marker="^", color=QUERY_INK, label="queries"))
    axes.legend(
        handles=marks, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9
    )


def draw_distances(measures: SetMeasures, path: Path) -> None:
    """Draw how far the nearest photo of the database is from each query; one row a split."""
    from matplotlib.figure import Figure

    count = len(measures.splits)
    figure = Figure((8.5, 2.3 * count), dpi=DPI, facecolor="white", layout="constrained")
    rows = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, split) in zip(rows, measures.splits.items(), strict=True):
        near = np.clip(split.nearest_m, 0, BINS_M[-1] - 1e-6)
        axes.hist(near, BINS_M, color=COLOURS[name], edgecolor="white", linewidth=0.5)
        axes.axvline(split.radius_m, color=INK, lw=1, ls="--")
        axes.annotate(
            f"{split.radius_m:g} m: {split.without_positive:,} of {len(split.queries):,} queries "
            "have no positive",
            (split.radius_m, 0.9), (4, 0), ("data", "axes fraction"),
            textcoords="offset points", va="center", size=8, color=INK,
        )  # fmt: skip
        axes.set_ylabel(f"{name} queries", color=FAINT)
        axes.set_xlim(BINS_M[0], BINS_M[-1])
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=FAINT, labelsize=8)
    rows[-1].set_xlabel(
        f"m to the nearest photo of the database (the last bar: {BINS_M[-2]:g} m and more)",
        color=FAINT,
    )
    _save(figure, path)


def _save(figure: "Figure", path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def draw_samples(measures: SetMeasures, path: Path, each: int = 3, seed: int = 0) -> None:
    """Draw some queries, each beside a positive: of those, the one that looks most the same way.

    Where headings are unknown it is the nearest. A query without a positive is not drawn.
    """
    rows = {
        name: np.random.default_rng(seed).permutation(np.flatnonzero(split.positives))[:each]
        for name, split in measures.splits.items()
    }
    columns = 2 * max(1, *(len(queries) for queries in rows.values()), 1)
    height = TILE_PX[1] + TEXT_PX + 2 * GAP_PX
    sheet = Image.new(
        "RGB", (columns * (TILE_PX[0] + GAP_PX) + GAP_PX, len(rows) * height + GAP_PX), "white"
    )
    for row, (name, queries) in enumerate(rows.items()):
        for column, query in enumerate(sorted(queries.tolist())):
            place = GAP_PX + 2 * column * (TILE_PX[0] + GAP_PX), GAP_PX + row * height
            _draw_pair(sheet, measures.splits[name], query, f"{name}: ", place)
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def _draw_pair(
    sheet: Image.Image, split: SplitMeasures, query: int, text: str, place: tuple[int, int]
) -> None:
    answer, apart_m = answer_of(split, query)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    colour = COLOURS[text.partition(":")[0]]
    pair = (
        (split.queries.paths[query], f"{text}query"),
        (answer, f"a positive, {apart_m:.1f} m away"),
    )
    for number, (photo, below) in enumerate(pair):
        left, top = place[0] + number * (TILE_PX[0] + GAP_PX // 2), place[1]
        _paste(sheet, photo, left, top)
        draw.text((left, top + TILE_PX[1] + 2), below, colour, font)


def answer_of(split: SplitMeasures, query: int) -> tuple[Path, float]:
    """A positive of a query, and how far it is in metres."""
    apart_m = np.hypot(*(split.database.utm_m - split.queries.utm_m[query]).T)
    zones = split.database.zones == split.queries.zones[query]
    rows = np.flatnonzero((apart_m <= split.radius_m) & zones)
    heading = PlaceName.parse(split.queries.paths[query].name).heading

    def turned_deg(row: int) -> float:
        other = PlaceName.parse(split.database.paths[row].name).heading
        if heading is None or other is None:
            return 360.0
        return abs((other - heading + 180) % 360 - 180)

    best = min(rows.tolist(), key=lambda row: (turned_deg(row), apart_m[row]))
    return split.database.paths[best], float(apart_m[best])


def _paste(sheet: Image.Image, photo: Path, left: int, top: int) -> None:
    """Put a photo into its tile, whole, in its middle."""
    try:
        picture = Image.fromarray(read_rgb(photo, min_side=max(TILE_PX)))
        picture = ImageOps.contain(picture, TILE_PX)
    except ImageError:
        picture = Image.new("RGB", TILE_PX, (128, 128, 128))
        ImageDraw.Draw(picture).text((8, 8), "cannot be read", "white")
    middle = left + (TILE_PX[0] - picture.width) // 2, top + (TILE_PX[1] - picture.height) // 2
    sheet.paste(picture, middle)
