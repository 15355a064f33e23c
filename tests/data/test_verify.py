"""Every lost or altered sample is found and named."""

import io
import shutil
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.sharding.header_check import hash_and_check
from data.sharding.index_tables import MANIFEST_SCHEMA, sha256
from data.sharding.scan import scan
from data.shards import Index, build_index, verify

COUNT, PER_SHARD = 24, 8
KEYS = [f"photo_{i:03d}" for i in range(COUNT)]


@pytest.fixture
def folder(write_shards):
    return write_shards(COUNT, PER_SHARD)


def spans(folder):
    """Key -> first and last byte of its members, headers included."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key = member.name.split(".")[0]
                low, high = found.get(key, (path.name, member.offset, 0))[1:]
                found[key] = (path.name, min(low, member.offset), member.offset_data + member.size)
                assert high <= found[key][2]
    return found


def damage(path, at, data):
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    path.write_bytes(content)


def test_all_well(folder):
    report = verify(folder)
    assert report.ok
    assert report.problems == []
    assert (report.shards, report.samples) == (3, COUNT)
    assert str(report) == "24 whole samples in 3 shards; all well"


@pytest.mark.parametrize("part", [0.0, 0.2, 0.4, 0.6, 0.8, 0.93])
def test_garbage_names_every_sample_it_touches(part, folder):
    path = folder / "shard-000001.tar"
    at = int(path.stat().st_size * part)
    end = at + 4096
    hit = {
        key
        for key, (shard, low, high) in spans(folder).items()
        if shard == path.name and low < end and at < high
    }
    whole = COUNT - len(hit)
    damage(path, at, np.random.default_rng(1).bytes(4096))
    report = verify(folder)
    named = set(report.keys("lost", "altered", "damaged"))
    assert not report.ok
    assert named == hit
    assert report.samples >= whole
    assert any(p.shard == path.name for p in report.problems)


def test_every_truncation_names_the_lost(folder):
    path = folder / "shard-000002.tar"
    content = path.read_bytes()
    places = spans(folder)
    for cut in (0, 1, 700, len(content) // 3, len(content) // 2, len(content) - 12_000):
        path.write_bytes(content[:cut])
        report = verify(folder)
        gone = {k for k, (shard, _, high) in places.items() if shard == path.name and high > cut}
        assert set(report.keys("lost", "altered")) == gone
        assert report.samples == COUNT - len(gone)
        assert not report.ok
        with pytest.raises(ValueError, match=r"shard-000002\.tar has .*verify"):
            Index.open(folder)


def test_a_cut_end_mark_is_noticed(folder):
    path = folder / "shard-000002.tar"
    path.write_bytes(path.read_bytes()[:-1024])
    report = verify(folder)
    assert not report.ok
    assert report.samples == COUNT


def test_missing_shard_names_its_samples(folder):
    (folder / "shard-000001.tar").unlink()
    report = verify(folder)
    assert report.keys("lost") == KEYS[8:16]
    assert report.samples == 16
    with pytest.raises(ValueError, match=r"shard-000001\.tar is missing"):
        Index.open(folder)


def test_extra_shard(folder):
    shutil.copy(folder / "shard-000000.tar", folder / "shard-000009.tar")
    report = verify(folder)
    assert [(p.kind, p.shard) for p in report.problems] == [("extra", "shard-000009.tar")]
    assert not report.ok


@pytest.mark.parametrize("victim", [0, 7, 9, 22])
@pytest.mark.parametrize("extension", ["jpg", "json", "seg.png"])
def test_one_flipped_bit_names_its_sample(victim, extension, folder):
    key = KEYS[victim]
    path = folder / f"shard-{victim // PER_SHARD:06d}.tar"
    with tarfile.open(path) as tar:
        member = tar.getmember(f"{key}.{extension}")
    at = member.offset_data + member.size // 2
    damage(path, at, bytes([path.read_bytes()[at] ^ 1]))
    report = verify(folder)
    assert [(p.kind, p.key) for p in report.problems] == [("altered", key)]
    assert report.samples == COUNT - 1


def test_a_flipped_bit_in_the_padding(folder):
    path = folder / "shard-000000.tar"
    damage(path, path.stat().st_size - 5, b"\x01")
    report = verify(folder)
    assert not report.ok
    assert report.keys("lost", "altered") == []


def pack(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_dotted_keys_are_lost_not_ignored(tmp_path, jpeg):
    place = b'{"lat": 1, "lon": 2}'
    dotted = ("img.1", "img.2", "v1.0.photo")
    members = [
        (f"{key}{end}", data)
        for key in dotted
        for end, data in ((".jpg", jpeg()), (".json", place))
    ]
    plain = [("good.jpg", jpeg()), ("good.json", place), ("good.depth.png", b"x")]
    pack(tmp_path / "a.tar", [*members, *plain, ("img.1.seg.png", b"y"), ("notes.txt", b"z")])
    for report in (build_index(tmp_path), verify(tmp_path)):
        assert report.keys("lost") == ["img.1", "img.2", "v1.0.photo"]
        assert report.keys("ignored") == ["good", "notes"]
        assert report.samples == 1
        assert not report.ok
        assert "safe_key" in str(next(p for p in report.problems if p.kind == "lost"))


@pytest.fixture
def walks(monkeypatch):
    """The shards that verify walks header by header, because reading once did not settle them."""
    walked = []

    def walk(tar, shard):
        walked.append(shard)
        return scan(tar, shard)

    monkeypatch.setattr("data.verify.scan", walk)
    return walked


def test_only_doubtful_shards_are_walked(folder, walks):
    assert verify(folder).ok
    assert walks == []
    damage(folder / "shard-000001.tar", 3000, b"?")
    assert not verify(folder).ok
    assert walks == ["shard-000001.tar"]


def list_anew(folder):
    """Make the manifest say that the shards are as they are now: as if they had always been."""
    rows = [
        {
            **row,
            "bytes": (folder / row["shard"]).stat().st_size,
            "sha256": sha256(folder / row["shard"]),
        }
        for row in pq.read_table(folder / "manifest.parquet").to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(rows, MANIFEST_SCHEMA), folder / "manifest.parquet")


@pytest.mark.parametrize(
    ("at", "data"),
    [(0, b"x"), (124, b"7"), (135, b"1"), (156, b"5"), (99, b"x"), (-3, b"x"), (-1025, b"x")],
    ids=["name", "length", "length's end", "kind", "end of name", "end", "before the end"],
)
def test_a_manifest_made_after_the_damage_hides_nothing(at, data, folder, walks):
    """A header, or what follows the last member, that is not as the index says is looked into."""
    path = folder / "shard-000001.tar"
    with tarfile.open(path) as tar:
        start = tar.getmember("photo_010.json").offset
    damage(path, start + at if at >= 0 else path.stat().st_size + at, data)
    list_anew(folder)
    hides = data == b"1"  # the blank after a length may be any
    report = verify(folder)
    assert walks == ([] if hides else ["shard-000001.tar"])
    if 0 <= at != 135:
        assert not report.ok


def test_index_rows_that_are_not_the_shards(folder, walks):
    """Whole shards, but an index that was changed: every kind of change is noticed."""
    table = pq.read_table(folder / "index.parquet")
    for name, row in (("key", 3), ("jpg_offset", 9), ("json_length", 20)):
        column = table[name].to_pylist()
        column[row] = "other" if name == "key" else column[row] + 1
        changed = table.set_column(table.column_names.index(name), name, [column])
        pq.write_table(changed.cast(table.schema), folder / "index.parquet")
        walks.clear()
        report = verify(folder)
        assert walks == [table["shard"][row].as_py()], name
        assert {p.key for p in report.problems} <= {KEYS[row], "other"}
        assert not report.ok
    pq.write_table(table.take(list(range(COUNT))[::-1]), folder / "index.parquet")
    walks.clear()
    assert verify(folder).ok, "rows in another order are no fault"
    assert walks == []


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_find_the_same(workers, folder):
    damage(folder / "shard-000000.tar", 9000, bytes(4096))
    (folder / "shard-000002.tar").unlink()
    shards = []
    report = verify(folder, shards.append, workers)
    assert report.problems == verify(folder).problems
    assert shards == [f"shard-{i:06d}.tar" for i in range(3)]
    assert set(KEYS[16:]) <= set(report.keys("lost"))


def test_a_shard_that_cannot_be_read(folder, monkeypatch):
    def fail(path, rows):
        if path.name == "shard-000001.tar":
            raise OSError(5, "Input/output error")
        return hash_and_check(path, rows)

    monkeypatch.setattr("data.verify.hash_and_check", fail)
    report = verify(folder)
    assert report.keys("lost") == KEYS[8:16]
    assert "cannot be read: Input/output error" in str(report.problems[0])


def test_duplicate_keys(folder):
    path = folder / "shard-000000.tar"
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("photo_003.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    assert verify(folder).keys("duplicate") == ["photo_003"]
    report = build_index(folder)  # says so, and keeps the first
    assert report.keys("duplicate") == ["photo_003"]
    assert report.samples == COUNT
    shutil.copy(folder / "shard-000001.tar", folder / "shard-000005.tar")
    report = build_index(folder)
    assert report.keys("duplicate") == sorted(["photo_003", *KEYS[8:16]])
    assert len(Index.open(folder)) == COUNT


def test_duplicate_rows_of_the_index(folder):
    table = pq.read_table(folder / "index.parquet")
    pq.write_table(pa.concat_tables([table, table.slice(5, 1)]), folder / "index.parquet")
    report = verify(folder)
    assert report.keys("duplicate") == ["photo_005"]
    assert not report.ok


def test_a_shortened_index_is_noticed(folder):
    table = pq.read_table(folder / "index.parquet")
    pq.write_table(table.slice(0, 20), folder / "index.parquet")
    report = verify(folder)
    assert report.keys("extra") == KEYS[20:]
    assert not report.ok


def test_sample_without_metadata_is_lost_not_silent(tmp_path, jpeg):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in (
            ("whole.jpg", jpeg()),
            ("whole.json", b'{"lat": 1, "lon": 2}'),
            ("bare.jpg", jpeg()),
            ("swapped.jpg", jpeg()),
            ("swapped.json", b'{"lat": 120, "lon": 2}'),
            ("broken.jpg", jpeg()),
            ("broken.json", b"{"),
            ("alone.json", b'{"lat": 1, "lon": 2}'),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    report = build_index(tmp_path)
    assert report.keys("lost") == ["alone", "bare", "broken", "swapped"]
    assert Index.open(tmp_path).keys() == ["whole"]
