"""Shards: written deterministically, read by webdataset and the other way round."""

import io
import json
import subprocess
import sys
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from data.seg_maps.classes import SegClasses
from data.sharding.index_tables import read_seg_classes
from data.shards import Index, ShardWriter, build_index, main

GOOD = {"lat": 1.0, "lon": 2.0}


def read_all(folder):
    index = Index.open(folder)
    return [index.read(i) for i in range(len(index))]


def test_what_is_written_is_read(write_shards, jpeg):
    folder = write_shards(20, 8)
    assert sorted(p.name for p in folder.iterdir()) == [
        "index.parquet",
        "manifest.parquet",
        "shard-000000.tar",
        "shard-000001.tar",
        "shard-000002.tar",
    ]
    samples = read_all(folder)
    assert [s.key for s in samples] == [f"photo_{i:03d}" for i in range(20)]
    for i, sample in enumerate(samples):
        assert sample.jpg == jpeg(96, 128, i)
        assert (sample.seg_png is None) == (i % 3 == 2)
        assert (sample.json["lat"], sample.json["lon"]) == (-60.0 + i, 100.0 + i)
    index = Index.open(folder)
    np.testing.assert_array_equal(index.lat, np.arange(20) - 60.0)
    np.testing.assert_array_equal(index.scene, [i % 3 for i in range(20)])
    assert index.read_images(4) == (samples[4].jpg, samples[4].seg_png)
    with pytest.raises(IndexError, match="20 samples"):
        index.read(20)
    assert pq.read_table(folder / "manifest.parquet")["samples"].to_pylist() == [8, 8, 4]


def test_same_samples_same_bytes(write_shards):
    first, second = write_shards(name="one"), write_shards(name="two")
    for path in first.iterdir():
        if path.suffix == ".tar":
            assert path.read_bytes() == (second / path.name).read_bytes()
            with tarfile.open(path) as tar:
                assert {(m.mtime, m.uid, m.gid, m.uname) for m in tar} == {(0, 0, 0, "")}


def test_webdataset_reads_ours(write_shards):
    folder = write_shards(20, 8)
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    theirs = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(theirs) == 20
    for ours, sample in zip(read_all(folder), theirs, strict=True):
        assert sample["__key__"] == ours.key
        assert sample["jpg"] == ours.jpg
        assert sample.get("seg.png") == ours.seg_png
        assert json.loads(sample["json"]) == ours.json


def test_we_read_webdatasets(tmp_path, jpeg):
    for shard in range(2):
        with webdataset.TarWriter(str(tmp_path / f"wds-{shard}.tar")) as writer:
            for i in range(5):
                key, place = f"s{shard}_{i}", {"lat": i + 0.5, "lon": -float(shard)}
                writer.write({"__key__": key, "jpg": jpeg(seed=i), "json": place, "cls": 3})
    report = build_index(tmp_path)
    assert (report.shards, report.samples, report.ok) == (2, 10, True)
    assert len(report.keys("ignored")) == 10  # the .cls members
    samples = read_all(tmp_path)
    assert [s.key for s in samples] == [f"s{shard}_{i}" for shard in range(2) for i in range(5)]
    assert all(s.jpg == jpeg(seed=int(s.key[-1])) for s in samples)
    assert Index.open(tmp_path).lat.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5] * 2


def test_rebuilt_index_equals_the_written(write_shards):
    folder = write_shards()
    names = ("index.parquet", "manifest.parquet")
    written = [pq.read_table(folder / name) for name in names]
    assert build_index(folder).ok
    assert [pq.read_table(folder / name) for name in names] == written


def test_refused_samples_leave_no_trace(tmp_path, jpeg, encode):
    seg = encode(np.zeros((96, 127), np.uint8))
    with ShardWriter(tmp_path / "s") as writer:
        writer.write("good", jpeg(), GOOD)
        for arguments, what in (
            (("a.b", jpeg(), GOOD), r"'a\.b': id with a dot or slash.*safe_key"),
            (("a/b", jpeg(), GOOD), "safe_key"),
            (("good", jpeg(), GOOD), "'good' is written already"),
            (("x", jpeg(), {"lat": 120.0, "lon": 5.0}), r"x: position .*swapped\?"),
            (("x", jpeg(), {"lat": float("nan"), "lon": 5.0}), "x: position .*missing"),
            (("x", jpeg(), {"lat": 1.0}), "x: no lat and lon"),
            (("x", jpeg(), {**GOOD, "heading": float("nan")}), "x: "),
            (("x", jpeg(), {**GOOD, "heading": np.int64(3)}), "x: .*int64"),
            (("x", b"no photo", GOOD), "x: not an image"),
            (("x", b"", GOOD), "x: empty"),
            (("x", jpeg(), GOOD, seg), "x: its segmentation map is 127 x 96, its photo 128 x 96"),
            (("x", jpeg(), GOOD, b"no map"), "x's segmentation map: not an image"),
        ):
            with pytest.raises(ValueError, match=what):
                writer.write(*arguments)
        assert len(writer) == 1
    assert [s.key for s in read_all(tmp_path / "s")] == ["good"]
    with tarfile.open(tmp_path / "s" / "shard-000000.tar") as tar:
        assert tar.getnames() == ["good.jpg", "good.json"]


