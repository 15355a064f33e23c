"""Hold a folder of shards against its manifest and index: every lost or altered sample, by key.

The SHA-256 of a shard says whether a byte of it changed; the CRC-32 of each sample says whose. It
takes little longer than the SHA-256 alone (`python -m benchmarks.verify`).
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.sharding.header_check import hash_and_check
from data.sharding.index_tables import (
    INDEX,
    INDEX_SCHEMA,
    MANIFEST,
    MANIFEST_SCHEMA,
    MEMBERS,
    Span,
    checksum,
    read_table,
)
from data.sharding.scan import (
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
from data.sharding.tar_members import Buffer

Row = dict[str, Any]
Rows = NDArray[np.int64]  # numbers of rows of the index


def verify(
    directory: str | Path, on_shard: Callable[[str], object] = str, workers: int = 1
) -> Report:
    """Find every lost, altered, doubled or unlisted sample of a folder of shards.

    Args:
        directory: The folder, with its manifest and index.
        on_shard: Called with the file name of each shard when it is done.
        workers: Shards looked at at once.

    Raises:
        ValueError: the manifest or the index is missing or unreadable.
    """
    directory = Path(directory)
    manifest = read_table(directory / MANIFEST, MANIFEST_SCHEMA)
    index = read_table(directory / INDEX, INDEX_SCHEMA)
    report = Report()
    numbers = _rows_by_shard(index)
    none = np.empty(0, np.int64)
    listed = [(row, numbers.pop(row["shard"], none)) for row in manifest.to_pylist()]
    for row, of_shard, problems in _verified(directory, listed, index, workers):
        report.problems += problems
        report.shards += 1
        bad = {p.key for p in problems if p.kind in (LOST, ALTERED)}
        keys = index["key"].take(of_shard).to_pylist() if bad else []
        report.samples += len(of_shard) - sum(key in bad for key in keys)
        on_shard(row["shard"])
    for shard, of_shard in numbers.items():
        lost = "indexed, but the manifest does not know its shard"
        keys = index["key"].take(of_shard).to_pylist()
        report.problems += [Problem(LOST, shard, key, lost) for key in keys]
    report.problems += _unlisted(directory, set(manifest["shard"].to_pylist()))
    report.problems += _doubled(index)
    return report


def _verified(
    directory: Path, listed: list[tuple[Row, Rows]], index: pa.Table, workers: int
) -> Iterator[tuple[Row, Rows, list[Problem]]]:
    """The manifest's rows with the numbers of their samples and what is wrong, in order."""

    def problems(row: Row, of_shard: Rows) -> list[Problem]:
        return _verify_shard(directory / row["shard"], row, index.take(of_shard))

    # Threads do: hashing lets others run.
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            found = [pool.submit(problems, *shard) for shard in listed]
            for shard, future in zip(listed, found, strict=True):
                yield *shard, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _verify_shard(path: Path, listed: Row, rows: pa.Table) -> list[Problem]:
    if not path.is_file():
        return _all_lost(path.name, rows, "the shard is missing")
    try:
        digest, is_as_indexed = hash_and_check(path, rows)
    except OSError as error:  # a bad sector, a disk that went away
        return _all_lost(path.name, rows, f"the shard cannot be read: {error.strerror}")
    is_intact = digest == listed["sha256"] and path.stat().st_size == listed["bytes"]
    problems = []
    if not (is_intact and is_as_indexed):
        with mapped(path) as tar:
            problems = _what_is_wrong(tar, path.name, rows.to_pylist(), is_intact)
    if len(rows) != listed["samples"]:
        what = f"{len(rows):,} samples in the index, {listed['samples']:,} in the manifest"
        problems.append(Problem(DAMAGED, path.name, "", what))
    return problems


def _all_lost(shard: str, rows: pa.Table, why: str) -> list[Problem]:
    keys = rows["key"].to_pylist()
    return [Problem(LOST, shard, key, why) for key in ("", *keys)]


def _what_is_wrong(tar: Buffer, shard: str, rows: list[Row], is_intact: bool) -> list[Problem]:
    """Walk a shard header by header, and compare what is found with the index."""
    found, problems = scan(tar, shard)
    # A half sample that the index lists is judged below, against its own bytes.
    known = {row["key"] for row in rows}
    problems = [p for p in problems if not (p.kind == LOST and p.key in known)]
    problems += _altered(tar, shard, rows, found)
    if not is_intact and all(problem.kind == IGNORED for problem in problems):
        what = "altered, but between the samples: they are whole"
        problems.append(Problem(ALTERED, shard, "", what))
    return problems + [
        Problem(EXTRA, shard, key, "not in the index") for key in found if key not in known
    ]


def _altered(
    tar: Buffer, shard: str, rows: list[Row], found: dict[str, list[Span]]
) -> list[Problem]:
    """Which samples of a shard are lost or altered, or not where the index says."""
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


def _rows_by_shard(index: pa.Table) -> dict[str, Rows]:
    """The numbers of each shard's rows."""
    shards = index["shard"].dictionary_encode().combine_chunks()
    codes = shards.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(shards.dictionary)))
    groups = np.split(order, ends[:-1]) if len(ends) else []
    return dict(zip(shards.dictionary.to_pylist(), groups, strict=True))


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
