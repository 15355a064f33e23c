"""Pack samples into numbered shards, one after the other, with manifest and index.

The same samples give the same bytes. For shards made in parallel: data/sharding/part.py.
"""

from pathlib import Path
from types import TracebackType
from typing import Any

from data.seg_maps.classes import SegClasses
from data.sharding.index_tables import MANIFEST, TableRows
from data.sharding.open_shard import OpenShard


class ShardWriter:
    """Writes samples into numbered shards; a context manager.

    A shard gets its name when it is whole and on disk; manifest and index are written at the end,
    so a folder without a manifest is unfinished. After an error neither is.

    Args:
        directory: The folder, made if it is not there; it must not hold shards yet.
        samples_per_shard: Samples in all shards but the last.
        seg_classes: What the numbers in the segmentation maps mean, if that is known.

    Raises:
        ValueError: the folder holds shards, or `samples_per_shard` is not positive.
    """

    def __init__(
        self,
        directory: str | Path,
        samples_per_shard: int = 2000,
        seg_classes: SegClasses | None = None,
    ) -> None:
        self.directory = Path(directory)
        if samples_per_shard < 1:
            raise ValueError(f"samples_per_shard must be at least 1, got {samples_per_shard}")
        self.directory.mkdir(parents=True, exist_ok=True)
        if any(self.directory.glob("*.tar")) or (self.directory / MANIFEST).exists():
            raise ValueError(
                f"{self.directory} holds shards already; write into an empty folder, or remove them"
            )
        self._samples_per_shard = samples_per_shard
        self._seg_classes = seg_classes
        self._rows = TableRows()
        self._shards = 0  # whole ones
        self._open: OpenShard | None = None

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open is not None:
            self._open.__exit__(kind, error, trace)  # drops a shard that is not whole
        if error is None:
            self._rows.write(self.directory, self._seg_classes)

    def __len__(self) -> int:
        return len(self._rows.keys)

    def write(
        self, key: str, jpg: bytes, json: dict[str, Any], seg_png: bytes | None = None
    ) -> None:
        """Append a sample; arguments and errors as `data.sharding.open_shard.OpenShard.write`.

        Raises:
            ValueError: it is refused; nothing of it is written.
        """
        self._shard_with_room().write(key, jpg, json, seg_png)

    def _shard_with_room(self) -> OpenShard:
        if self._open is not None and self._open.samples == self._samples_per_shard:
            self._open.__exit__(None, None, None)
            self._open = None
            self._shards += 1
        if self._open is None:
            path = self.directory / f"shard-{self._shards:06d}.tar"
            self._open = OpenShard(path, self._rows).__enter__()
        return self._open
