"""All photos of a set of places, split by split, with what is known of each.

Positions and panoramas are read from the names (data/place_sets/names.py), authors and sequences
from a table, which names photos by their file name, with or without the extension. Metres of one
UTM zone are compared as they are; photos of two zones, or of both sides of the equator, which may
stand metres apart at the border, on the sphere.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import utm
from numpy.typing import NDArray

from data.place_sets.names import PlaceName
from data.places import SPLITS, read_photos
from partitioning.csv_columns import read_columns
from partitioning.geodesy import haversine_km

NAMES = ("path", "file", "file_name", "filename", "image_id", "img_id", "id", "name")
GROUPS = {
    "author": ("author", "author_id", "creator", "creator_username", "creator_id"),
    "sequence": ("sequence", "sequence_id", "sequence_key"),
}
ZONES, SOUTHERN_BANDS = 60, "CDEFGHJKLM"
Texts = NDArray[np.object_]


@dataclass(frozen=True)
class SplitPhotos:
    """N photos of two or three splits.

    Attributes:
        paths: Of the files.
        splits: Name of each one's split `(N,)`.
        utm_m: `(N, 2)` float64, metres east and north.
        zones: UTM zones `(N,)`, 0 where unknown; negative in the southern half, whose metres north
            count from elsewhere.
        groups: panorama, author, sequence -> name of each photo's `(N,)`, "" where unknown.
        refused: Photos whose name holds no position; they are left out.
        latlon: `(N, 2)` float64, degrees, NaN where the zone is unknown; None where all are.
    """

    paths: list[Path]
    splits: Texts
    utm_m: NDArray[np.float64]
    zones: NDArray[np.int64]
    groups: dict[str, Texts]
    refused: int = 0
    latlon: NDArray[np.float64] | None = None

    def rows_of(self, split: str) -> NDArray[np.int64]:
        """Rows of one split."""
        return np.flatnonzero(self.splits == split)

    @property
    def names(self) -> list[str]:
        """The splits there are, in the order of training."""
        return [name for name in SPLITS if (self.splits == name).any()]

    def apart_m(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
        """Distance of photos `a` from photos `b`, m; inf where one of two zones is unknown."""
        apart = np.hypot(*np.moveaxis(self.utm_m[a] - self.utm_m[b], -1, 0))
        is_other = self.zones[a] != self.zones[b]
        if self.latlon is None or not is_other.any():
            return np.where(is_other, np.inf, apart)
        lat, lon = self.latlon.T
        across = 1000 * haversine_km(lat[a], lon[a], lat[b], lon[b])
        return np.where(is_other, np.where(np.isnan(across), np.inf, across), apart)


def read_splits(directory: Path, table: Path | None = None) -> SplitPhotos:
    """Read the photos of all splits of DIR/images/{train,val,test} or DIR/{train,val,test}.

    Args:
        directory: Set of places.
        table: CSV of names with authors or sequences.

    Raises:
        ValueError: there are not two splits with photos, or the table cannot be read or is of
            other photos.
    """
    root = directory / "images" if (directory / "images").is_dir() else directory
    parts = [(name, read_photos(root / name)) for name in SPLITS if (root / name).is_dir()]
    if sum(len(photos) > 0 for _, photos in parts) < 2:
        found = ", ".join(f"{name} {len(photos)}" for name, photos in parts) or "none"
        raise ValueError(
            f"{directory}: an audit needs photos in two of {', '.join(SPLITS)}; found: {found}"
        )
    paths = [path for _, photos in parts for path in photos.paths]
    names = [PlaceName.parse(path.name) for path in paths]
    groups = {"panorama": _texts([name.pano_id for name in names])}
    if table is not None:
        groups |= _of_table(table, paths)
    utm_m = np.concatenate([photos.utm_m for _, photos in parts])
    zones = np.array([_signed_zone(name) for name in names], np.int64)
    return SplitPhotos(
        paths,
        _texts([name for name, photos in parts for _ in photos.paths]),
        utm_m,
        zones,
        groups,
        sum(len(photos.refused) for _, photos in parts),
        positions_of(utm_m, zones),
    )


def positions_of(utm_m: NDArray[np.float64], zones: NDArray[np.int64]) -> NDArray[np.float64]:
    """Degrees `(N, 2)` of metres `(N, 2)` in signed zones `(N,)`; NaN where there is none."""
    latlon = np.full((len(zones), 2), np.nan)
    for zone in np.unique(zones).tolist():
        if 1 <= abs(zone) <= ZONES:
            rows = zones == zone
            east, north = utm_m[rows].T
            # Not strict: a town at an edge may be written in a zone that it leaves.
            latlon[rows] = np.column_stack(
                utm.to_latlon(east, north, abs(zone), northern=zone > 0, strict=False)
            )
    return latlon


def _signed_zone(name: PlaceName) -> int:
    """A name's zone, negative where its metres north are those of the southern half."""
    letter, lat = name.utm_letter.upper(), name.lat or 0.0
    is_southern = letter in SOUTHERN_BANDS if letter else lat < 0
    return -(name.utm_zone or 0) if is_southern else name.utm_zone or 0


def _of_table(table: Path, paths: list[Path]) -> dict[str, Texts]:
    rows = read_columns(table)[0].to_pandas().fillna("")
    rows.columns = [str(name).strip().lower() for name in rows.columns]
    row_of: dict[str, int] = {}
    for column in (name for name in NAMES if name in rows):
        for row, text in enumerate(rows[column].tolist()):
            for name in (Path(str(text)).name, Path(str(text)).stem):
                row_of.setdefault(name, row)
    # A place's name has dots in its numbers: only what ends it like a photo's is an extension.
    found = [row_of.get(path.name, row_of.get(path.stem, -1)) for path in paths]
    columns = {
        group: next((rows[name] for name in names if name in rows), None)
        for group, names in GROUPS.items()
    }
    if max(found, default=-1) < 0 or all(column is None for column in columns.values()):
        raise ValueError(
            f"{table}: no row names a photo of the set, or there is no column for author or "
            f"sequence; found {', '.join(rows.columns)}; names are looked for in {', '.join(NAMES)}"
        )
    return {
        group: _texts([str(column.iloc[row]).strip() if row >= 0 else "" for row in found])
        for group, column in columns.items()
        if isinstance(column, pd.Series)
    }


def _texts(values: list[str]) -> Texts:
    return np.array(values, dtype=object)
