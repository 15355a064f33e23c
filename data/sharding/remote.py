"""Shards on another machine: http(s)://, s3:// and whatever else fsspec has a file system for.

Manifest and index are fetched when a folder is opened, shards when a sample of theirs is wanted:
whole into a local cache (data/sharding/cache.py), where each is held against the manifest's
SHA-256, or sample by sample (`fetch="samples"`: for a look at a few), held against the index's
CRC-32.

File systems: https://filesystem-spec.readthedocs.io. Some need a package of their own (s3fs for
s3://); options such as credentials go to them as they are.
"""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from data.sharding.cache import ShardCache, locked
from data.sharding.index_tables import INDEX, MANIFEST, MANIFEST_SCHEMA, read_table, sha256
from data.sharding.remote_folder import RemoteFolder
from partitioning.atomic_file import atomic_path

CACHE = Path.home() / ".cache" / "groundfix"
CACHE_BYTES = 50 * 2**30
FETCHES = ("shards", "samples")


class RemoteShards:
    """A folder of shards under a URL.

    It pickles without its connections; a worker process needs the network for shards only.

    Args:
        url: Of the folder.
        cache: Local folder for what is fetched (default: ~/.cache/groundfix).
        cache_bytes: What the shards in it may take together; tables come on top.
        fetch: "shards" or "samples".
        options: For fsspec's file system.

    Raises:
        ValueError: the URL or `fetch` is none of those known.
        RemoteError: the tables cannot be had.
    """

    def __init__(
        self,
        url: str,
        cache: str | Path | None = None,
        cache_bytes: int | None = None,
        fetch: str = "shards",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if fetch not in FETCHES:
            raise ValueError(f"fetch must be one of {', '.join(FETCHES)}, got {fetch!r}")
        if url.endswith(".tar") or "{" in url or "::" in url:
            raise ValueError(f"{url}: give the URL of the folder that holds {MANIFEST}")
        self.url, self.by_range = url.rstrip("/"), fetch == "samples"
        cache = Path(cache) if cache is not None else CACHE
        self.cache = ShardCache(
            cache / "shards", CACHE_BYTES if cache_bytes is None else cache_bytes
        )
        self.cache_bytes = self.cache.limit_bytes
        self.folder = RemoteFolder(
            self.url, options,
            full_disk=f"the disk of {self.cache.directory} is full; take another cache, or allow "
            "it less by cache_bytes",
        )  # fmt: skip
        self.tables = self._fetch_tables(cache / "tables")

    def __str__(self) -> str:
        return self.url

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_listed"}

    def check(self, manifest: list[dict[str, Any]]) -> None:
        """Nothing to check before a shard is fetched, but that the cache can hold the largest.

        Raises:
            ValueError: it cannot.
        """
        largest = max((row["bytes"] for row in manifest), default=0)
        if not self.by_range and largest > self.cache.limit_bytes:
            raise ValueError(
                f"{self.url} has a shard of {largest:,} bytes, the cache may hold "
                f"{self.cache.limit_bytes:,}: give it more by cache_bytes"
            )

    def open(self, shard: str) -> BinaryIO:
        """Open a shard, fetching it first where the cache does not have it.

        Raises:
            RemoteError: it cannot be had, or is not what the manifest says.
        """
        size, digest = self._listed[shard]
        return self.cache.open(
            f"{digest}.tar", size, lambda part: self._fetch_shard(shard, part, size, digest)
        )

    def holds(self, shard: str) -> bool:
        """Whether a shard is in the cache now."""
        return self.cache.holds(f"{self._listed[shard][1]}.tar")

    def read(self, shard: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` of a shard, past the cache.

        Raises:
            RemoteError: they cannot be had.
        """

        def get() -> bytes:
            data = self.folder.read(shard, start, end)
            if len(data) != end - start:
                raise OSError(
                    f"{len(data):,} bytes came for {end - start:,}; a server that cannot send "
                    'parts of a file needs fetch="shards"'
                )
            return data

        return self.folder.tried(shard, get)

    @cached_property
    def _listed(self) -> dict[str, tuple[int, str]]:
        """Size and SHA-256 of each shard."""
        manifest = read_table(self.tables / MANIFEST, MANIFEST_SCHEMA).to_pylist()
        return {row["shard"]: (row["bytes"], row["sha256"]) for row in manifest}

    def _fetch_tables(self, cache: Path) -> Path:
        """Bring manifest and index here; the index only where the manifest is a new one.

        An index follows from the shards, and the manifest holds their sums: the same manifest
        means the same index.
        """
        manifest = self.folder.tried(MANIFEST, lambda: self.folder.read(MANIFEST))
        name = hashlib.sha256(self.url.encode() + b"\0" + manifest).hexdigest()[:32]
        tables = cache / name
        tables.mkdir(parents=True, exist_ok=True)
        with locked(tables / "fetch.lock"):
            if not (tables / MANIFEST).is_file():
                with atomic_path(tables / INDEX) as part:
                    self.folder.tried(INDEX, lambda: self.folder.copy(INDEX, part))
                with atomic_path(tables / MANIFEST) as part:
                    part.write_bytes(manifest)
        return tables

    def _fetch_shard(self, shard: str, part: Path, size: int, digest: str) -> None:
        def get() -> None:
            self.folder.copy(shard, part)
            if part.stat().st_size != size or sha256(part) != digest:
                raise OSError(f"its {part.stat().st_size:,} bytes are not those of the manifest")

        self.folder.tried(shard, get)
