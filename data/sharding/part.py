"""Shards made in parallel: each is written whole with its own table, and these are joined at last.

A part that is done stays done, so a stopped run goes on with the parts that are not:

    for name in names:                       # in any number of processes, in any order
        if not part_is_done(directory, name):
            with ShardPart(directory, name) as part:
                part.write(key, jpg, json)
    join_parts(directory)

`shard-000007.tar` is written first, then `shard-000007.part.parquet`: its rows of the index, and in
the file's metadata its row of the manifest. A part without samples has no tar.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.seg_maps.classes import SegClasses
from data.sharding.index_tables import (
    INDEX_SCHEMA,
    MANIFEST,
    MANIFEST_SCHEMA,
    TableRows,
    read_table,
    write_tables,
)
from data.sharding.open_shard import OpenShard
from partitioning.atomic_file import atomic_path

PART = ".part.parquet"
ROW = b"manifest_row"  # key of a part's file metadata
MOST_NAMED = 5  # of the keys that are there twice


class ShardPart:
    """Writes one shard and its table; a context manager. After an error neither is there.

    Args:
        directory: Of the shards; made if it is not there.
        name: Of the tar, such as "shard-000007.tar". A shard of that name is replaced.
    """

    def __init__(self, directory: str | Path, name: str) -> None:
        self.path = Path(directory) / name
        self._rows = TableRows()
        self._open: OpenShard | None = None

    def __enter__(self) -> "ShardPart":
        table_path(self.path).unlink(missing_ok=True)  # a part is not done while it is written
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open is not None:
            self._open.__exit__(kind, error, trace)
        elif error is None:
            self.path.unlink(missing_ok=True)
        if error is None:
            self._write_table()

    def __len__(self) -> int:
        return len(self._rows.keys)

    def write(
        self,
        key: str,
        jpg: bytes,
        json: dict[str, Any],
        seg_png: bytes | None = None,
        check_images: bool = True,
    ) -> None:
        """Append a sample; arguments and errors as `data.sharding.open_shard.OpenShard.write`.

        Raises:
            ValueError: it is refused; nothing of it is written.
        """
        if self._open is None:
            self._open = OpenShard(self.path, self._rows).__enter__()
        self._open.write(key, jpg, json, seg_png, check_images)

    def _write_table(self) -> None:
        index, manifest = self._rows.tables()
        row = json.dumps(manifest.to_pylist()[0] if len(manifest) else None)
        with atomic_path(table_path(self.path)) as temporary:
            pq.write_table(index.replace_schema_metadata({ROW: row}), temporary)


def table_path(shard: Path) -> Path:
    """Where the table of a part lies, beside its tar."""
    return shard.with_suffix(PART)


def part_is_done(directory: str | Path, name: str) -> bool:
    """Whether a part is whole: its table is there, and a tar of the size that the table says."""
    shard = Path(directory) / name
    try:
        row = _manifest_row(table_path(shard))
    except ValueError:
        return False
    if row is None:
        return not shard.exists()
    return shard.is_file() and shard.stat().st_size == row["bytes"]


def join_parts(directory: str | Path, seg_classes: SegClasses | None = None) -> int:
    """Make index and manifest of all parts of a folder, and remove the parts' own tables.

    Args:
        directory: Of the shards.
        seg_classes: What the numbers in the segmentation maps mean, if that is known.

    Returns:
        Number of samples. Joining what is joined already changes nothing.

    Raises:
        ValueError: there is no part, a part's table or tar is missing or damaged, or two samples
            have one key; the parts stay as they are.
    """
    directory = Path(directory)
    tables = sorted(directory.glob(f"*{PART}"))
    if (samples := _joined(directory, tables)) is not None:
        return _removed(tables, samples)
    if not tables:
        raise ValueError(f"no *{PART} in {directory}: no part was finished there")
    _check_whole(directory, tables)
    rows = [row for path in tables if (row := _manifest_row(path)) is not None]
    index = pa.concat_tables(_read(path) for path in tables)
    _check_keys(directory, index)
    manifest = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
    write_tables(directory, index, manifest, seg_classes)
    return _removed(tables, len(index))


def _joined(directory: Path, tables: list[Path]) -> int | None:
    """Number of samples where a join was stopped after the manifest, its last table."""
    if not (directory / MANIFEST).is_file():
        return None
    listed = read_table(directory / MANIFEST, MANIFEST_SCHEMA).to_pylist()
    on_disk = {path.name: path.stat().st_size for path in directory.glob("*.tar")}
    rows = [row for path in tables if (row := _manifest_row(path)) is not None]
    is_whole = on_disk == {row["shard"]: row["bytes"] for row in listed}
    if not is_whole or any(row not in listed for row in rows):
        return None
    return sum(row["samples"] for row in listed)


def _removed(tables: list[Path], samples: int) -> int:
    for path in tables:
        path.unlink()
    return samples


def _manifest_row(path: Path) -> dict[str, Any] | None:
    try:
        row = json.loads((pq.read_schema(path).metadata or {})[ROW])
        if row is not None and set(row) != set(MANIFEST_SCHEMA.names):
            raise ValueError("it has no row of the manifest")
        return row
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: not the table of a part ({error}); remove it") from None


def _read(path: Path) -> pa.Table:
    return pq.read_table(path, schema=INDEX_SCHEMA).replace_schema_metadata(None)


def _check_whole(directory: Path, tables: list[Path]) -> None:
    """Every tar must have its table, and every table its tar."""
    names = {path.name.removesuffix(PART) + ".tar" for path in tables}
    names |= {path.name for path in directory.glob("*.tar")}
    if unfinished := [name for name in sorted(names) if not part_is_done(directory, name)]:
        raise ValueError(
            f"{directory}: {', '.join(unfinished[:MOST_NAMED])} ({len(unfinished)} in all) not "
            "finished; run the command that wrote them again"
        )


def _check_keys(directory: Path, index: pa.Table) -> None:
    counts = index["key"].value_counts()
    doubled = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    if doubled:
        raise ValueError(
            f"{directory}: {len(doubled)} keys are there twice: "
            f"{', '.join(sorted(doubled)[:MOST_NAMED])}; image ids must differ"
        )
