"""Where the shards of an index lie: in a folder here (elsewhere: data/sharding/remote.py)."""

from pathlib import Path
from typing import Any, BinaryIO, Protocol


class ShardFiles(Protocol):
    """What an index needs of the place its shards are in.

    Attributes:
        tables: Folder of manifest and index, on this machine.
        cache_bytes: What fetched shards may take together on this machine; 0 where none is fetched.
        by_range: Whether samples are had one by one through `read`; else whole shards, `open`.
    """

    @property
    def tables(self) -> Path: ...  # noqa: D102

    @property
    def cache_bytes(self) -> int: ...  # noqa: D102

    @property
    def by_range(self) -> bool: ...  # noqa: D102

    def check(self, manifest: list[dict[str, Any]]) -> None:
        """Raise ValueError where the shards cannot be those of the manifest."""
        ...

    def open(self, shard: str) -> BinaryIO:
        """Open a whole shard for reading, after it was brought here if need be."""
        ...

    def holds(self, shard: str) -> bool:
        """Whether a shard is here now."""
        ...

    def read(self, shard: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` of a shard."""
        ...


class LocalShards:
    """A folder of shards on this machine.

    Args:
        directory: The folder.
    """

    cache_bytes = 0
    by_range = False

    def __init__(self, directory: str | Path) -> None:
        self.tables = Path(directory)

    def __str__(self) -> str:
        return str(self.tables)

    def check(self, manifest: list[dict[str, Any]]) -> None:
        """Compare sizes with the manifest's.

        Raises:
            ValueError: a shard is missing or has another size.
        """
        for row in manifest:
            path = self.tables / row["shard"]
            size = path.stat().st_size if path.is_file() else -1
            if size != row["bytes"]:
                what = "is missing" if size < 0 else f"has {size:,} bytes, not {row['bytes']:,}"
                raise ValueError(
                    f"shard {path} {what}: find what is lost with "
                    f"`python -m data.shards verify {self.tables}`, then fetch or build it "
                    f"again, or go on without it by `python -m data.shards index {self.tables}`"
                )

    def open(self, shard: str) -> BinaryIO:
        """Open a shard."""
        return (self.tables / shard).open("rb")

    def holds(self, shard: str) -> bool:
        """Whether it is there: it was when the index was opened, and nobody here removes it."""
        return True

    def read(self, shard: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` of a shard."""
        with self.open(shard) as file:
            file.seek(start)
            return file.read(end - start)
