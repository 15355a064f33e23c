"""The demo's pictures: the world test on a map, and street answers beside their photographs."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no screen is needed
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from data.images import crop_square, read_rgb
from data.index import Index
from partitioning import s2
from partitioning.atomic_file import atomic_path
from partitioning.coastline import land_polygons
from partitioning.geojson import outlines
from setup.demonstration.leave_one_out import Outcome

LAND, SEA, REGION, ANSWER, TRUTH = "#e9e4d8", "#f7fafc", "#3b6fb6", "#d1495b", "#2a9d4f"
STREET_ROWS = 3
SHOWN_LICENCES = ("Public Domain", "CC0-1.0")  # may stand in a README without conditions


def world_axes(
    axes: Axes, bounds: tuple[float, float, float, float] = (-180, -60, 180, 80)
) -> None:
    """Draw land outlines on `axes`, equirectangular, bounds (west, south, east, north)."""
    west, south, east, north = bounds
    axes.set_facecolor(SEA)
    for polygon in land_polygons():
        axes.fill(polygon[:, 1], polygon[:, 0], color=LAND, lw=0.3, ec="#b8b0a0", zorder=0)
    axes.set(xlim=(west, east), ylim=(south, north), xticks=[], yticks=[])
    axes.set_aspect(1 / np.cos(np.radians(np.clip((south + north) / 2, -60, 60))))


def draw_world(predictions: Path, shards: Path, path: Path, lines: int = 400) -> None:
    """Map every test tile by its error, and lines from truth to answer for some of them.

    Args:
        predictions: predictions.csv of test_vit.py.
        shards: the test shards, for the true positions.
        path: PNG to write.
        lines: how many lines to draw; all would hide the map.
    """
    index = Index.open(shards)
    truth = pd.DataFrame({"img_id": index.keys(), "lat": index.lat, "lon": index.lon})
    answers = pd.read_csv(predictions)
    answers = answers[answers.p_key == "hierarchy"]
    table = answers.merge(truth, on="img_id")
    figure, axes = plt.subplots(figsize=(11, 4.4), layout="constrained")
    world_axes(axes)
    near = np.abs(table.lon - table.pred_lng) < 180  # a line across the whole map would mislead
    some = table[near].sample(min(lines, int(near.sum())), random_state=0)
    segments = np.stack([some[["lon", "lat"]], some[["pred_lng", "pred_lat"]]], axis=1)
    axes.add_collection(
        LineCollection(list(segments), colors="#555555", linewidths=0.3, alpha=0.35)
    )
    norm = mpl.colors.LogNorm(50, 10000)
    error_km = table.error_km.clip(50)
    dots = axes.scatter(table.lon, table.lat, c=error_km, s=5, norm=norm, cmap="viridis_r")
    figure.colorbar(dots, label="error, km", shrink=0.8)
    axes.set_title(
        f"{len(table)} Blue Marble test tiles (overhead imagery, not photographs), "
        f"coloured by error\nand {len(some)} lines to the answer; median "
        f"{table.error_km.median():,.0f} km",
        fontsize=9,
    )
    save(figure, path)


def draw_street(outcomes: list[Outcome], table: pd.DataFrame, images: Path, path: Path) -> None:
    """Three queries in a row each: photo, region with answer and truth, best match.

    Shown are the first known queries, by name, whose photos (and matches) are free of conditions:
    no choice by result.
    """
    facts = table.set_index("img_id")

    def free(img_id: str) -> bool:
        return facts.licence[img_id] in SHOWN_LICENCES

    shown = [o for o in outcomes if o.known and free(o.img_id) and free(o.fix.matches[0].key)]
    places: dict[str, Outcome] = {}
    for outcome in sorted(shown, key=lambda o: o.img_id):
        places.setdefault(outcome.place, outcome)
    rows = list(places.values())[:STREET_ROWS]
    figure, grid = plt.subplots(
        len(rows), 3, figsize=(11, 3.0 * len(rows)), layout="constrained", squeeze=False,
        width_ratios=(1, 2.35, 1),
    )  # fmt: skip
    for axes, outcome in zip(grid, rows, strict=True):
        match = outcome.fix.matches[0]
        show_photo(axes[0], images / f"{outcome.img_id}.jpg", f"query:\n{outcome.img_id}")
        draw_answer(axes[1], outcome, facts.lat[outcome.img_id], facts.lon[outcome.img_id])
        right = "right" if outcome.rank == 0 else "wrong"
        caption = f"best match, {right} ({match.score:.2f}):\n{match.key}"
        show_photo(axes[2], images / f"{match.key}.jpg", caption)
    save(figure, path)


def show_photo(axes: Axes, photo: Path, caption: str) -> None:
    """Show a photo's middle square."""
    axes.imshow(crop_square(read_rgb(photo), 300))
    axes.set_title(caption, fontsize=9)
    axes.axis("off")


def draw_answer(axes: Axes, outcome: Outcome, lat: float, lon: float) -> None:
    """Draw the 50% region's cells by probability, the answer and the truth."""
    fix, region = outcome.fix, outcome.half.cells
    world_axes(axes)
    highest = max(cell.probability for cell in region)
    for cell, rings in zip(
        region, outlines(s2.from_tokens([c.token for c in region])), strict=True
    ):
        for ring in rings:
            axes.fill(ring[:, 1], ring[:, 0], color=REGION, alpha=0.75 * cell.probability / highest)
    axes.plot(lon, lat, "o", ms=11, mfc="none", mec=TRUTH, mew=2, label="truth")
    axes.plot(fix.lon, fix.lat, "x", ms=8, color=ANSWER, mew=2.2, label="answer")
    axes.legend(loc="lower left", fontsize=8, framealpha=0.9)
    axes.set_title(
        f'answer "{fix.level}", {outcome.fix_km:,.1f} km from the truth;\n'
        f"region of nominal 50%: {len(region)} cells, shaded by probability",
        fontsize=9,
    )


def save(figure: plt.Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)