def test_an_error_leaves_only_whole_shards(tmp_path, jpeg):
    def interrupted():
        with ShardWriter(tmp_path, 2) as writer:
            for i in range(5):
                writer.write(f"p{i}", jpeg(), GOOD)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shard-000000.tar", "shard-000001.tar"]
    with pytest.raises(ValueError, match=r"no manifest\.parquet.*python -m data\.shards index"):
        Index.open(tmp_path)
    with pytest.raises(ValueError, match="holds shards already"):
        ShardWriter(tmp_path)


def test_an_empty_folder_of_shards(tmp_path):
    with ShardWriter(tmp_path / "none"):
        pass
    assert len(Index.open(tmp_path / "none")) == 0
    with pytest.raises(ValueError, match=r"no \*\.tar"):
        build_index(tmp_path)


def test_index_survives_many_shards(write_shards, monkeypatch):
    monkeypatch.setattr("data.index.MAX_OPEN_SHARDS", 2)
    index = Index.open(write_shards(12, 2))
    rows = np.random.default_rng(0).integers(0, 12, 60).tolist()
    assert [index.read(row).key for row in rows] == [f"photo_{row:03d}" for row in rows]
    assert len(index._maps) == 2


def test_index_refuses_hostile_or_damaged_tables(write_shards):
    folder = write_shards(4)
    table = pq.read_table(folder / "index.parquet")
    outside = table.set_column(1, "shard", [["../secret.tar"] * 4])
    pq.write_table(outside, folder / "index.parquet")
    with pytest.raises(ValueError, match="outside its folder"):
        Index.open(folder)
    (folder / "index.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"index\.parquet: not the table"):
        Index.open(folder)


def test_pickled_index_opens_its_own_files(write_shards):
    import pickle

    index = Index.open(write_shards(4))
    index.read(0)
    assert pickle.loads(pickle.dumps(index)).read(2) == index.read(2)


def test_command_line(write_shards, capsys, tmp_path):
    folder = write_shards(8, 4)
    assert main(["verify", str(folder)]) == 0
    assert "8 whole samples in 2 shards; all well" in capsys.readouterr().out
    (folder / "shard-000001.tar").unlink()
    assert main(["verify", str(folder), "--problems", str(tmp_path / "p.csv")]) == 1
    out = capsys.readouterr().out
    assert "photo_004" in out
    assert "4 whole samples" in out
    assert "photo_007" in (tmp_path / "p.csv").read_text()
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no manifest.parquet")
    assert "Traceback" not in error
    assert main(["index", str(folder)]) == 0
    assert main(["verify", str(folder)]) == 0


def test_runs_as_a_module(write_shards):
    done = subprocess.run(
        [sys.executable, "-m", "data.shards", "verify", str(write_shards(3))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "3 whole samples in 1 shards; all well\n")


def test_index_over_damage_finds_all_the_rest(write_shards):
    folder = write_shards(20, 20)
    path = folder / "shard-000000.tar"
    before = {s.key: s for s in read_all(folder)}
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        middle = tar.getmember("photo_010.json").offset - 1000
    data[middle : middle + 4096] = np.random.default_rng(0).bytes(4096)
    path.write_bytes(data)
    report = build_index(folder)
    after = {s.key: s for s in read_all(folder)}
    assert not report.ok
    lost = set(before) - set(after)
    assert lost <= set(report.keys("lost"))
    # Garbage of eight blocks reaches three samples at most; a plain reader stops there.
    assert len(after) >= 17
    plain = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as tar:
            plain = [member.name for member in tar]
    except tarfile.ReadError:
        pass
    assert len(plain) < 2 * len(after)


def test_a_rebuilt_index_keeps_the_classes_of_the_maps(tmp_path, jpeg):
    classes = SegClasses(("sky", "road"), ((0, 0, 255), (90, 90, 90)), "a test")
    with ShardWriter(tmp_path / "shards", seg_classes=classes) as writer:
        writer.write("a", jpeg(), {"lat": 1, "lon": 2})
    assert build_index(tmp_path / "shards").ok
    assert read_seg_classes(tmp_path / "shards") == classes
    (tmp_path / "shards" / "manifest.parquet").write_bytes(b"damaged")
    assert build_index(tmp_path / "shards").ok
    assert read_seg_classes(tmp_path / "shards") is None


@pytest.mark.parametrize("sum_", ["../../victim", "/etc/passwd", "", "A" * 64])
def test_sums_that_are_none_are_refused(write_shards, sum_):
    """Files of a cache are named by them."""
    folder = write_shards(4)
    table = pq.read_table(folder / "manifest.parquet")
    place = table.schema.get_field_index("sha256")
    table = table.set_column(place, "sha256", pa.array([sum_] * len(table)))
    pq.write_table(table, folder / "manifest.parquet")
    with pytest.raises(ValueError, match="sums that are no SHA-256"):
        Index.open(folder)


def test_a_hostile_number_costs_one_sample(tmp_path, jpeg, capsys):
    members = [("a", "1"), ("b", "9" * 400)]
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for key, lat in members:
            metadata = f'{{"lat": {lat}, "lon": 2}}'.encode()
            for name, data in ((f"{key}.jpg", jpeg()), (f"{key}.json", metadata)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    report = build_index(tmp_path)
    assert (report.samples, report.keys("lost")) == (1, ["b"])


def test_problems_are_listed_whatever_the_names(tmp_path, jpeg):
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for name in ("a.jpg", "caf\udce9.jpg"):
            data = jpeg()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert main(["index", str(tmp_path), "--problems", str(tmp_path / "p.csv")]) == 1
    assert len((tmp_path / "p.csv").read_text().splitlines()) >= 3
