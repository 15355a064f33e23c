"""Hold a folder of shards against its manifest and index: every lost or altered sample, by key.

The SHA-256 of a shard says whether a byte of it changed; the CRC-32 of each sample says whose.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.index_tables import (
    INDEX,
    INDEX_SCHEMA,
    MANIFEST,
    MANIFEST_SCHEMA,
    MEMBERS,
    Span,
    checksum,
    read_table,
    sha256,
)
from data.shard_scan import (
    ALTERED,
    DAMAGED,
    DUPLICATE,
    EXTRA,
    IGNORED,
    LOST,
    Problem,
    Report,
    mapped,
    members_at,
    scan,
)
from data.tar_members import Buffer

Row = dict[str, Any]


def verify(directory: str | Path, on_shard: Callable[[str], object] = str) -> Report:
    """Find every lost, altered, doubled or unlisted sample of a folder of shards.

    Args:
        directory: The folder, with its manifest and index.
        on_shard: Called with the file name of each shard when it is done.

    Raises:
        ValueError: the manifest or the index is missing or unreadable.
    """
    directory = Path(directory)
    manifest = read_table(directory / MANIFEST, MANIFEST_SCHEMA)
    index = read_table(directory / INDEX, INDEX_SCHEMA)
    report = Report()
    rows_of = _rows_by_shard(index)
    for listed in manifest.to_pylist():
        rows = rows_of.pop(listed["shard"], index.slice(0, 0)).to_pylist()
        problems = _verify_shard(directory / listed["shard"], listed, rows)
        report.problems += problems
        report.shards += 1
        bad = {p.key for p in problems if p.kind in (LOST, ALTERED)}
        report.samples += sum(row["key"] not in bad for row in rows)
        on_shard(listed["shard"])
    for shard, rows in rows_of.items():
        lost = "indexed, but the manifest does not know its shard"
        report.problems += [Problem(LOST, shard, key, lost) for key in rows["key"].to_pylist()]
    report.problems += _unlisted(directory, set(manifest["shard"].to_pylist()))
    report.problems += _doubled(index)
    return report


def _verify_shard(path: Path, listed: Row, rows: list[Row]) -> list[Problem]:
    shard = path.name
    if not path.is_file():
        missing = [Problem(LOST, shard, row["key"], "its shard is missing") for row in rows]
        return [Problem(LOST, shard, "", "the shard is missing"), *missing]
    with mapped(path) as tar:
        found, problems = scan(tar, shard)
        # A half sample that the index lists is judged below, against its own bytes.
        known = {row["key"] for row in rows}
        problems = [p for p in problems if not (p.kind == LOST and p.key in known)]
        if len(tar) != listed["bytes"] or sha256(path) != listed["sha256"]:
            problems += _altered(tar, shard, rows, found)
            if all(problem.kind == IGNORED for problem in problems):
                what = "altered, but between the samples: they are whole"
                problems.append(Problem(ALTERED, shard, "", what))
    problems += [
        Problem(EXTRA, shard, key, "not in the index") for key in found if key not in known
    ]
    if len(rows) != listed["samples"]:
        what = f"{len(rows):,} samples in the index, {listed['samples']:,} in the manifest"
        problems.append(Problem(DAMAGED, shard, "", what))
    return problems


def _altered(
    tar: Buffer, shard: str, rows: list[Row], found: dict[str, list[Span]]
) -> list[Problem]:
    """Which samples of a shard that is not what it was are lost or altered."""
    problems = []
    for row in rows:
        key, spans = row["key"], [(row[f"{m}_offset"], row[f"{m}_length"]) for m in MEMBERS]
        if any(offset + length > len(tar) for offset, length in spans):
            problems.append(Problem(LOST, shard, key, "beyond the end: the shard is cut off"))
        elif checksum(members_at(tar, spans)) == row["crc32"]:
            if found.get(key) != spans:
                what = "its tar headers are damaged: other readers lose it, our index reads it"
                problems.append(Problem(DAMAGED, shard, key, what))
        elif key in found:
            problems.append(Problem(ALTERED, shard, key, "its bytes are not those indexed"))
        else:
            problems.append(Problem(LOST, shard, key, "overwritten"))
    return problems


def _rows_by_shard(index: pa.Table) -> dict[str, pa.Table]:
    shards = index["shard"].combine_chunks().dictionary_encode()
    codes = shards.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(shards.dictionary)))
    groups = np.split(order, ends[:-1]) if len(ends) else []
    return {
        name: index.take(rows)
        for name, rows in zip(shards.dictionary.to_pylist(), groups, strict=True)
    }


def _unlisted(directory: Path, listed: set[str]) -> list[Problem]:
    extra = [path.name for path in sorted(directory.glob("*.tar")) if path.name not in listed]
    what = "not in the manifest: remove it, or write the tables anew with `index`"
    unfinished = [path.name for path in sorted(directory.glob("*.tar.tmp"))]
    return [Problem(EXTRA, shard, "", what) for shard in extra] + [
        Problem(IGNORED, shard, "", "left over from a writer that was stopped")
        for shard in unfinished
    ]


def _doubled(index: pa.Table) -> list[Problem]:
    counts = index["key"].value_counts()
    doubled = counts.filter(pc.greater(counts.field("counts"), 1))
    return [
        Problem(DUPLICATE, "", row["values"], f"{row['counts']} times in the index")
        for row in doubled.to_pylist()
    ]
