"""Random access to the samples of a folder of shards, by row number, through memory maps.

Eight to twelve times as fast as walking the tars with a stream reader, which is what lets an epoch
be shuffled in full and resumed at any sample. The tables read here: data/index_tables.py.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from data.index_tables import (
    INDEX,
    INDEX_SCHEMA,
    MANIFEST,
    MANIFEST_SCHEMA,
    MEMBERS,
    read_table,
)
from data.sample import Sample, parse_metadata

MAX_OPEN_SHARDS = 256  # a map holds a file descriptor, and a process may have 1,024


class Index:
    """The samples of a folder of shards, read by row number.

    It pickles as its folder's name, so a spawned worker process opens its own memory maps.

    Attributes:
        directory: The folder.
        lat: Degrees, float64 `(N,)`.
        lon: Degrees, float64 `(N,)`.
        scene: 0 indoor, 1 natural, 2 urban, -1 unknown; int8 `(N,)`.
        has_seg: Whether there is a segmentation map; bool `(N,)`.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.manifest = read_table(self.directory / MANIFEST, MANIFEST_SCHEMA)
        table = read_table(self.directory / INDEX, INDEX_SCHEMA)
        self._check_shards()
        self.lat, self.lon, self.scene = (
            table[name].to_numpy() for name in ("lat", "lon", "scene")
        )
        self._keys = table["key"].combine_chunks()
        shards = table["shard"].combine_chunks().dictionary_encode()
        self._shard_of = shards.indices.to_numpy()
        self._names: list[str] = shards.dictionary.to_pylist()
        self._offsets, self._lengths = (
            np.stack([table[f"{member}_{part}"].to_numpy() for member in MEMBERS], axis=1)
            for part in ("offset", "length")
        )
        self.has_seg = self._lengths[:, MEMBERS.index("seg")] >= 0
        self._maps: dict[int, mmap.mmap] = {}

    @classmethod
    def open(cls, directory: str | Path) -> "Index":
        """Open a folder of shards.

        Raises:
            ValueError: a table is missing or damaged, or a shard is missing or has another size
                than the manifest says.
        """
        return cls(directory)

    def __len__(self) -> int:
        return len(self._keys)

    def __reduce__(self) -> tuple[Any, ...]:
        return Index, (self.directory,)

    def key(self, row: int) -> str:
        """The key of a row."""
        return self._keys[row].as_py()

    def keys(self) -> list[str]:
        """All keys, in row order."""
        return self._keys.to_pylist()

    def read(self, row: int) -> Sample:
        """Read one sample, its photo undecoded.

        Raises:
            IndexError: no such row.
            ValueError: its metadata is damaged.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"{self.directory} has {len(self)} samples, there is no row {row}")
        jpg, metadata, seg = self._members(row)
        key = self.key(row)
        try:
            return Sample(key, jpg, seg, parse_metadata(metadata or b""))
        except ValueError as error:
            raise ValueError(f"{key} in {self.shard(row)}: {error}; run verify") from error

    def read_images(self, row: int) -> tuple[bytes, bytes | None]:
        """The photo's and the map's file of a row: `read` without the metadata's parsing."""
        jpg, _, seg = self._members(row)
        return jpg, seg

    def shard(self, row: int) -> Path:
        """The shard that a row lies in."""
        return self.directory / self._names[self._shard_of[row]]

    def _members(self, row: int) -> tuple[bytes, bytes | None, bytes | None]:
        shard = int(self._shard_of[row])
        tar = self._maps.get(shard)
        if tar is None:
            tar = self._map(shard)
        jpg, metadata, seg = (
            tar[offset : offset + length] if length >= 0 else None
            for offset, length in zip(
                self._offsets[row].tolist(), self._lengths[row].tolist(), strict=True
            )
        )
        return jpg or b"", metadata, seg

    def _map(self, shard: int) -> mmap.mmap:
        while len(self._maps) >= MAX_OPEN_SHARDS:
            self._maps.pop(next(iter(self._maps))).close()
        with (self.directory / self._names[shard]).open("rb") as file:
            self._maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[shard]

    def _check_shards(self) -> None:
        for row in self.manifest.to_pylist():
            path = self.directory / row["shard"]
            size = path.stat().st_size if path.is_file() else -1
            if size != row["bytes"]:
                what = "is missing" if size < 0 else f"has {size:,} bytes, not {row['bytes']:,}"
                raise ValueError(
                    f"shard {path} {what}: find what is lost with "
                    f"`python -m data.shards verify {self.directory}`, then fetch or build it "
                    f"again, or go on without it by `python -m data.shards index {self.directory}`"
                )
