"""Three nested levels: naive oracle, reproducible, saved and checked."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from partitioning import s2
from partitioning.cells import build
from partitioning.partition import LEVELS, METADATA_KEY, Partition, build_partition, load, save

T = {"coarse": (20, 500), "middle": (20, 200), "fine": (20, 80)}


@pytest.fixture(scope="module")
def partition(towns):
    return build_partition(*towns, T, source_sha256="abc")


def test_each_level_is_built_as_if_alone(partition, towns):
    for name, cells in partition.levels.items():
        alone = build(*towns, *T[name])
        for column in ("ids", "photos", "lat", "lon"):
            np.testing.assert_array_equal(getattr(cells, column), getattr(alone, column))
        assert (cells.t_min, cells.t_max) == T[name]
    assert len(partition.coarse) < len(partition.middle) < len(partition.fine)


def test_every_cell_lies_in_its_parent(partition):
    for child, parent in (("middle", "coarse"), ("fine", "middle")):
        for row, parent_class in enumerate(partition.parents[child].tolist()):
            inner = partition.levels[child].ids[row : row + 1]
            outer = partition.levels[parent].ids[parent_class : parent_class + 1]
            assert s2.parents(inner, int(s2.levels(outer)[0])) == outer
    ancestors = partition.fine_ancestors()
    assert ancestors.shape == (len(partition.fine), 3)
    assert ancestors[:, 2].tolist() == list(range(len(partition.fine)))
    np.testing.assert_array_equal(partition.parents["middle"][ancestors[:, 1]], ancestors[:, 0])


def test_classes_are_those_of_each_level(partition, towns, positions):
    elsewhere = positions(3000, seed=9)
    for lat, lon in (towns, elsewhere, (np.array([90, -90.0, 0]), np.array([0.0, 0, 180]))):
        classes = partition.assign(lat, lon)
        assert classes.dtype == np.int64
        for column, name in enumerate(LEVELS):
            np.testing.assert_array_equal(
                classes[:, column], partition.levels[name].assign(lat, lon)
            )
    in_fine = partition.assign(*towns)
    in_fine = in_fine[in_fine[:, 2] >= 0]
    np.testing.assert_array_equal(partition.fine_ancestors()[in_fine[:, 2]], in_fine)
    assert partition.assign([], []).shape == (0, 3)


def test_partition_does_not_depend_on_the_order_of_photos(partition, towns):
    lat, lon = towns[0][::-1], towns[1][::-1]
    other = build_partition(lat, lon, T)
    assert other.fingerprint == partition.fingerprint
    np.testing.assert_array_equal(other.fine.lat, partition.fine.lat)


def test_fingerprint_tells_partitions_apart(partition, towns):
    assert build_partition(*towns, T | {"fine": (20, 60)}).fingerprint != partition.fingerprint


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fine": (20, 201)}, "fine cells .* would not nest in middle"),
        ({"coarse": (21, 500)}, "middle cells .* would not nest in coarse"),
        ({"fine": (90, 80)}, "t_min 90 and t_max 80"),
    ],
)
def test_thresholds_that_cannot_nest_are_refused(towns, changed, message):
    with pytest.raises(ValueError, match=message):
        build_partition(*towns, T | changed)
    with pytest.raises(ValueError, match="thresholds are needed for coarse, middle, fine"):
        build_partition(*towns, {"fine": (1, 2)})


def test_too_few_photos_for_a_cell_is_an_error():
    with pytest.raises(ValueError, match="no coarse cell: none of the cells of 3 photos"):
        build_partition([1.0, 2, 3], [1.0, 2, 3])


def test_levels_that_do_not_nest_are_refused(partition):
    coarse = build([-80.0] * 30, [5.0] * 30, 20, 500)
    with pytest.raises(ValueError, match="lie in no coarser cell"):
        Partition(coarse, partition.middle, partition.fine)


def test_saved_and_loaded_is_the_same(partition, tmp_path):
    save(partition, tmp_path / "new" / "cells.parquet")
    loaded = load(tmp_path / "new" / "cells.parquet")
    for name, cells in partition.levels.items():
        for column in ("ids", "photos", "lat", "lon", "t_min", "t_max"):
            np.testing.assert_array_equal(
                getattr(loaded.levels[name], column), getattr(cells, column)
            )
    assert loaded.fingerprint == partition.fingerprint
    assert loaded.source_sha256 == "abc"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cells.parquet"]


def test_file_is_as_the_contract_says(partition, tmp_path):
    save(partition, tmp_path / "cells.parquet")
    frame = pq.read_table(tmp_path / "cells.parquet").to_pandas()
    assert list(frame) == ["level", "class_id", "token", "photos", "lat", "lon", "parent_class_id"]
    coarse = frame[frame["level"] == "coarse"]
    assert set(coarse["parent_class_id"]) == {-1}
    assert coarse["token"].tolist() == partition.coarse.tokens.tolist()


def test_failed_save_leaves_the_old_file(partition, tmp_path, monkeypatch):
    path = tmp_path / "cells.parquet"
    path.write_bytes(b"old")

    def disk_full(table, where):
        where.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", disk_full)
    with pytest.raises(OSError, match="disk full"):
        save(partition, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def rewritten(path, change):
    """Change the columns of a saved file and keep its metadata."""
    table = pq.read_table(path)
    columns = table.to_pydict()
    change(columns)
    new = pa.table(columns).replace_schema_metadata(table.schema.metadata)
    pq.write_table(new, path)


def swap_first_tokens(columns):
    columns["token"][:2] = columns["token"][1::-1]


def drop_first_row(columns):
    for values in columns.values():
        del values[0]


def rename_level(columns):
    columns["level"][-1] = "finest"


def no_token(columns):
    columns["token"][3] = "zebra"


def other_parent(columns):
    columns["parent_class_id"][-1] = 0


def far_north(columns):
    columns["lat"][0] = 95.0


def finer_cell(columns):
    token = s2.from_tokens(columns["token"][-1:])
    columns["token"][-1] = str(s2.tokens(s2.children(token)[0])[0])


def parent_of_first(columns):
    token = s2.from_tokens(columns["token"][:1])
    columns["token"][1] = str(s2.tokens(s2.parents(token, 1))[0])


def null_photos(columns):
    columns["photos"][0] = None


def without_photos(columns):
    del columns["photos"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap_first_tokens, "out of order"),
        (drop_first_row, "class ids are not 0, 1, 2"),
        (rename_level, "a level other than|parents"),
        (no_token, "'zebra' is no S2 token"),
        (other_parent, "name parents that do not hold them"),
        (far_north, "1 of .* positions"),
        (finer_cell, "fingerprint"),
        (parent_of_first, "out of order or overlap"),
        (null_photos, "NoneType"),
        (without_photos, "photos"),
    ],
)
def test_altered_file_is_refused_by_name(partition, tmp_path, change, message):
    path = tmp_path / "cells.parquet"
    save(partition, path)
    rewritten(path, change)
    with pytest.raises(ValueError, match=rf"cells\.parquet: .*({message}).*assign_classes"):
        load(path)


@pytest.mark.parametrize("metadata", [None, {METADATA_KEY: b"{"}, {METADATA_KEY: b"[]"}])
def test_file_without_our_metadata_is_refused(partition, tmp_path, metadata):
    path = tmp_path / "cells.parquet"
    save(partition, path)
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    with pytest.raises(ValueError, match=r"not a usable cells\.parquet"):
        load(path)


def test_what_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "cells.parquet"
    for content in (b"", b"PAR1", b"id,lat\n1,2\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"not a usable cells\.parquet"):
            load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.parquet")


def test_loading_starts_no_thread(partition, tmp_path):
    """One that is still starting when a program ends aborts it: 13 of 60 runs on a busy machine."""
    save(partition, tmp_path / "cells.parquet")
    code = (
        "import os, sys; import pyarrow.parquet; from partitioning.partition import load\n"
        "def threads(): return len(os.listdir('/proc/self/task'))\n"
        "before = threads(); load(sys.argv[1]); sys.exit(threads() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "cells.parquet"])
    assert done.returncode == 0


def test_loading_imports_neither_pandas_nor_matplotlib(partition, tmp_path):
    """A photo is answered in a fresh process: what it imports is what it costs."""
    save(partition, tmp_path / "cells.parquet")
    code = (
        "import sys; from partitioning.partition import load; load(sys.argv[1]);"
        "sys.exit(bool({'pandas', 'matplotlib', 'torch', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "cells.parquet"])
    assert done.returncode == 0
