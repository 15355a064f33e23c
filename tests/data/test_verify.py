"""Every lost or altered sample is found and named."""

import io
import shutil
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
