"""The columns of an `index.parquet`, each read when it is asked for and no wider than it need be.

Five million samples open in a second and take 300 MB: numbers as numpy arrays, shard names as
numbers of a dictionary, keys not before somebody wants one (`python -m benchmarks.index`).
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.sharding.index_tables import INDEX_SCHEMA, MEMBERS
from data.sharding.tar_members import MAX_MEMBER_BYTES


class IndexColumns:
    """A reader of columns.

    Args:
        path: The index.

    Raises:
        ValueError: it is not there, not readable, or has other columns. So do all methods.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ValueError(f"no {path.name} in {path.parent}; {self._way_out}")
        try:
            facts = pq.read_metadata(path)
        except (pa.ArrowException, OSError) as error:
            raise self._not_ours(error) from error
        self._rows = facts.num_rows
        missing = [name for name in INDEX_SCHEMA.names if name not in facts.schema.names]
        if missing:
            raise self._not_ours(f"no column {', '.join(missing)}")

    def __len__(self) -> int:
        return self._rows

    def numbers(self, name: str) -> NDArray:
        """A column of numbers `(N,)`."""
        return self.column(name).to_numpy()

    def codes(self, name: str) -> tuple[NDArray[np.int32], list[str]]:
        """A column of file names, few different ones: each row's number `(N,)`, and the names."""
        column = self.column(name).dictionary_encode().unify_dictionaries()
        if not column.num_chunks:
            return np.empty(0, np.int32), []
        texts = column.chunk(0).dictionary.to_pylist()
        if any(Path(text).name != text for text in texts):
            raise self._not_ours("it names files outside its folder")
        return np.concatenate([chunk.indices.to_numpy() for chunk in column.chunks]), texts

    def column(self, name: str) -> pa.ChunkedArray:
        """A column as Arrow holds it; text where it repeats as a dictionary."""
        try:
            file = pq.ParquetFile(self.path, memory_map=True, read_dictionary=["shard"])
            column = file.read([name]).column(name)
            if column.null_count:
                raise ValueError(f"column {name} has empty fields")
            if pa.types.is_dictionary(column.type):
                if not pa.types.is_string(column.type.value_type):
                    raise ValueError(f"column {name} is no text")
                return column
            return column.cast(INDEX_SCHEMA.field(name).type)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._not_ours(error) from error

    def spans(
        self, shard_of: NDArray[np.int32], shard_bytes: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Where the members of each sample lie.

        Args:
            shard_of: Number of each row's shard `(N,)`.
            shard_bytes: Size of each shard.

        Returns:
            Offsets and lengths in bytes, each `(N, 3)` in the order of MEMBERS; length -1 where a
            sample has no such member.

        Raises:
            ValueError: a member lies outside its shard.
        """
        offsets = np.empty((len(self), len(MEMBERS)), np.int64)
        lengths = np.empty((len(self), len(MEMBERS)), np.int32)
        ends = shard_bytes[shard_of]
        for column, member in enumerate(MEMBERS):
            offset, length = (self.numbers(f"{member}_{part}") for part in ("offset", "length"))
            outside = (offset < -1) | (length < -1) | (length > MAX_MEMBER_BYTES)
            outside |= offset > ends - length
            if outside.any():
                raise self._not_ours(f"row {outside.argmax()}: its {member} lies outside its shard")
            offsets[:, column], lengths[:, column] = offset, length
        return offsets, lengths

    @property
    def _way_out(self) -> str:
        return f"write it with `python -m data.shards index {self.path.parent}`"

    def _not_ours(self, why: object) -> ValueError:
        return ValueError(
            f"{self.path}: not the table of shards it should be ({why}); {self._way_out}"
        )
