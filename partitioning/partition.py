"""Three nested levels of geocells, coarse, middle and fine, and their file `cells.parquet`.

Every fine cell lies in one middle cell and that in one coarse cell, so that the probabilities of
the levels can be multiplied. The file has one row a cell (level, class_id, token, photos, lat, lon,
parent_class_id, -1 for coarse) and the thresholds, the source's sha256 and a fingerprint as
metadata. Reading it imports numpy and pyarrow only.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from partitioning import s2
from partitioning.atomic_file import atomic_path
from partitioning.cells import NO_CLASS, Cells, build_from_leaves, check_thresholds, vector_sums
from partitioning.geodesy import check_positions

if TYPE_CHECKING:
    import pyarrow as pa  # imported where it is used: building a partition needs none

LEVELS = ("coarse", "middle", "fine")
# (t_min, t_max): MP-16 gives some 3,298, 7,202 and 12,893 cells.
T_DEFAULT = {"coarse": (50, 5000), "middle": (50, 2000), "fine": (50, 1000)}
COLUMNS = ("level", "class_id", "token", "photos", "lat", "lon", "parent_class_id")
METADATA_KEY = b"groundfix.cells"
# Positions assigned at a time: bounds the temporaries of any number of photos.
CHUNK = 1 << 18


@dataclass(frozen=True, eq=False)
class Partition:
    """Three nested levels of geocells.

    Attributes:
        coarse, middle, fine: the cells of each level.
        parents: "middle" -> int64 (C_middle,) coarse class of each middle cell; "fine" -> int64
            (C_fine,) middle class of each fine cell. Found from the cells.
        source_sha256: of the file of positions it was built from, or "".

    Raises:
        ValueError: a cell lies in no cell of the next coarser level.
    """

    coarse: Cells
    middle: Cells
    fine: Cells
    source_sha256: str = ""
    parents: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        parents = {
            child: self.levels[parent].assign_ids(self.levels[child].ids)
            for parent, child in pairwise(LEVELS)
        }
        for name, classes in parents.items():
            if np.any(classes < 0):
                raise ValueError(f"{np.sum(classes < 0)} {name} cells lie in no coarser cell")
        object.__setattr__(self, "parents", parents)

    @property
    def levels(self) -> dict[str, Cells]:
        """The cells of each level by its name, coarse first."""
        return {"coarse": self.coarse, "middle": self.middle, "fine": self.fine}

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (hex) over the sorted tokens of the levels: same classes, same fingerprint."""
        text = "\n".join(" ".join([name, *cells.tokens]) for name, cells in self.levels.items())
        return hashlib.sha256(text.encode()).hexdigest()

    def assign(self, lat: npt.ArrayLike, lon: npt.ArrayLike) -> np.ndarray:
        """Classes int64 (N, 3), coarse, middle, fine, of positions in degrees (N,); -1 = none.

        Raises:
            ValueError: a position is NaN or out of range.
        """
        return self.assign_ids(s2.cell_ids(lat, lon))

    def assign_ids(self, leaves: np.ndarray) -> np.ndarray:
        """Classes int64 (N, 3), coarse, middle, fine, of leaf ids uint64 (N,); -1 = none."""
        starts, classes = self._segments
        result = np.empty((len(leaves), len(LEVELS)), np.int64)
        for start in range(0, len(leaves), CHUNK):
            piece = slice(start, start + CHUNK)
            segment = np.searchsorted(starts, leaves[piece], side="right") - 1
            np.take(classes, segment, axis=0, out=result[piece], mode="clip")
        return result

    def fine_ancestors(self) -> np.ndarray:
        """Classes int64 (C_fine, 3), coarse, middle, fine, of every fine cell."""
        middle = self.parents["fine"]
        return np.stack([self.parents["middle"][middle], middle, np.arange(len(self.fine))], axis=1)

    @cached_property
    def _segments(self) -> tuple[np.ndarray, np.ndarray]:
        """Stretches of leaf ids that have one class on each level: their starts, their classes.

        One binary search over them answers for all three levels.
        """
        ids = np.concatenate([cells.ids for cells in self.levels.values()])
        after = s2.range_max(ids) + np.uint64(1)
        starts = np.unique(np.concatenate([np.zeros(1, np.uint64), s2.range_min(ids), after]))
        classes = [cells.assign_ids(starts) for cells in self.levels.values()]
        return starts, np.stack(classes, axis=1)


def build_partition(
    lat: npt.ArrayLike,
    lon: npt.ArrayLike,
    t: Mapping[str, tuple[int, int]] = T_DEFAULT,
    min_level: int = 2,
    max_level: int = s2.MAX_LEVEL,
    source_sha256: str = "",
) -> Partition:
    """Build the three levels from positions in degrees (N,), sorting their leaf ids once.

    Args:
        lat: latitudes.
        lon: longitudes.
        t: (t_min, t_max) of each level.
        min_level: S2 level to start at.
        max_level: S2 level whose cells are not split.
        source_sha256: of the file of positions, kept with the partition.

    Raises:
        ValueError: a position is NaN or out of range; the thresholds cannot nest; a level is left
            without a cell.
    """
    return build_partition_from_ids(s2.cell_ids(lat, lon), t, min_level, max_level, source_sha256)


