"""Random access to the samples of a folder of shards, by row number, through memory maps.

Eight to twelve times as fast as walking the tars with a stream reader, which is what lets an epoch
be shuffled in full and resumed at any sample. The folder may lie elsewhere:
data/sharding/remote.py. The tables read here: data/sharding/index_tables.py.
"""

import mmap
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.sample import Sample, parse_metadata
from data.sharding.files import LocalShards, ShardFiles
from data.sharding.index_columns import IndexColumns
from data.sharding.index_tables import (
    INDEX,
    MANIFEST,
    MANIFEST_SCHEMA,
    MEMBERS,
    checksum,
    read_table,
)
from data.sharding.tar_members import Buffer

MAX_OPEN_SHARDS = 256  # a map holds a file descriptor, and a process may have 1,024


class Index:
    """The samples of a folder of shards, read by row number.

    It pickles as its folder's name, so a spawned worker process opens its own memory maps; a
    forked one shares the arrays.

    Attributes:
        directory: Folder of the tables on this machine; of the shards too where they are local.
        lat: Degrees, float64 `(N,)`.
        lon: Degrees, float64 `(N,)`.
        scene: 0 indoor, 1 natural, 2 urban, -1 unknown; int8 `(N,)`.
        has_seg: Whether there is a segmentation map; bool `(N,)`.
        shards: Names of the shards.
        shard_of: Number of each sample's shard; int32 `(N,)`.
        shard_bytes: Size of each shard; int64.
    """

    def __init__(self, files: ShardFiles) -> None:
        self.files, self.directory = files, files.tables
        self.manifest = read_table(self.directory / MANIFEST, MANIFEST_SCHEMA)
        files.check(self.manifest.to_pylist())
        self._columns = IndexColumns(self.directory / INDEX)
        self.lat, self.lon, self.scene = (
            self._columns.numbers(name) for name in ("lat", "lon", "scene")
        )
        self.shard_of, self.shards = self._columns.codes("shard")
        self.shard_bytes = self._bytes_of_shards()
        self._offsets, self._lengths = self._columns.spans(self.shard_of, self.shard_bytes)
        self.has_seg = self._lengths[:, MEMBERS.index("seg")] >= 0
        self._maps: dict[int, mmap.mmap] = {}

    @classmethod
    def open(
        cls,
        location: str | Path,
        *,
        cache: str | Path | None = None,
        cache_bytes: int | None = None,
        fetch: str = "shards",
        options: Mapping[str, Any] | None = None,
    ) -> "Index":
        """Open a folder of shards, here or elsewhere.

        Args:
            location: The folder, or its URL (http://, s3:// ...; see data/sharding/remote.py).
            cache: Local folder for what is fetched (default: ~/.cache/groundfix).
            cache_bytes: What the shards in it may take together (default: 50 GiB).
            fetch: "shards" to fetch whole ones, "samples" to fetch only what is read.
            options: For fsspec's file system, such as credentials.

        Raises:
            ValueError: a table is missing or damaged, or a shard is missing or has another size
                than the manifest says.
            data.sharding.remote_folder.RemoteError: a table cannot be fetched.
        """
        text = str(location)
        if text.startswith("file://"):
            return cls(LocalShards(url2pathname(urlsplit(text).path)))
        if "://" not in text:
            return cls(LocalShards(location))
        from data.sharding.remote import RemoteShards

        return cls(RemoteShards(text, cache, cache_bytes, fetch, options))

    def __len__(self) -> int:
        return len(self._columns)

    def __reduce__(self) -> tuple[Any, ...]:
        return Index, (self.files,)

    @property
    def fetches_shards(self) -> bool:
        """Whether whole shards are fetched before a sample of theirs is read."""
        return self.files.cache_bytes > 0 and not self.files.by_range

    @property
    def cache_bytes(self) -> int:
        """What fetched shards may take together; 0 where they lie here."""
        return self.files.cache_bytes

    def fetch(self, shard: int) -> None:
        """Bring a shard into the cache, or count it as used where it is there."""
        self.files.open(self.shards[shard]).close()

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
            data.sharding.remote_folder.RemoteError: it cannot be fetched.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"{self.files} has {len(self)} samples, there is no row {row}")
        jpg, metadata, seg = self._members(row, MEMBERS)
        return Sample(self.key(row), jpg or b"", seg, self._parsed(row, metadata))

    def read_metadata(self, row: int) -> dict[str, Any]:
        """The metadata of a row: `read` without touching the photo.

        Raises:
            ValueError: it is damaged.
        """
        return self._parsed(row, self._members(row, ("json",))[0])

    def read_images(self, row: int) -> tuple[bytes, bytes | None]:
        """The photo's and the map's file of a row: `read` without the metadata's parsing."""
        jpg, seg = self._members(row, ("jpg", "seg"))
        return jpg or b"", seg

    def shard(self, row: int) -> str:
        """Where the shard lies that a row is in, for messages."""
        return f"{self.files}/{self.shards[self.shard_of[row]]}"

    def photo_bytes(self) -> NDArray[np.int32]:
        """The size of each photo's file, bytes `(N,)`."""
        return self._lengths[:, MEMBERS.index("jpg")]

    def load_keys(self) -> None:
        """Read the keys now, so that processes forked later share them."""
        _ = self._keys

    @cached_property
    def _keys(self) -> pa.ChunkedArray:
        return self._columns.column("key")

    @cached_property
    def _crc32(self) -> NDArray[np.uint32]:
        return self._columns.numbers("crc32")

    def _parsed(self, row: int, metadata: bytes | None) -> dict[str, Any]:
        try:
            return parse_metadata(metadata or b"")
        except ValueError as error:
            key = self.key(row)
            raise ValueError(f"{key} in {self.shard(row)}: {error}; run verify") from error

    def _members(self, row: int, names: tuple[str, ...]) -> list[bytes | None]:
        """The bytes of some members, None for one that the sample does not have."""
        offsets, lengths = self._offsets[row].tolist(), self._lengths[row].tolist()
        shard = int(self.shard_of[row])
        if self.files.by_range:
            tar, base = self._fetched(row, shard, offsets, lengths)
        else:
            tar, base = self._maps.get(shard) or self._map(shard), 0
        members: list[bytes | None] = []
        for column in map(MEMBERS.index, names):
            start, length = offsets[column] - base, lengths[column]
            members.append(tar[start : start + length] if length >= 0 else None)
        return members

    def _fetched(
        self, row: int, shard: int, offsets: list[int], lengths: list[int]
    ) -> tuple[Buffer, int]:
        """The part of a shard that holds a sample, and where it begins."""
        places = zip(offsets, lengths, strict=True)
        spans = [(start, start + length) for start, length in places if length >= 0]
        first, end = min(start for start, _ in spans), max(end for _, end in spans)
        part = self.files.read(self.shards[shard], first, end)
        members = [part[start - first : end - first] for start, end in spans]
        if checksum(members) != self._crc32[row]:
            raise ValueError(
                f"{self.key(row)} in {self.shard(row)}: its bytes are not those indexed; run "
                "verify where the shards lie"
            )
        return part, first

    def _map(self, shard: int) -> mmap.mmap:
        with self.files.open(self.shards[shard]) as file:
            tar = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # A shard that left the cache keeps its disk space for as long as it is mapped.
        for other in [other for other in self._maps if not self.files.holds(self.shards[other])]:
            self._maps.pop(other).close()
        while len(self._maps) >= MAX_OPEN_SHARDS:
            self._maps.pop(next(iter(self._maps))).close()
        self._maps[shard] = tar
        return tar

    def _bytes_of_shards(self) -> NDArray[np.int64]:
        manifest = self.manifest.select(["shard", "bytes"]).to_pylist()
        sizes = {row["shard"]: row["bytes"] for row in manifest}
        if unknown := [name for name in self.shards if name not in sizes]:
            raise ValueError(
                f"{self.directory / INDEX} has samples in {unknown[0]}, which the manifest does "
                f"not know; write both with `python -m data.shards index {self.directory}`"
            )
        return np.array([sizes[name] for name in self.shards], np.int64)
