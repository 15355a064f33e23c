"""A gallery: descriptors of photos whose positions are known, in the order of S2 leaf ids.

In that order the photos of an S2 cell, of whatever level, are one slice of rows: a gate of a few
cells is a few slices, found by binary search. A gallery on disk is a directory:

    descriptors.f16   unit descriptors, little-endian float16 (count, dim), memory-mapped
    leaf_ids.u64      S2 leaf id of every row, ascending, little-endian uint64
    positions.f64     all latitudes, then all longitudes, little-endian float64 degrees
    photos.sqlite     key, path, author, licence ... by row (photo_table.py)
    gallery.json      format, model_sha256, descriptor_model, dim, count, licences, pca
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partitioning import s2
from retrieval.area import Area, check_area, in_area
from retrieval.galleries.header import (
    BUNDLE,
    check_maker,
    check_sha256,
    read_header,
    rebuild_command,
    write_header,
)
from retrieval.galleries.photo_table import open_photos, read_photos, write_photos
from retrieval.galleries.replace import replaced_directory, restore

FILES = (
    "descriptors.f16", "leaf_ids.u64", "positions.f64", "photos.sqlite", "gallery.json",
    "wrong_standouts_*m.json", "*.tmp",
)  # fmt: skip
BLOCK_ROWS = 16384
BLOCK_VALUES = 1 << 24  # of descriptors brought to unit length at a time; NetVLAD's are long


@dataclass(frozen=True, eq=False)
class Gallery:
    """Descriptors, positions and photo table of a gallery; made by `create`, `open`, `in_memory`.

    Attributes:
        descriptors: float16 (N, dim), rows of unit length to float16's precision.
        leaf_ids: uint64 (N,), ascending.
        lat: degrees, float64 (N,).
        lon: degrees, float64 (N,).
        model_sha256: of the model that made the descriptors.
        licences: number of photos by licence; "unknown" where none was given.
        table: the photo table.
        accuracy_m: how accurate the positions are said to be.
        directory: where it lies, None for one in memory.
        descriptor_model: which kind of model that was: "bundle", or "place" for a place model.
    """

    descriptors: NDArray[np.float16]
    leaf_ids: NDArray[np.uint64]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    model_sha256: str
    licences: dict[str, int]
    table: sqlite3.Connection
    accuracy_m: float = 25.0
    directory: Path | None = None
    descriptor_model: str = BUNDLE

    @classmethod
    def create(
        cls,
        directory: Path | str,
        descriptors: ArrayLike,
        lat: ArrayLike,
        lon: ArrayLike,
        photos: Sequence[Mapping[str, Any]],
        model_sha256: str,
        overwrite: bool = False,
        accuracy_m: float = 25.0,
        descriptor_model: str = BUNDLE,
    ) -> "Gallery":
        """Write a gallery directory, whole or not at all, and open it.

        Args:
            directory: to be made. An existing gallery is replaced only with `overwrite`, and
                anything that is not a gallery never.
            descriptors: any float (N, dim), not necessarily of unit length, in any order.
            lat: degrees (N,).
            lon: degrees (N,).
            photos: N mappings with a unique `key` (photo_table.write_photos).
            model_sha256: of the model that made the descriptors.
            overwrite: replace a gallery that is there.
            accuracy_m: how accurate the positions are said to be; the radius of street answers.
            descriptor_model: "bundle" or "place": which kind of model made the descriptors.

        Raises:
            ValueError: nothing to store, sizes that differ, bad positions, descriptors that are
                NaN, infinite or zero, photos without keys, or a directory not to be replaced.
        """
        directory = Path(directory)
        check_target(directory, overwrite)
        rows, positions, leaf_ids, order = _sorted(descriptors, lat, lon, photos, model_sha256)
        with replaced_directory(directory) as new:
            with (new / "descriptors.f16").open("wb") as file:
                for block in _unit_blocks(rows, order, photos):
                    file.write(block.data)
            leaf_ids.astype("<u8").tofile(new / "leaf_ids.u64")
            positions[:, order].astype("<f8").tofile(new / "positions.f64")
            write_photos(new / "photos.sqlite", photos, positions, order).close()
            licences = _count_licences(photos)
            write_header(
                new, model_sha256, len(rows), rows.shape[1], licences, accuracy_m, descriptor_model
            )
        return cls.open(directory, model_sha256, descriptor_model)

    @classmethod
    def in_memory(
        cls,
        descriptors: ArrayLike,
        lat: ArrayLike,
        lon: ArrayLike,
        photos: Sequence[Mapping[str, Any]],
        model_sha256: str,
        accuracy_m: float = 25.0,
    ) -> "Gallery":
        """The gallery that `create` would write of a bundle; same arguments and errors."""
        rows, positions, leaf_ids, order = _sorted(descriptors, lat, lon, photos, model_sha256)
        unit = np.concatenate(list(_unit_blocks(rows, order, photos)))
        table = write_photos(":memory:", photos, positions, order)
        placed = positions[:, order]
        licences = _count_licences(photos)
        return cls(unit, leaf_ids, placed[0], placed[1], model_sha256, licences, table, accuracy_m)

    @classmethod
    def open(
        cls,
        directory: Path | str,
        model_sha256: str | None = None,
        descriptor_model: str = BUNDLE,
    ) -> "Gallery":
        """Open a gallery directory; descriptors are mapped, not read.

        Args:
            directory: made by `create`.
            model_sha256: of the model that will make the queries; None to look without searching.
            descriptor_model: its kind, "bundle" or "place".

        Raises:
            ValueError: no gallery there, one of another model, or files that do not fit together.
        """
        directory = Path(directory)
        header = read_header(directory)
        made_by, count, dim = header["model_sha256"], header["count"], header["dim"]
        if model_sha256 is not None:
            check_maker(header, directory, model_sha256, descriptor_model)
        kind = header["descriptor_model"]
        rebuild = rebuild_command(directory, kind)
        descriptors = _mapped(directory / "descriptors.f16", "<f2", (count, dim), rebuild)
        leaf_ids = _mapped(directory / "leaf_ids.u64", "<u8", (count,), rebuild)
        if np.any(leaf_ids[1:] < leaf_ids[:-1]):
            raise ValueError(f"{directory / 'leaf_ids.u64'} is not in S2 order: it is damaged")
        lat, lon = _mapped(directory / "positions.f64", "<f8", (2, count), rebuild)
        table = open_photos(directory / "photos.sqlite", count)
        facts = header["licences"], table, float(header["accuracy_m"]), directory, kind
        return cls(descriptors, leaf_ids, lat, lon, made_by, *facts)

    def __len__(self) -> int:
        return len(self.leaf_ids)

    @property
    def dim(self) -> int:
        """Length of a descriptor."""
        return self.descriptors.shape[1]

    def slices(self, cell_ids: ArrayLike) -> NDArray[np.int64]:
        """Rows [first, last) of every S2 cell, of whatever level: (K, 2) for ids uint64 (K,).

        Raises:
            ValueError: an id that is no S2 cell.
        """
        ids = np.asarray(cell_ids, dtype=np.uint64).ravel()
        s2.check_ids(ids)
        first = np.searchsorted(self.leaf_ids, s2.range_min(ids), side="left")
        last = np.searchsorted(self.leaf_ids, s2.range_max(ids), side="right")
        return np.stack([first, last], axis=1).astype(np.int64)

    def rows_in_area(
        self, area: Area, first: int = 0, last: int | None = None
    ) -> NDArray[np.int64]:
        """Rows of [first, last) whose position lies in (west, south, east, north), ascending.

        Raises:
            ValueError: the rectangle is not one (area.check_area).
        """
        check_area(area)
        last = len(self) if last is None else last
        found = [
            start + np.flatnonzero(in_area(self.lat[start:stop], self.lon[start:stop], area))
            for start in range(first, last, BLOCK_ROWS)
            for stop in [min(start + BLOCK_ROWS, last)]
        ]
        return np.concatenate([np.empty(0, np.int64), *found])

    def photos(self, rows: Iterable[int]) -> list[dict[str, Any]]:
        """What the photo table knows of these rows, in their order; positions are the gallery's.

        Raises:
            ValueError: a row that is not there, or a damaged table.
        """
        return [
            photo | {"lat": float(self.lat[photo["row"]]), "lon": float(self.lon[photo["row"]])}
            for photo in read_photos(self.table, rows)
        ]


def check_target(directory: Path, overwrite: bool) -> None:
    """Raise a ValueError unless a gallery may be written at `directory`."""
    restore(directory)
    if directory.exists() and not (directory / "gallery.json").is_file():
        raise ValueError(f"{directory} exists and is not a gallery: choose another path")
    if directory.exists() and not overwrite:
        raise ValueError(f"{directory} is a gallery already: pass overwrite to replace it")
    names = [path.name for path in directory.iterdir()] if directory.exists() else []
    if others := sorted(name for name in names if not any(fnmatch(name, own) for own in FILES)):
        raise ValueError(
            f"{directory} also holds {', '.join(others[:3])}, which replacing the gallery would "
            "remove: move it away"
        )


def _sorted(
    descriptors: ArrayLike,
    lat: ArrayLike,
    lon: ArrayLike,
    photos: Sequence[Mapping[str, Any]],
    model_sha256: str,
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.uint64], NDArray[np.int64]]:
    """Checked descriptors and positions (2, N) as given, sorted leaf ids, and the sorting order."""
    rows = np.asarray(descriptors)
    if rows.ndim != 2 or 0 in rows.shape or rows.dtype.kind != "f":
        raise ValueError(
            f"a gallery needs float descriptors (N, dim) of at least one photo, not "
            f"{rows.dtype} {rows.shape}"
        )
    latitudes, longitudes = np.asarray(lat, np.float64), np.asarray(lon, np.float64)
    if not len(rows) == len(latitudes) == len(longitudes) == len(photos):
        raise ValueError(
            f"{len(rows)} descriptors, {len(latitudes)} latitudes, {len(longitudes)} longitudes "
            f"and {len(photos)} photos do not belong together"
        )
    check_sha256(model_sha256, "the model's hash")
    leaf_ids = s2.cell_ids(latitudes, longitudes)
    order = np.argsort(leaf_ids, kind="stable")
    return rows, np.stack([latitudes, longitudes]), leaf_ids[order], order


def _unit_blocks(
    descriptors: NDArray[Any], order: NDArray[np.int64], photos: Sequence[Mapping[str, Any]]
) -> Iterator[NDArray[np.float16]]:
    """The descriptors in that order at unit length, in blocks; refuses what has no direction."""
    block = max(1, min(BLOCK_ROWS, BLOCK_VALUES // descriptors.shape[1]))
    for start in range(0, len(order), block):
        sources = order[start : start + block]
        rows = descriptors[sources].astype(np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        bad = sources[~(np.isfinite(norms) & (norms > 0)).ravel()]
        if len(bad):
            keys = [photos[source].get("key") for source in bad[:3]]
            raise ValueError(f"descriptors that are NaN, infinite or zero, such as those of {keys}")
        yield (rows / norms).astype("<f2")


def _count_licences(photos: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return dict(Counter(str(photo.get("licence") or "unknown") for photo in photos).most_common())


def _mapped(path: Path, dtype: str, shape: tuple[int, ...], rebuild: str) -> NDArray[Any]:
    """A file of exactly this shape as a read-only memory map."""
    expected = prod(shape) * np.dtype(dtype).itemsize
    size = path.stat().st_size if path.is_file() else -1
    if size != expected:
        found = "is missing" if size < 0 else f"has {size} bytes, not {expected}"
        raise ValueError(f"{path} {found}; rebuild it: {rebuild}")
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=shape))
