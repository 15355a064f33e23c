"""The index's columns: equal to the plain table, narrow, and mistrusted."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.sharding.index_columns import IndexColumns
from data.shards import Index


@pytest.fixture
def path(write_shards):
    return write_shards(20, 8, height=16, width=16) / "index.parquet"


def change(path, name, row, value):
    table = pq.read_table(path)
    column = table[name].to_pylist()
    column[row] = value
    column = pa.array(column, table.schema.field(name).type)
    pq.write_table(table.set_column(table.column_names.index(name), name, column), path)


@pytest.mark.parametrize("rows_in_a_group", [3, 1000])
def test_equals_the_table(rows_in_a_group, path):
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=rows_in_a_group)
    columns = IndexColumns(path)
    assert len(columns) == 20
    for name in ("lat", "scene", "crc32", "jpg_offset"):
        numbers = columns.numbers(name)
        assert numbers.tolist() == table[name].to_pylist()
    codes, names = columns.codes("shard")
    assert [names[code] for code in codes] == table["shard"].to_pylist()
    assert len(names) == 3
    assert columns.column("key").to_pylist() == table["key"].to_pylist()
    offsets, lengths = columns.spans(codes, np.full(3, 10**9))
    for i, member in enumerate(("jpg", "json", "seg")):
        assert offsets[:, i].tolist() == table[f"{member}_offset"].to_pylist()
        assert lengths[:, i].tolist() == table[f"{member}_length"].to_pylist()


def test_rows_in_any_order(path):
    pq.write_table(pq.read_table(path).take([7, 19, 0, 12, 3]), path)
    index = Index.open(path.parent)
    assert [index.read(row).key for row in range(5)] == [
        f"photo_{i:03d}" for i in (7, 19, 0, 12, 3)
    ]


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("jpg_offset", 2**40, "row 5: its jpg lies outside its shard"),
        ("jpg_length", 2**40, "row 5: its jpg lies outside its shard"),
        ("seg_offset", -7, "row 5: its seg lies outside its shard"),
        ("json_length", -2, "row 5: its json lies outside its shard"),
        ("json_offset", 2**63 - 1, "row 5: its json lies outside its shard"),
        ("lat", None, "column lat has empty fields"),
        ("shard", "other.tar", "samples in other.tar, which the manifest does not know"),
        ("shard", "../a.tar", "names files outside its folder"),
    ],
)
def test_hostile_fields(name, value, what, path):
    change(path, name, 5, value)
    with pytest.raises(ValueError, match=what) as error:
        Index.open(path.parent)
    assert "index.parquet" in str(error.value)
    assert "data.shards index" in str(error.value)


def test_other_tables(path):
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["seg_length", "lon"]), path)
    with pytest.raises(ValueError, match="no column seg_length, lon"):
        Index.open(path.parent)
    shards = pa.chunked_array([pa.array(range(20))])
    pq.write_table(table.set_column(1, "shard", shards), path)
    with pytest.raises(ValueError, match=r"index\.parquet"):
        Index.open(path.parent)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="not the table of shards"):
        Index.open(path.parent)
    path.unlink()
    with pytest.raises(ValueError, match=r"no index\.parquet in .*data\.shards index"):
        Index.open(path.parent)
