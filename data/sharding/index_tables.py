"""The two tables beside shards: `manifest.parquet` and `index.parquet`.

The manifest has a row a shard (shard, samples, bytes, sha256); the index a row a sample: key,
shard, offset and length of its members, lat, lon, scene, and the CRC-32 of its members, which
tells which samples of an altered shard are altered. The manifest's file metadata may hold the
classes of the segmentation maps (data/seg_maps/classes.py).
"""

import hashlib
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.sample import parse_metadata, position_of, scene_of
from data.seg_maps.classes import SegClasses
from partitioning.atomic_file import atomic_path

MANIFEST, INDEX = "manifest.parquet", "index.parquet"
MEMBERS = ("jpg", "json", "seg")
MANIFEST_SCHEMA = pa.schema(
    [
        ("shard", pa.string()),
        ("samples", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
    ]
)
INDEX_SCHEMA = pa.schema(
    [("key", pa.string()), ("shard", pa.string())]
    + [(f"{member}_{part}", pa.int64()) for member in MEMBERS for part in ("offset", "length")]
    + [("lat", pa.float64()), ("lon", pa.float64()), ("scene", pa.int8()), ("crc32", pa.uint32())]
)

SEG_CLASSES = b"seg_classes"  # key of the manifest's file metadata

Span = tuple[int, int]  # offset and length of a member, in bytes
NOWHERE: Span = (-1, -1)  # of a member that is not there


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read one of the two tables.

    Raises:
        ValueError: it is not there, not readable, or has other columns.
    """
    way_out = f"write it with `python -m data.shards index {path.parent}`"
    if not path.is_file():
        raise ValueError(f"no {path.name} in {path.parent}; {way_out}")
    try:
        table = pq.read_table(path, columns=schema.names, memory_map=True).cast(schema)
        if any(column.null_count for column in table.columns):
            raise ValueError("it has empty fields")
        if any(
            Path(name).name != name or name in ("", "..")
            for name in table["shard"].unique().to_pylist()
        ):
            raise ValueError("it names files outside its folder")
        if "sha256" in schema.names and not _are_sums(table["sha256"]):
            raise ValueError("it holds sums that are no SHA-256")
        return table
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path}: not the table of shards it should be ({error}); {way_out}"
        ) from error


def _are_sums(column: pa.ChunkedArray) -> bool:
    """Whether all are SHA-256 in hex: files of a cache are named by them."""
    return pc.all(pc.match_substring_regex(column, "^[0-9a-f]{64}$"), min_count=0).as_py()


class TableRows:
    """The rows of both tables, gathered while shards are written or walked."""

    def __init__(self) -> None:
        self._manifest: dict[str, list[Any]] = {name: [] for name in MANIFEST_SCHEMA.names}
        self._index: dict[str, list[Any]] = {name: [] for name in INDEX_SCHEMA.names}
        self.keys: set[str] = set()

    def add_sample(self, key: str, shard: str, spans: list[Span], members: list[bytes]) -> None:
        """Add a sample.

        Args:
            key: Its key.
            shard: File name of its shard.
            spans: Where jpg, json and seg lie in the shard.
            members: The bytes of jpg, json and seg; empty where there is no seg.

        Raises:
            ValueError: the key is there already, or the metadata holds no valid position.
        """
        metadata = parse_metadata(members[1])
        lat, lon = position_of(metadata)
        if key in self.keys:
            raise ValueError("its key is there twice; the first sample keeps it")
        self.keys.add(key)
        places = {
            f"{member}_{part}": number
            for member, span in zip(MEMBERS, spans, strict=True)
            for part, number in zip(("offset", "length"), span, strict=True)
        }
        row = places | {"key": key, "shard": shard, "lat": lat, "lon": lon}
        row |= {"scene": scene_of(metadata), "crc32": checksum(members)}
        for name, column in self._index.items():
            column.append(row[name])

    def add_shard(self, path: Path, name: str, samples: int) -> None:
        """Add the shard called `name`, whose bytes are at `path` now."""
        row = {"shard": name, "samples": samples, "bytes": path.stat().st_size}
        for column, value in (row | {"sha256": sha256(path)}).items():
            self._manifest[column].append(value)

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """Index and manifest."""
        return (
            pa.table(self._index, schema=INDEX_SCHEMA),
            pa.table(self._manifest, schema=MANIFEST_SCHEMA),
        )

    def write(self, directory: Path, seg_classes: SegClasses | None = None) -> None:
        """Write both tables."""
        write_tables(directory, *self.tables(), seg_classes)


def write_tables(
    directory: Path, index: pa.Table, manifest: pa.Table, seg_classes: SegClasses | None = None
) -> None:
    """Write both tables, each atomically, the manifest last: it says the folder is complete."""
    if seg_classes is not None:
        manifest = manifest.replace_schema_metadata({SEG_CLASSES: seg_classes.to_json()})
    for name, table in ((INDEX, index), (MANIFEST, manifest)):
        with atomic_path(directory / name) as path:
            pq.write_table(table, path)


def read_seg_classes(directory: str | Path) -> SegClasses | None:
    """What the numbers in the segmentation maps of a folder of shards mean, if it says so.

    Raises:
        ValueError: there is no readable manifest, or what it says is no table of classes.
    """
    path = Path(directory) / MANIFEST
    read_table(path, MANIFEST_SCHEMA)  # its errors are the ones to show
    text = (pq.read_schema(path).metadata or {}).get(SEG_CLASSES)
    try:
        return None if text is None else SegClasses.from_json(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; segment the photos again") from error


def known_seg_classes(directory: Path) -> SegClasses | None:
    """As `read_seg_classes`; None too where the tables are missing or damaged."""
    try:
        text = (pq.read_schema(directory / MANIFEST).metadata or {}).get(SEG_CLASSES)
        return None if text is None else SegClasses.from_json(text)
    except (pa.ArrowException, OSError, ValueError):
        return None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(members: list[bytes]) -> int:
    """CRC-32 over the bytes of jpg, json and seg, one after the other."""
    crc = 0
    for member in members:
        crc = zlib.crc32(member, crc)
    return crc
