"""Make one shard of one msgpack file: the step that `setup.import_msgpack` runs for each."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import simplejpeg

from data.images import ImageError, decode_rgb
from data.sample import safe_key
from data.sharding.part import ShardPart, part_is_done, table_path
from partitioning.atomic_file import atomic_path
from setup.packing.metadata_lookup import MetadataLookup
from setup.packing.msgpack_samples import Damaged, MsgSample, read_samples
from setup.packing.part_photos import JPEG_QUALITY

DOUBLED = "id that is there twice"
Refused = tuple[str, str, str]  # file, id, reason


@dataclass(frozen=True)
class MsgPart:
    """A msgpack file and the shard that is made of it.

    Attributes:
        path: of the file, shard_N.msg.
        directory: of the shards.
        lookup: the table of positions, if one was given.

    Raises:
        ValueError: the file has another name.
    """

    path: Path
    directory: Path
    lookup: Path | None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"shard_\d{1,6}\.msg", self.path.name):
            raise ValueError(f"{self.path}: files are called shard_0.msg, shard_1.msg ...")

    @property
    def number(self) -> int:
        """N of shard_N.msg."""
        return int(self.path.stem.rpartition("_")[2])

    @property
    def name(self) -> str:
        """Of the tar."""
        return f"shard-{self.number:06d}.tar"

    @property
    def tar(self) -> Path:
        """Where the shard is."""
        return self.directory / self.name

    @property
    def _refusals(self) -> Path:
        return self.directory / ".import" / f"{self.number:06d}.json"

    def is_done(self) -> bool:
        """Whether the shard is whole and what it lacks is known."""
        return self._refusals.is_file() and part_is_done(self.directory, self.name)

    def refused(self) -> list[Refused]:
        """The samples that did not get in."""
        return [tuple(row) for row in json.loads(self._refusals.read_text())]

    def write_refused(self, rows: list[Refused]) -> None:
        """Note them, atomically."""
        with atomic_path(self._refusals) as temporary:
            temporary.write_text(json.dumps(rows))


def import_part(part: MsgPart, skip: Mapping[str, set[str]]) -> int:
    """Make the shard of a file, whole or not at all.

    Args:
        part: the file and its shard.
        skip: keys that are in earlier shards already, by name of the shard.

    Returns:
        The size of the file.

    Raises:
        OSError: it cannot be read, or the shard not be written.
    """
    taken, refused = set(skip.get(part.name, ())), list[Refused]()
    with ShardPart(part.directory, part.name) as shard:
        try:
            for sample in read_samples(part.path):
                try:
                    _write(sample, part.lookup, shard, taken)
                except ValueError as error:
                    refused.append((part.path.name, sample.id, str(error)))
        except Damaged as error:
            refused.append((part.path.name, "", f"damaged file: {error}"))
        part.write_refused(refused)
    return part.path.stat().st_size


def _write(sample: MsgSample, lookup: Path | None, shard: ShardPart, taken: set[str]) -> None:
    if sample.problem:
        raise ValueError(sample.problem)
    key = safe_key(sample.id)
    if key in taken:
        raise ValueError(DOUBLED)
    facts = _facts(sample, lookup)
    try:
        is_jpeg = sample.image.startswith(b"\xff\xd8\xff")
        # Decoded in any case: a truncated photo must be found now and not in training.
        rgb = decode_rgb(sample.image, sample.id, min_side=1 if is_jpeg else 0)
    except ImageError as error:
        raise ValueError(f"undecodable: {error}") from None
    jpg = sample.image if is_jpeg else simplejpeg.encode_jpeg(rgb, quality=JPEG_QUALITY)
    try:
        shard.write(key, jpg, facts)
        taken.add(key)
    except ValueError as error:
        raise ValueError(f"unusable: {error}") from None


def _facts(sample: MsgSample, lookup: Path | None) -> dict[str, Any]:
    """What the table says of a photo, or else the sample itself."""
    if lookup is None:
        if not sample.position:
            raise ValueError("no position: give the table with --csv")
        return dict(sample.position)
    try:
        facts = _open(lookup).find(sample.id)
    except ValueError as error:
        raise ValueError(f"unusable: {error}") from None
    if facts is None and not sample.position:
        raise ValueError("not in the table")
    return facts or dict(sample.position)


@cache
def _open(lookup: Path) -> MetadataLookup:
    return MetadataLookup(lookup)


def doubled_keys(parts: list[MsgPart]) -> dict[str, set[str]]:
    """Keys of each finished shard that are in an earlier one too."""
    seen: set[str] = set()
    doubled: dict[str, set[str]] = {}
    for part in parts:
        keys = set(pq.read_table(table_path(part.tar), columns=["key"])["key"].to_pylist())
        if again := keys & seen:
            doubled[part.name] = again
        seen |= keys
    return doubled