def build_partition_from_ids(
    leaves: np.ndarray,
    t: Mapping[str, tuple[int, int]] = T_DEFAULT,
    min_level: int = 2,
    max_level: int = s2.MAX_LEVEL,
    source_sha256: str = "",
) -> Partition:
    """`build_partition` for leaf ids uint64 (N,) in any order."""
    check_partition_thresholds(t, min_level, max_level)
    leaves = np.sort(leaves)
    sums = vector_sums(leaves)
    cells = {
        name: build_from_leaves(leaves, sums, *t[name], min_level, max_level) for name in LEVELS
    }
    for name, level in cells.items():
        if not len(level):
            raise ValueError(
                f"no {name} cell: none of the cells of {len(leaves)} photos holds t_min "
                f"{level.t_min} of them; lower t_min or bring more photos"
            )
    return Partition(**cells, source_sha256=source_sha256)


def check_partition_thresholds(
    t: Mapping[str, tuple[int, int]], min_level: int, max_level: int
) -> None:
    """Raise a ValueError unless cells built with these (t_min, t_max) lie within each other.

    A fine cell's ancestors all hold at least its photos, and one of them is where the coarser level
    stops splitting; so it needs a t_max no smaller, to stop no later, and a t_min no larger, to
    keep that ancestor.
    """
    if set(t) != set(LEVELS):
        raise ValueError(f"thresholds are needed for {', '.join(LEVELS)}, not {', '.join(t)}")
    for name in LEVELS:
        check_thresholds(*t[name], min_level, max_level)
    for parent, child in pairwise(LEVELS):
        if t[parent][0] > t[child][0] or t[parent][1] < t[child][1]:
            raise ValueError(
                f"{child} cells {t[child]} would not nest in {parent} cells {t[parent]}: "
                f"t_min must not fall and t_max must not rise from {parent} to {child}"
            )


def save(partition: Partition, path: str | Path) -> None:
    """Write `cells.parquet`, whole or not at all."""
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        pq.write_table(_table(partition), temporary)


def _table(partition: Partition) -> "pa.Table":
    import pyarrow as pa

    levels = partition.levels
    parents = [np.full(len(partition.coarse), NO_CLASS), *partition.parents.values()]
    columns = {
        "level": np.repeat(LEVELS, [len(cells) for cells in levels.values()]),
        "class_id": np.concatenate([np.arange(len(cells)) for cells in levels.values()]),
        "parent_class_id": np.concatenate(parents),
    }
    for name, attribute in (("token", "tokens"), ("photos",) * 2, ("lat",) * 2, ("lon",) * 2):
        columns[name] = np.concatenate([getattr(cells, attribute) for cells in levels.values()])
    facts = {
        "t": {name: [cells.t_min, cells.t_max] for name, cells in levels.items()},
        "source_sha256": partition.source_sha256,
        "fingerprint": partition.fingerprint,
    }
    table = pa.table({name: columns[name] for name in COLUMNS})
    return table.replace_schema_metadata({METADATA_KEY: json.dumps(facts).encode()})


def load(path: str | Path) -> Partition:
    """Read and check `cells.parquet`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no cells.parquet of this project, or its cells are altered, out of
            order, overlapping or not nested.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # ParquetFile and to_pylist: read_table and to_numpy would import pandas, 0.3 s and more.
        # From memory and in one thread: reading a file, Arrow starts a thread of its own, and a
        # program that ends before that is up is aborted (https://github.com/apache/arrow/issues/34314).
        data = pa.BufferReader(Path(path).read_bytes())
        table = pq.ParquetFile(data).read(use_threads=False)
        facts = json.loads((table.schema.metadata or {})[METADATA_KEY])
        columns = {name: np.array(table[name].to_pylist()) for name in COLUMNS}
        return _checked(columns, facts)
    except (pa.ArrowException, LookupError, TypeError, ValueError, ArithmeticError,
            AttributeError, RecursionError) as error:  # fmt: skip
        raise ValueError(
            f"{path}: not a usable cells.parquet ({error}); "
            "make one with `python -m partitioning.assign_classes`"
        ) from error


def _checked(columns: dict[str, np.ndarray], facts: dict) -> Partition:
    """The partition of a file's columns and metadata, once they agree with each other."""
    cells = {name: _checked_level(columns, name, facts["t"][name]) for name in LEVELS}
    if sum(map(len, cells.values())) != len(columns["level"]):
        raise ValueError(f"a level other than {', '.join(LEVELS)}")
    partition = Partition(**cells, source_sha256=str(facts["source_sha256"]))
    for name, parents in partition.parents.items():
        if np.any(columns["parent_class_id"][columns["level"] == name] != parents):
            raise ValueError(f"{name} cells name parents that do not hold them")
    if partition.fingerprint != facts["fingerprint"]:
        raise ValueError("its cells are not those of its fingerprint")
    return partition


def _checked_level(columns: dict[str, np.ndarray], name: str, t: list[int]) -> Cells:
    here = columns["level"] == name
    ids = s2.from_tokens(columns["token"][here])
    if not len(ids):
        raise ValueError(f"no {name} cells")
    if np.any(columns["class_id"][here] != np.arange(len(ids))):
        raise ValueError(f"{name} class ids are not 0, 1, 2, ...")
    if np.any(s2.range_max(ids[:-1]) >= s2.range_min(ids[1:])):
        raise ValueError(f"{name} cells are out of order or overlap")
    lat, lon = (columns[axis][here].astype(np.float64) for axis in ("lat", "lon"))
    check_positions(lat, lon)
    photos = columns["photos"][here].astype(np.int64)
    return Cells(ids, photos, lat, lon, t_min=int(t[0]), t_max=int(t[1]))
