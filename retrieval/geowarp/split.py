"""Photos of a plain folder, some of their places held out.

Photos named alike but for a number at the end (lund_01, lund_02) are of one place or one walk and
stay on one side: a photo held out must not have a twin among those learned from.
"""

import re
from pathlib import Path

import numpy as np

from data.places import EXTENSIONS

NUMBER = re.compile(r"[\s_.-]*\d+$")


def photos_in(*folders: Path) -> list[Path]:
    """All images under some folders, sorted by path.

    Raises:
        ValueError: there is none, or no such folder.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"no folder {folder}")
    found = [p for f in folders for p in f.rglob("*") if p.suffix.lower() in EXTENSIONS]
    if not found:
        raise ValueError(f"no image in {', '.join(map(str, folders))}")
    return sorted(found)


def split_by_place(
    photos: list[Path], share: float, seed: int = 0
) -> tuple[list[Path], list[Path]]:
    """Divide photos into those to learn from and those held out.

    Args:
        photos: Paths.
        share: Of the places that is held out, one at least.
        seed: Of the choice.

    Raises:
        ValueError: fewer than two places.
    """
    places = sorted({place_of(path) for path in photos})
    if len(places) < 2:
        raise ValueError(
            f"{len(photos)} photos of {len(places)} place cannot be divided into those to learn "
            "from and those to measure on; photos named alike but for a number are one place"
        )
    order = np.random.default_rng(seed).permutation(len(places))
    held = {places[i] for i in order[: max(1, round(share * len(places)))]}
    return (
        [path for path in photos if place_of(path) not in held],
        [path for path in photos if place_of(path) in held],
    )


def place_of(path: Path) -> str:
    """Folder and name without its last number; a name that is a number stands for itself."""
    return f"{path.parent}/{NUMBER.sub('', path.stem) or path.stem}"
