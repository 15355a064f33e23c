"""Sets of places for visual place recognition: a database of photos and queries, with positions.

    DIR/images/{train,val,test}/{database,queries}/@UTM_east@UTM_north@...@.jpg

`gallery` is a synonym of `database`, and `images/` may be left out. A query's positives are the
database photos within a radius: 25 m when testing, 10 m when training, where queries without one
are left out and counted. Layout and radii: Berton et al., "Deep Visual Geo-localization Benchmark",
2022, https://arxiv.org/abs/2204.03444. Benchmarks by name: data/place_sets/protocols.py. What a set
holds, on a page with a map:

    python -m data.places report DIR [--output FOLDER]
"""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.place_sets.names import PlaceName
from data.place_sets.near_positions import Neighbours, within

SPLITS = ("train", "val", "test")
DATABASE, QUERIES = ("database", "gallery"), ("queries", "query")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")
POSITIVE_M, TRAIN_POSITIVE_M = 25.0, 10.0
MOST_NAMED = 3


@dataclass(frozen=True)
class Photos:
    """Photos with positions.

    Attributes:
        paths: Of the files, sorted by name.
        utm_m: `(N, 2)` float64, metres east and north.
        zones: UTM zones `(N,)`, 0 where the name has none.
        refused: File name -> why its position cannot be used.
    """

    paths: list[Path]
    utm_m: NDArray[np.float64]
    zones: NDArray[np.int64]
    refused: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: NDArray[np.int64]) -> "Photos":
        """Some of them."""
        return Photos([self.paths[i] for i in rows], self.utm_m[rows], self.zones[rows])


@dataclass(frozen=True)
class Places:
    """A database, queries, and which of the database show a query's place.

    Attributes:
        database: The photos to search.
        queries: The photos to place.
        positives: Rows of the database within the radius of each query.
        radius_m: That radius.
        dropped: Queries left out because no photo of the database shows their place.
        unit: Of positions and radius; "frames" where photos are numbered and have no metres.
        protocol: Of which benchmark this is a split, "" of none.
    """

    database: Photos
    queries: Photos
    positives: Neighbours
    radius_m: float
    dropped: int = 0
    unit: str = "m"
    protocol: str = ""

    @classmethod
    def of(
        cls,
        database: Photos,
        queries: Photos,
        radius_m: float = POSITIVE_M,
        drop_without_positive: bool = False,
        unit: str = "m",
    ) -> "Places":
        """Find the positives.

        Raises:
            ValueError: no photo in one of the two, several UTM zones, or no query has a positive.
        """
        for name, photos in (("database", database), ("queries", queries)):
            if not len(photos):
                raise ValueError(f"the {name} has no photo{_why(photos)}")
        _check_zones(database, queries)
        positives, dropped = within(queries.utm_m, database.utm_m, radius_m), 0
        if not positives.counts.any():
            raise ValueError(
                f"no query has a photo of the database within {radius_m:g} {unit}; check that both "
                f"hold {'UTM metres of the same town' if unit == 'm' else 'one ride'}, or give a "
                "larger radius"
            )
        if drop_without_positive and (positives.counts == 0).any():
            kept = np.flatnonzero(positives.counts)
            dropped = len(queries) - len(kept)
            queries = queries.take(kept)
            positives = within(queries.utm_m, database.utm_m, radius_m)
        return cls(database, queries, positives, radius_m, dropped, unit)

    def __str__(self) -> str:
        without = int((self.positives.counts == 0).sum())
        facts = [self.protocol] if self.protocol else []
        facts += [f"{len(self.queries):,} queries", f"{len(self.database):,} database photos"]
        if self.dropped:
            reach = f"{self.radius_m:g} {self.unit}"
            facts.append(f"{self.dropped:,} queries dropped: none within {reach}")
        if without:
            facts.append(f"{without:,} queries without a positive")
        return ", ".join(facts)


