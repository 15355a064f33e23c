"""The picture of a day-and-night report: recall of each model, and what each gains on the first.

Above it, where the report made night copies, a query by day and its copy: readers see for
themselves what kind of night it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from data.images import read_rgb
from partitioning.atomic_file import atomic_path
from retrieval.night.comparison import Row
from retrieval.night.conditions import COPIED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase, SubFigure

DAY, NIGHT, COPY, INK, FAINT = "#d08a2e", "#1f3a6e", "#7a4fa3", "#1d2a35", "#b9c2c9"
COLOURS = {"day": DAY, "night": NIGHT, COPIED: COPY}
DPI = 130
APART = 0.2  # between conditions on a model's line
PHOTOS_IN = 2.7  # height of the photos, inches


def draw_night(
    rows: Sequence[Row], k: int, path: Path, title: str, pair: Sequence[Path] = ()
) -> None:
    """Draw R@k by day and by night with intervals, and the differences, PNG.

    Args:
        rows: Of `retrieval.night.comparison`.
        k: Depth.
        path: To write.
        title: Above the picture.
        pair: A query by day and its night copy, drawn on top; empty draws none.

    Raises:
        ImageError: a photo of the pair cannot be read.
    """
    # Not pyplot: it keeps every figure alive and may look for a display.
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(row.model for row in rows))
    is_compared = len(models) > 1
    width, height = 10 if is_compared else 6, 1.9 + 0.6 * len(models)
    figure = Figure((width, height + (PHOTOS_IN if pair else 0)), dpi=DPI, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=INK)
    plots: FigureBase = figure
    if pair:
        photos, plots = cast(
            "list[SubFigure]", figure.subfigures(2, 1, height_ratios=[PHOTOS_IN, height])
        )
        _draw_photos(photos, pair)
    axes = plots.subplots(1, 2 if is_compared else 1, squeeze=False)[0]
    _draw_recalls(axes[0], rows, models, k)
    if is_compared:
        _draw_differences(axes[1], rows, models, k)
    named = axes[0].get_legend_handles_labels()
    plots.legend(*named, loc="outside lower center", ncols=len(COLOURS), frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_photos(figure: "SubFigure", pair: Sequence[Path]) -> None:
    for axes, photo, name in zip(figure.subplots(1, 2), pair, ("day", COPIED), strict=True):
        axes.imshow(read_rgb(photo))
        axes.set_title(f"a query by {name}", fontsize=9, color=COLOURS[name])
        axes.set_axis_off()


def _draw_recalls(axes: "Axes", rows: Sequence[Row], models: list[str], k: int) -> None:
    for condition, colour in COLOURS.items():
        for row in (row for row in rows if row.condition == condition):
            share = row.shares[k]
            arms = [[100 * (share.share - share.low)], [100 * (share.high - share.share)]]
            is_first = row.model == models[0]
            label = f"{condition}, {share.n:,} queries" if is_first else None
            _draw_point(axes, 100 * share.share, arms, _height(models, rows, row), colour, label)
    axes.set(xlabel=f"R@{k}, percent, with 95% intervals", xlim=(0, 100))
    _name(axes, models)


def _draw_differences(axes: "Axes", rows: Sequence[Row], models: list[str], k: int) -> None:
    for row in rows:
        if row.condition in COLOURS and k in row.differences:
            d = row.differences[k]
            points = 100 * (d.only_b - d.only_a) / d.photos
            arms = [[points - 100 * d.low], [100 * d.high - points]]
            colour = COLOURS[row.condition]
            _draw_point(axes, points, arms, _height(models, rows, row), colour, None)
    axes.axvline(0, color=INK, lw=0.8, zorder=0)
    axes.set(xlabel=f"R@{k} minus that of {models[0]}, points, paired 95% intervals")
    _name(axes, models)
    axes.set_yticklabels([])


def _draw_point(
    axes: "Axes", x: float, arms: list[list[float]], y: float, colour: str, label: str | None
) -> None:
    axes.errorbar([x], [y], xerr=arms, fmt="o", color=colour, capsize=3, label=label)


def _height(models: list[str], rows: Sequence[Row], row: Row) -> float:
    """Conditions one below the other on the model's line, day first."""
    there = [name for name in COLOURS if any(one.condition == name for one in rows)]
    return models.index(row.model) + APART * (there.index(row.condition) - (len(there) - 1) / 2)


def _name(axes: "Axes", models: list[str]) -> None:
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.grid(axis="x", color=FAINT, lw=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
