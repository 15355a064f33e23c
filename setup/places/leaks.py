"""Does anything of one split stand in another? Looked for in the files as they were written."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from data.places import DATABASE, QUERIES, SPLITS, read_photos
from setup.places.plan import Planned


@dataclass(frozen=True)
class Leaks:
    """What two splits share.

    Attributes:
        radius_m: Within which photos show one place.
        near: "train-test" -> photos of the first within the radius of one of the second.
        nearest_m: "train-test" -> how far the two nearest photos lie from each other.
        same_bytes: Files of the same bytes in two splits.
        sequences: Sequences in two splits.
        misplaced: Photos whose file is not where the plan says.
    """

    radius_m: float
    near: dict[str, int]
    nearest_m: dict[str, float]
    same_bytes: int
    sequences: int
    misplaced: int

    @property
    def is_clean(self) -> bool:
        """Whether no split shares a place, a photo or a sequence with another."""
        shared = sum(self.near.values()) + self.same_bytes + self.sequences + self.misplaced
        return shared == 0

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"is_clean": self.is_clean, **asdict(self)}

    def __str__(self) -> str:
        if not self.near:
            return "leak check: one split, nothing to leak to"
        apart = ", ".join(f"{pair} {metres:,.0f} m" for pair, metres in self.nearest_m.items())
        shared = (
            f"{sum(self.near.values()):,} photos within {self.radius_m:g} m of another split's, "
            f"{self.same_bytes:,} in two splits, {self.sequences:,} sequences in two splits"
        )
        return f"leak check: {shared}; nearest: {apart}"


def find_leaks(directory: Path, photos: list[Planned], radius_m: float) -> Leaks:
    """Read positions from the names of the files, bytes and sequences from the plan.

    Args:
        directory: Of the set.
        photos: As planned.
        radius_m: Within which photos show one place.
    """
    positions = _positions(directory)
    near, nearest_m = {}, {}
    for first, second in combinations(positions, 2):
        pair = f"{first}-{second}"
        apart_m = _nearest_m(positions[first], positions[second])
        near[pair] = int((apart_m <= radius_m).sum())
        nearest_m[pair] = round(float(apart_m.min()), 2)
    placed = [photo for photo in photos if photo.folder]
    return Leaks(
        radius_m, near, nearest_m,
        _in_two((photo.sha256, photo.split) for photo in placed),
        _in_two((photo.photo.sequence, photo.split) for photo in placed if photo.photo.sequence),
        sum(not (directory / "images" / p.folder / p.name).is_file() for p in placed),
    )  # fmt: skip


def _positions(directory: Path) -> dict[str, np.ndarray]:
    """Metres of all photos of each split that there is."""
    found = {}
    for split in SPLITS:
        folders = [directory / "images" / split / part for part in (DATABASE[0], QUERIES[0])]
        if all(folder.is_dir() for folder in folders):
            found[split] = np.concatenate([read_photos(folder).utm_m for folder in folders])
    return found


def _nearest_m(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How far each of the first is from the nearest of the second, `(N,)`.

    By another way than the one that made the splits, so that a fault of that shows.
    """
    return np.asarray(cKDTree(second).query(first)[0])


def _in_two(pairs: Any) -> int:
    """How many keys stand in more than one split."""
    splits: dict[str, set[str]] = defaultdict(set)
    for key, split in pairs:
        splits[key].add(split)
    return sum(len(names) > 1 for names in splits.values())
