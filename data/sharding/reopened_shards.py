"""Whole shards as parts again, so that some of them can be written anew and all be joined.

The way back from `data.sharding.part.join_parts`. Maps' classes in the manifest are not kept: give
them to `join_parts` again.
"""

import json
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.sharding.index_tables import INDEX, INDEX_SCHEMA, MANIFEST, MANIFEST_SCHEMA, read_table
from data.sharding.part import ROW, table_path
from partitioning.atomic_file import atomic_path


def reopen_parts(directory: str | Path) -> int:
    """Give each shard of a folder its own table again, and remove manifest and index.

    The manifest goes first, when all parts have their tables: stopped before, the folder is as it
    was for every reader, and `join_parts` makes it so.

    Returns:
        Number of shards.

    Raises:
        ValueError: manifest or index is missing or unreadable.
    """
    directory = Path(directory)
    index = read_table(directory / INDEX, INDEX_SCHEMA)
    manifest = read_table(directory / MANIFEST, MANIFEST_SCHEMA).to_pylist()
    for row in manifest:
        part = index.filter(pc.equal(index["shard"], row["shard"]))
        with atomic_path(table_path(directory / row["shard"])) as temporary:
            pq.write_table(part.replace_schema_metadata({ROW: json.dumps(row)}), temporary)
    (directory / MANIFEST).unlink()
    (directory / INDEX).unlink()
    return len(manifest)
