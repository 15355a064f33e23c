"""Shards written in parallel parts and joined: the same folder as one writer makes."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from data.seg_maps.classes import SegClasses
from data.sharding import part as shard_part
from data.sharding.index_tables import read_seg_classes
from data.sharding.part import ShardPart, join_parts, part_is_done
from data.shards import Index, ShardWriter, verify

CLASSES = SegClasses(("sky", "road"), ((0, 0, 255), (90, 90, 90)), "a test")


def name_of(number):
    return f"shard-{number:06d}.tar"


@pytest.fixture
def write_part(jpeg):
    def write(folder, number, keys=None):
        with ShardPart(folder, name_of(number)) as part:
            for i in range(4) if keys is None else keys:
                part.write(f"p{number}_{i}", jpeg(seed=i), {"lat": number, "lon": i})

    return write


def test_joined_parts_are_what_one_writer_makes(tmp_path, write_part, jpeg):
    for number in (2, 0, 1):  # in any order
        write_part(tmp_path / "parts", number)
    assert join_parts(tmp_path / "parts") == 12
    with ShardWriter(tmp_path / "one", samples_per_shard=4) as writer:
        for number in range(3):
            for i in range(4):
                writer.write(f"p{number}_{i}", jpeg(seed=i), {"lat": number, "lon": i})
    ours = {path.name: path.read_bytes() for path in (tmp_path / "parts").iterdir()}
    assert ours == {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert verify(tmp_path / "parts").ok


def test_an_empty_part_counts_as_done_and_has_no_shard(tmp_path, write_part):
    write_part(tmp_path, 0)
    write_part(tmp_path, 1, keys=[])
    assert part_is_done(tmp_path, name_of(1))
    assert join_parts(tmp_path) == 4
    assert len(Index.open(tmp_path).manifest) == 1


def test_a_part_is_done_only_when_whole(tmp_path, write_part, jpeg):
    assert not part_is_done(tmp_path, name_of(0))
    write_part(tmp_path, 0)
    assert part_is_done(tmp_path, name_of(0))
    with (tmp_path / name_of(0)).open("ab") as tar:
        tar.write(b"x")
    assert not part_is_done(tmp_path, name_of(0))
    with pytest.raises(ValueError, match="not finished; run the command"):
        join_parts(tmp_path)
    (tmp_path / name_of(0)).unlink()
    assert not part_is_done(tmp_path, name_of(0))


def _write_and_fail(part, jpg):
    part.write("a", jpg, {"lat": 0, "lon": 0})
    raise ZeroDivisionError


def test_an_error_leaves_no_part(tmp_path, write_part, jpeg):
    with pytest.raises(ZeroDivisionError), ShardPart(tmp_path, name_of(0)) as part:
        _write_and_fail(part, jpeg())
    assert list(tmp_path.iterdir()) == []
    write_part(tmp_path, 0)
    with pytest.raises(ValueError, match="swapped"), ShardPart(tmp_path, name_of(0)) as part:
        part.write("a", jpeg(), {"lat": 120, "lon": 10})
    assert not part_is_done(tmp_path, name_of(0))  # it was to be replaced, and was not


def test_one_key_in_two_parts_is_refused_by_name(tmp_path, jpeg):
    for number in range(2):
        with ShardPart(tmp_path, name_of(number)) as part:
            part.write("same", jpeg(), {"lat": 0, "lon": 0})
    with pytest.raises(ValueError, match="1 keys are there twice: same"):
        join_parts(tmp_path)
    assert not (tmp_path / "manifest.parquet").exists()


def test_a_join_stopped_while_it_tidies_up_is_finished_by_the_next(tmp_path, write_part):
    for number in range(3):
        write_part(tmp_path, number)
    tables = {path: path.read_bytes() for path in tmp_path.glob(f"*{shard_part.PART}")}
    join_parts(tmp_path, CLASSES)
    joined = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    last = max(tables)
    last.write_bytes(tables[last])  # the one that was not removed any more
    assert join_parts(tmp_path) == 12
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == joined
    assert join_parts(tmp_path) == 12


def test_no_part_and_damaged_tables(tmp_path, write_part):
    with pytest.raises(ValueError, match="no part was finished"):
        join_parts(tmp_path)
    write_part(tmp_path, 0)
    table = tmp_path / f"shard-000000{shard_part.PART}"
    table.write_bytes(b"garbage")
    with pytest.raises(ValueError, match="not finished"):
        join_parts(tmp_path)
    pq.write_table(_strange(), table)
    assert not part_is_done(tmp_path, name_of(0))


def _strange():
    import pyarrow as pa

    return pa.table({"a": [1]}).replace_schema_metadata({shard_part.ROW: json.dumps({"a": 1})})


def test_the_classes_of_maps_travel_in_the_manifest(tmp_path, write_part):
    write_part(tmp_path, 0)
    join_parts(tmp_path, CLASSES)
    assert read_seg_classes(tmp_path) == CLASSES
    assert len(Index.open(tmp_path)) == 4


def test_classes_survive_text_and_bad_ones_are_refused(tmp_path, write_part):
    assert SegClasses.from_json(CLASSES.to_json()) == CLASSES
    for names, palette, what in (
        ((), (), "0 classes"),
        (("a",), (), "0 colours for 1"),
        (("a",), ((0, 0, 256),), "no RGB colour"),
        (("a",) * 257, ((0, 0, 0),) * 257, "257 classes"),
    ):
        with pytest.raises(ValueError, match=what):
            SegClasses(names, palette)
    for text in ("", "[]", "null", '{"names": 3}', "[" * 100_000):
        with pytest.raises(ValueError, match="not a table of segmentation classes"):
            SegClasses.from_json(text)
    write_part(tmp_path, 0)
    join_parts(tmp_path)
    assert read_seg_classes(tmp_path) is None


WRITE = """
import sys
from data.sharding.part import ShardPart
jpg = open(sys.argv[2], "rb").read()
for number in range(10_000):
    with ShardPart(sys.argv[1], f"shard-{number:06d}.tar") as part:
        for i in range(5):
            part.write(f"p{number}_{i}", jpg, {"lat": 0, "lon": 0})
"""


def test_killed_at_any_moment_what_is_done_is_whole(tmp_path, jpeg):
    photo, folder = tmp_path / "p.jpg", tmp_path / "shards"
    photo.write_bytes(jpeg())
    command = [sys.executable, "-c", WRITE, str(folder), str(photo)]
    writer = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": "."})
    while len(list(folder.glob(f"*{shard_part.PART}"))) < 5:
        time.sleep(0.01)
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    names = sorted(path.name for path in folder.glob("*.tar"))
    done = [name for name in names if part_is_done(folder, name)]
    assert len(names) - 1 <= len(done) <= len(names)
    for name in set(names) - set(done):
        (folder / name).unlink()
    for left in folder.glob("*.tmp"):
        left.unlink()
    assert join_parts(folder) == 5 * len(done)
    assert verify(folder).ok