def read_photos(directory: Path) -> Photos:
    """Read the positions in the names of all images under a folder; the others are `refused`.

    Raises:
        ValueError: there is no such folder.
    """
    if not directory.is_dir():
        raise ValueError(f"no folder {directory}")
    paths, places, refused = [], [], {}
    for path in image_files(directory):
        try:
            places.append(PlaceName.parse(path.name))
            paths.append(path)
        except ValueError as error:
            refused[path.name] = str(error).removeprefix(f"{path.name}: ")
    utm_m = np.array([(p.utm_east, p.utm_north) for p in places], np.float64).reshape(-1, 2)
    zones = np.array([place.utm_zone or 0 for place in places], np.int64)
    return Photos(paths, utm_m, zones, refused)


def read_places(
    directory: str | Path,
    split: str = "test",
    radius_m: float | None = None,
    drop_without_positive: bool | None = None,
) -> Places:
    """Read one split of a set of places.

    Args:
        directory: The set.
        split: train, val or test.
        radius_m: How near a positive is; None takes 10 m for training and 25 m otherwise.
        drop_without_positive: Leave out queries without a positive; None does so for training.

    Raises:
        ValueError: a folder is missing or empty, or as `Places.of`.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    is_train = split == "train"
    root, *folders = split_folders(directory, split)
    database, queries = (read_photos(folder) for folder in folders)
    if radius_m is None:
        radius_m = TRAIN_POSITIVE_M if is_train else POSITIVE_M
    drop = is_train if drop_without_positive is None else drop_without_positive
    try:
        return Places.of(database, queries, radius_m, drop)
    except ValueError as error:
        raise ValueError(f"{root}: {error}") from None


def find_photos(directory: str | Path, split: str = "test") -> tuple[list[Path], list[Path]]:
    """Files of database and queries of one split, whatever their names say.

    Raises:
        ValueError: a folder is missing or holds no image.
    """
    root, *folders = split_folders(directory, split)
    found = [image_files(folder) for folder in folders]
    if not all(found):
        raise ValueError(f"{root}: {len(found[0])} photos of the database, {len(found[1])} queries")
    return found[0], found[1]


def split_folders(
    directory: str | Path,
    split: str,
    database: tuple[str, ...] = DATABASE,
    queries: tuple[str, ...] = QUERIES,
) -> tuple[Path, Path, Path]:
    """Folder of a split, and in it those of database and queries, which may have several names.

    Raises:
        ValueError: one of them is missing, or there under two names.
    """
    root = _split_folder(Path(directory), split)
    return root, _first(root, database), _first(root, queries)


def is_split(directory: str | Path, split: str) -> bool:
    """Whether a set has a split."""
    return any((Path(directory) / part / split).is_dir() for part in ("images", ""))


def image_files(directory: Path) -> list[Path]:
    """All images under a folder, sorted."""
    return [path for path in sorted(directory.rglob("*")) if path.suffix.lower() in EXTENSIONS]


def _split_folder(directory: Path, split: str) -> Path:
    folders = (directory / "images" / split, directory / split)
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise ValueError(
            f"no folder {folders[0]}; a set of places is DIR/images/{{{','.join(SPLITS)}}}/"
            "{database,queries}; `python -m setup.make_toy_city` makes a synthetic one"
        )
    return found


def _first(root: Path, names: tuple[str, ...]) -> Path:
    found = [root / name for name in names if (root / name).is_dir()]
    if len(found) != 1:
        raise ValueError(
            f"{root} must hold one of {' and '.join(names)}; it holds "
            f"{' and '.join(path.name for path in found) or 'neither'}"
        )
    return found[0]


def _check_zones(database: Photos, queries: Photos) -> None:
    zones = Counter(np.concatenate([database.zones, queries.zones]).tolist())
    zones.pop(0, None)
    if len(zones) > 1:
        listed = ", ".join(f"{zone} ({count:,} photos)" for zone, count in sorted(zones.items()))
        raise ValueError(
            f"UTM zones {listed}: metres of different zones cannot be compared; split the set by "
            "zone, or write all positions in one zone"
        )


def _why(photos: Photos) -> str:
    if not photos.refused:
        return ""
    shown = "; ".join(f"{k}: {v}" for k, v in list(photos.refused.items())[:MOST_NAMED])
    return f" of known position; {len(photos.refused):,} were refused: {shown}"


def main(arguments: list[str] | None = None) -> int:
    """Report on a set from the command line; returns the exit status."""
    from data.place_sets.report import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
