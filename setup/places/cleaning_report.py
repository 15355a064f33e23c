"""What goes and why when a set of photos is cleaned: text, table, histogram, contact sheet."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data.images import ImageError, read_rgb
from partitioning.atomic_file import atomic_path

BINS = 40
SIDE = 6  # photos shown on each side of the limit
TILE_PX, GAP_PX, TEXT_PX = 200, 10, 13
INK, GOES, STAYS = (29, 42, 53), (180, 60, 40), (40, 120, 70)
OTHER_LIMITS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3)
MOST_LISTED = 10


@dataclass(frozen=True)
class Judged:
    """One photo and what is to become of it.

    Attributes:
        path: Of the photo.
        name: Its path below the set.
        share: Of buildings; None where it could not be told.
        error: Why not.
        limit: Least share of a photo that stays.
    """

    path: Path
    name: str
    share: float | None
    error: str
    limit: float

    @property
    def stays(self) -> bool:
        """Whether it is kept."""
        return self.share is not None and self.share >= self.limit

    @property
    def reason(self) -> str:
        """Why it goes; "" where it stays."""
        if self.share is None:
            return f"cannot be judged: {self.error}"
        return "" if self.stays else f"buildings {self.share:.2%}, less than {self.limit:.2%}"


def write_report(
    directory: Path, judged: list[Judged], data: Path, source: str, gone: Sequence[str] = ()
) -> None:
    """Write shares.csv, histogram.png, borderline.png and report.md.

    Args:
        directory: Made where it is missing.
        judged: All photos.
        data: The set, as the user called it.
        source: What told the shares.
        gone: Files of the last copy that the set has lost since.
    """
    with (
        atomic_path(directory / "shares.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["photo", "share", "stays", "reason"])
        for one in judged:
            share = "" if one.share is None else f"{one.share:.5f}"
            rows.writerow([one.name, share, int(one.stays), one.reason])
    shares = np.array([one.share for one in judged if one.share is not None])
    if len(shares):
        draw_histogram(directory / "histogram.png", shares, judged[0].limit)
        draw_borderline(directory / "borderline.png", judged)
    with atomic_path(directory / "report.md") as temporary:
        temporary.write_text(as_markdown(judged, shares, data, source, gone), encoding="utf-8")


def as_markdown(
    judged: list[Judged], shares: NDArray, data: Path, source: str, gone: Sequence[str] = ()
) -> str:
    """The report in words and tables."""
    limit, staying = judged[0].limit, sum(one.stays for one in judged)
    unknown = [one for one in judged if one.share is None]
    lines = [
        f"# Cleaning of {data}",
        "",
        f"Photos with less than {limit:.2%} buildings go. Shares by {source}.",
        "",
        f"Of {len(judged):,} photos {staying:,} stay and {len(judged) - staying:,} go: "
        f"{len(judged) - staying - len(unknown):,} show too few buildings, {len(unknown):,} "
        "cannot be judged.",
        "",
        "| folder | photos | stay | go |",
        "|---|---|---|---|",
        *_by_folder(judged),
    ]
    if len(shares):
        lines += ["", "What other limits would leave, of the photos that could be judged:", ""]
        lines += ["| limit | stay | go |", "|---|---|---|"]
        for other in sorted({*OTHER_LIMITS, limit}):
            left = int((shares >= other).sum())
            lines.append(f"| {other:.2%} | {left:,} | {len(shares) - left:,} |")
        lines += ["", "![shares](histogram.png)", "", "Next to the limit on both sides:", ""]
        lines += ["![photos next to the limit](borderline.png)"]
    if unknown:
        lines += ["", "Cannot be judged:", ""]
        lines += [f"- {one.name}: {one.error}" for one in unknown[:MOST_LISTED]]
        if len(unknown) > MOST_LISTED:
            lines.append(f"- and {len(unknown) - MOST_LISTED:,} more: shares.csv")
    if gone:
        lines += [
            "",
            f"{len(gone):,} files of the last copy are gone from {data}; they go from the",
        ]
        lines += ["copy too:", "", *(f"- {name}" for name in gone[:MOST_LISTED])]
        if len(gone) > MOST_LISTED:
            lines.append(f"- and {len(gone) - MOST_LISTED:,} more")
    return "\n".join(lines) + "\n"


def _by_folder(judged: list[Judged]) -> list[str]:
    """A line of the table for each folder."""
    every, stay = Counter[str](), Counter[str]()
    for one in judged:
        folder = one.name.rpartition("/")[0] or "."
        every[folder] += 1
        stay[folder] += one.stays
    return [
        f"| {folder} | {count:,} | {stay[folder]:,} | {count - stay[folder]:,} |"
        for folder, count in sorted(every.items())
    ]


def draw_histogram(path: Path, shares: NDArray, limit: float) -> None:
    """Draw how the shares are spread, and the limit."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
    # A bin ends at the limit, so that no bar holds both photos that go and photos that stay.
    counts, edges = np.histogram(shares, np.unique([*np.linspace(0, 1, BINS + 1), limit]))
    colours = ["#b43c28" if right <= limit else "#1f5a99" for right in edges[1:]]
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colours, edgecolor="white")
    axes.axvline(limit, color="#1d2a35", linewidth=1)
    gone = int((shares < limit).sum())
    axes.set_title(f"{gone:,} of {len(shares):,} photos below {limit:.2%}", fontsize=10)
    axes.set_xlabel("share of buildings in a photo")
    axes.set_ylabel("photos")
    axes.set_xlim(0, 1)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)


def draw_borderline(path: Path, judged: list[Judged]) -> None:
    """Draw the photos next to the limit: those that just go above, those that just stay below."""
    known = sorted((one for one in judged if one.share is not None), key=lambda one: one.share or 0)
    rows = (
        ("just go", GOES, [one for one in known if not one.stays][-SIDE:]),
        ("just stay", STAYS, [one for one in known if one.stays][:SIDE]),
    )
    step_x, head, text = TILE_PX + GAP_PX, TEXT_PX + 2 * GAP_PX, TEXT_PX + GAP_PX
    tiles = [[_tile(one.path) for one in row] for _, _, row in rows]
    heights = [max((tile.height for tile in line), default=0) for line in tiles]
    size = (GAP_PX + SIDE * step_x, sum(heights) + len(rows) * (head + text))
    sheet, top = Image.new("RGB", size, (255, 255, 255)), 0
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    for (what, colour, row), line, height in zip(rows, tiles, heights, strict=True):
        pen.text((GAP_PX, top + GAP_PX), f"{what}: {len(row) or 'none'}", colour, font)
        bottom = top + head + height
        for place, (one, tile) in enumerate(zip(row, line, strict=True)):
            x = GAP_PX + place * step_x
            sheet.paste(tile, (x, bottom - tile.height))
            pen.text((x, bottom + 4), f"{one.share:.2%}", INK, font)
        top = bottom + text
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def _tile(path: Path) -> Image.Image:
    """A photo no larger than a tile; grey where it cannot be read any more."""
    try:
        tile = Image.fromarray(read_rgb(path, min_side=TILE_PX))
    except ImageError:
        return Image.new("RGB", (TILE_PX, TILE_PX), (128, 128, 128))
    factor = TILE_PX / max(tile.size)
    size = (max(1, round(tile.width * factor)), max(1, round(tile.height * factor)))
    return tile.resize(size, Image.Resampling.BICUBIC)
