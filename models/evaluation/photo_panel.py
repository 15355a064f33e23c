"""A panel of the photos that were placed best and worst: what a model sees, and where it is blind.

The panel is the only place where a test keeps pixels of the photos, small ones. It shows no ids
and no positions, but photos it shows: mind their licences before it is passed on.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.images import ImageError, crop_square
from partitioning.atomic_file import atomic_path

COLUMNS, ROWS = 6, 2  # of each kind
SIDE_PX = 192


def draw_panel(
    keys: list[str],
    errors_km: NDArray[np.float64],
    read: Callable[[str, int], NDArray[np.uint8]],
    path: Path,
    title: str,
) -> None:
    """Draw the best and the worst photos with their errors.

    Args:
        keys: image ids.
        errors_km: `(N,)`.
        read: takes an id and a least side in px, gives the photo.
        path: PNG to write.
        title: above the panel.
    """
    from matplotlib.figure import Figure

    best, worst = extremes(errors_km, COLUMNS * ROWS)
    figure = Figure((COLUMNS * 2.0, 2 * ROWS * 2.35), dpi=100, layout="constrained")
    figure.suptitle(title, fontsize=10)
    upper, lower = figure.subfigures(2, 1)  # type: ignore[misc]  # an array of two
    for part, rows, name in ((upper, best, "best"), (lower, worst, "worst")):
        part.suptitle(f"{len(rows)} {name} of {len(keys):,}", fontsize=10)
        for axes, row in zip(part.subplots(ROWS, COLUMNS).flat, rows, strict=False):
            axes.imshow(_thumbnail(read, keys[row]))
            axes.set_title(f"{errors_km[row]:,.1f} km", fontsize=8)
        for axes in part.axes:
            axes.axis("off")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def extremes(
    errors_km: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of up to `count` smallest errors and of as many largest, no row in both."""
    order = np.argsort(errors_km, kind="stable")
    count = min(count, len(order) // 2)
    return order[: count or 1], order[::-1][:count]


def _thumbnail(read: Callable[[str, int], NDArray[np.uint8]], key: str) -> NDArray[np.uint8]:
    try:
        return crop_square(read(key, SIDE_PX), SIDE_PX)
    except ImageError:  # removed since it was predicted: a grey square in its place
        return np.full((SIDE_PX, SIDE_PX, 3), 200, dtype=np.uint8)
