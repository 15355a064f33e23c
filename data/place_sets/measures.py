"""What a set of places holds, in figures: counts, density, nearest positives, sizes, years.

Area is that of the squares, 100 m wide, in which a photo was taken, for a hull around a town would
count its rivers; a place is a square 25 m wide. Distances between splits tell whether one of them
sees the other's places.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from data.images import ImageError, image_size, read_bytes
from data.place_sets.names import PlaceName
from data.places import (
    POSITIVE_M,
    SPLITS,
    TRAIN_POSITIVE_M,
    Photos,
    is_split,
    read_photos,
    split_folders,
)

AREA_M, PLACE_M = 100.0, POSITIVE_M  # widths of the squares that are counted
PERCENTILES = (0, 5, 50, 95, 100)
UNKNOWN = "unknown"


@dataclass(frozen=True)
class SplitMeasures:
    """Figures of one split.

    Attributes:
        database, queries: Its photos.
        radius_m: How near a positive is.
        nearest_m: From each query to the nearest photo of the database, `(Q,)`.
        positives: How many photos of the database each query has within the radius, `(Q,)`.
        area_km2: Of the squares with a photo of either.
        places: Squares of one place with a photo of the database.
        years: Year -> photos of database and queries.
        notes: Word of the queries' notes -> queries.
        headings: Photos whose heading is known.
        sizes_px: "width x height" -> photos, of those looked at.
        looked_at: Photos whose size was read.
        unreadable: File -> why, of those.
    """

    database: Photos
    queries: Photos
    radius_m: float
    nearest_m: NDArray[np.float64]
    positives: NDArray[np.int64]
    area_km2: float
    places: int
    years: dict[str, tuple[int, int]]
    notes: dict[str, int]
    headings: int
    sizes_px: dict[str, int]
    looked_at: int
    unreadable: dict[str, str]

    @property
    def without_positive(self) -> int:
        """Queries that nothing of the database can answer."""
        return int((self.positives == 0).sum())

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        photos = len(self.database) + len(self.queries)
        return {
            "database": len(self.database),
            "queries": len(self.queries),
            "refused": {**self.database.refused, **self.queries.refused},
            "utm_zones": sorted({*self.database.zones.tolist(), *self.queries.zones.tolist()}),
            "area_km2": round(self.area_km2, 4),
            "photos_per_km2": round(photos / self.area_km2, 1),
            "places": self.places,
            "database_photos_per_place": round(len(self.database) / self.places, 2),
            "radius_m": self.radius_m,
            "queries_without_positive": self.without_positive,
            "nearest_database_photo_m": percentiles(self.nearest_m),
            "positives_of_a_query": percentiles(self.positives),
            "years": {year: list(counts) for year, counts in self.years.items()},
            "query_notes": self.notes,
            "with_heading": self.headings,
            "sizes_px": self.sizes_px,
            "sizes_of": self.looked_at,
            "unreadable": self.unreadable,
        }


@dataclass(frozen=True)
class SetMeasures:
    """Figures of a set.

    Attributes:
        directory: Of the set.
        splits: Those that there are.
        apart_m: "train-test" -> metres between the nearest photos of the two.
    """

    directory: Path
    splits: dict[str, SplitMeasures]
    apart_m: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        splits = {name: split.plain() for name, split in self.splits.items()}
        return {"directory": str(self.directory), "splits": splits, "apart_m": self.apart_m}


def measure_places(
    directory: Path, sizes_of: int = 1000, seed: int = 0, on_photo: Callable[[], object] = print
) -> SetMeasures:
    """Measure all splits of a set.

    Args:
        directory: The set.
        sizes_of: Photos of each split to read the size of, drawn at random; the rest is read
            from names.
        seed: Of that draw.
        on_photo: Called for each of them.

    Raises:
        ValueError: there is no split, or one lacks a folder or any photo of known position.
    """
    names = [split for split in SPLITS if is_split(directory, split)]
    if not names:
        split_folders(directory, "test")  # says what is missing
    splits = {name: _measure(directory, name, sizes_of, seed, on_photo) for name in names}
    apart_m = {}
    for first, second in combinations(names, 2):
        points = [_points(splits[name].database, splits[name].queries) for name in (first, second)]
        nearest = float(cKDTree(points[0]).query(points[1])[0].min())
        apart_m[f"{first}-{second}"] = round(nearest, 2)
    return SetMeasures(directory, splits, apart_m)


def _measure(
    directory: Path, name: str, sizes_of: int, seed: int, on_photo: Callable[[], object]
) -> SplitMeasures:
    root, *folders = split_folders(directory, name)
    database, queries = (read_photos(folder) for folder in folders)
    for part, photos in (("database", database), ("queries", queries)):
        if not len(photos):
            why = next(iter(photos.refused.values()), "the folder is empty")
            raise ValueError(f"{root}: no photo of known position in the {part}: {why}")
    radius_m = TRAIN_POSITIVE_M if name == "train" else POSITIVE_M
    tree, asked = cKDTree(_points(database)), _points(queries)
    nearest_m, _ = tree.query(asked)
    paths = (*database.paths, *queries.paths)
    known = [PlaceName.parse(path.name) for path in paths]
    sizes, unreadable, looked_at = _sizes(paths, sizes_of, seed, on_photo)
    both = _points(database, queries)
    return SplitMeasures(
        database, queries, radius_m, np.asarray(nearest_m),
        np.asarray(tree.query_ball_point(asked, radius_m, return_length=True)),
        _squares(both, AREA_M) * AREA_M**2 / 1e6, _squares(_points(database), PLACE_M),
        _years(known, len(database)), _counted(name.note for name in known[len(database) :]),
        sum(name.heading is not None for name in known), sizes, looked_at, unreadable,
    )  # fmt: skip


def _points(*photos: Photos) -> NDArray[np.float64]:
    """Metres, with zones as a third coordinate, far from each other."""
    parts = [np.column_stack([part.utm_m, part.zones * 1e9]) for part in photos]
    return np.concatenate(parts)


def _squares(points: NDArray[np.float64], width_m: float) -> int:
    """How many squares of a grid hold a point."""
    return len(np.unique(np.floor(points / width_m), axis=0))


def _years(names: Sequence[PlaceName], database: int) -> dict[str, tuple[int, int]]:
    years = [name.timestamp[:4] if name.timestamp[:4].isdigit() else UNKNOWN for name in names]
    counts = Counter(years[:database]), Counter(years[database:])
    return {year: (counts[0][year], counts[1][year]) for year in sorted(set(years))}


def _counted(notes: Any) -> dict[str, int]:
    counts = Counter(note.split("_")[0] or "no note" for note in notes)
    return dict(counts.most_common())


def _sizes(
    paths: Sequence[Path], sizes_of: int, seed: int, on_photo: Callable[[], object]
) -> tuple[dict[str, int], dict[str, str], int]:
    rows = np.random.default_rng(seed).permutation(len(paths))[:sizes_of]
    counts: Counter[str] = Counter()
    unreadable: dict[str, str] = {}
    for row in sorted(rows.tolist()):
        try:
            height, width = image_size(read_bytes(paths[row]), paths[row].name)
            counts[f"{width} x {height}"] += 1
        except ImageError as error:
            unreadable[paths[row].name] = str(error).removeprefix(f"{paths[row].name}: ")
        on_photo()
    return dict(counts.most_common()), unreadable, len(rows)


def percentiles(values: NDArray[Any]) -> dict[str, float | None]:
    """The 0, 5, 50, 95 and 100th percentile by name; None where it is infinite."""
    found = np.percentile(values, PERCENTILES, method="nearest")
    return {
        f"p{p}": round(float(value), 2) if np.isfinite(value) else None
        for p, value in zip(PERCENTILES, found, strict=True)
    }
