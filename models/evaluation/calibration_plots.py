"""The pictures of models/reliability.py: reliability, abstention and coverage.

Intervals are Wilson's, 95%. Every point stands at the mean of its bin, not at the bin's middle, and
the number of photos in the bin is drawn beneath: a point far off the line that a dozen photos made
is no discovery.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.evaluation.calibration_error import Bin, expected_calibration_error
from models.evaluation.intervals import wilson_interval
from models.evaluation.judgement import Reliability
from partitioning.atomic_file import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK, FAINT, AFTER, BEFORE = "#1d2a35", "#8a959d", "#2f6ba8", "#d1495b"
CURVES = ("#8fb8de", "#5b8fc7", "#2f6ba8", "#1b3f66")
BAND_POINTS = 60  # of an interval's band: one at every photo would be no finer
DPI = 130


def draw_reliability(found: Reliability, path: Path) -> None:
    """Draw what came true against what was stated, and how many photos stated it."""
    figure = _figure(5.6, 6.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=FAINT, lw=0.8, zorder=0)
    if found.before:
        _points(upper, found.before, BEFORE, "before the temperature")
    bins = found.bins["adaptive"]
    _points(upper, bins, AFTER, "stated" if not found.before else "with the temperature")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share whose likeliest cell was right")
    upper.legend(loc="upper left", frameon=False, fontsize=9)
    for each in found.bins["equal width"]:
        lower.bar(each.low, each.right.n, each.high - each.low, align="edge", color=AFTER, ec="w")
    lower.set(xlabel="probability of the likeliest cell", ylabel="photos")
    photos = sum(each.right.n for each in bins)
    _title(upper, f"Reliability, {photos:,} photos")
    _save(figure, path)


def _points(axes: "Axes", bins: list[Bin], colour: str, label: str) -> None:
    stated = [each.stated for each in bins]
    shares = np.array([each.right.share for each in bins])
    below = shares - [each.right.low for each in bins]
    above = np.array([each.right.high for each in bins]) - shares
    text = f"{label}: ECE {expected_calibration_error(bins):.3f}"
    axes.errorbar(
        stated, shares, [below, above], fmt="o-", ms=4, lw=1.2, elinewidth=0.8, color=colour,
        label=text,
    )  # fmt: skip


def draw_abstention(found: Reliability, path: Path) -> None:
    """Draw accuracy within each distance against the share of photos answered."""
    figure = _figure(6.4, 5.0)
    axes = figure.add_subplot(xlim=(0, 100), ylim=(0, 100))
    for (km, curve), colour in zip(found.curves.items(), CURVES, strict=True):
        photos = len(curve.answered)
        axes.plot(
            100 * curve.answered, 100 * curve.accuracy, color=colour, lw=1.6, label=f"{km:g} km"
        )
        counts = np.unique(np.linspace(1, photos, BAND_POINTS).round().astype(int))
        hits = np.rint(curve.accuracy[counts - 1] * counts).astype(int)
        bounds = [wilson_interval(int(h), int(n)) for h, n in zip(hits, counts, strict=True)]
        low, high = 100 * np.array(bounds).T
        axes.fill_between(100 * counts / photos, low, high, color=colour, alpha=0.15, lw=0)
    surest = next(iter(found.curves.values())).confidence
    if found.floor > 0:
        answered = 100 * float((surest >= found.floor).mean())
        axes.axvline(answered, color=INK, lw=0.8, ls="--")
        axes.text(answered, 2, " floor", color=INK, fontsize=8)
    axes.set(xlabel="photos answered, the surest first, %", ylabel="answers within the distance, %")
    axes.legend(loc="upper right", frameon=False, fontsize=9)
    _title(axes, f"Abstention, {len(surest):,} photos")
    _save(figure, path)


def draw_coverage(found: Reliability, path: Path) -> None:
    """Draw how often regions held the truth against their nominal mass, and their size."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = _figure(9.0, 4.4)
    left, right = figure.subplots(1, 2)
    masses = np.array([each.mass for each in found.regions])
    shares = np.array([each.share.share for each in found.regions])
    low = shares - [each.share.low for each in found.regions]
    high = np.array([each.share.high for each in found.regions]) - shares
    left.plot([0.4, 1], [0.4, 1], color=FAINT, lw=0.8, zorder=0)
    left.errorbar(masses, shares, [low, high], fmt="o", ms=4, elinewidth=0.8, color=AFTER)
    left.set(
        xlabel="nominal probability of the region", ylabel="photos whose region held the truth"
    )
    _title(left, f"Coverage, {found.regions[0].share.n:,} photos")
    for name, colour in (("median_cells", AFTER), ("mean_cells", CURVES[0])):
        sizes = [getattr(each, name) for each in found.regions]
        right.plot(masses, sizes, "o-", ms=4, lw=1.2, color=colour, label=name.split("_")[0])
    right.set(xlabel="nominal probability of the region", ylabel="cells in it", yscale="log")
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    right.yaxis.set_minor_formatter(NullFormatter())
    right.legend(loc="upper left", frameon=False, fontsize=9)
    _title(right, "Size of the regions")
    _save(figure, path)


def _figure(width_in: float, height_in: float) -> "Figure":
    # Not pyplot: it keeps every figure alive and may look for a display.
    from matplotlib.figure import Figure

    return Figure((width_in, height_in), dpi=DPI, layout="constrained", facecolor="white")


def _title(axes: "Axes", text: str) -> None:
    axes.set_title(text, loc="left", fontsize=10, color=INK)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: "Figure", path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
