"""Msgpack shards of older tools: every photo gets in or is listed, whatever the files hold."""

import csv
import hashlib

import msgpack
import pytest

import setup.packing.import_part
from data.images import decode_rgb
from data.index import Index
from data.sample import image_id
from data.shards import verify
from setup.import_msgpack import import_msgpack, main
from setup.packing.msgpack_samples import Damaged, read_samples


@pytest.fixture
def photo(picture, encode):
    return lambda seed=0: encode(picture(30, 40, seed))


@pytest.fixture
def source(tmp_path, photo):
    """Nine photos in files 0, 2 and 10, written by packers old and new; and their table."""
    folder = tmp_path / "mp16"
    folder.mkdir()
    lines = ["IMG_ID,LAT,LON,S3_Label"]
    for number, shard in enumerate((0, 2, 10)):
        packed = [
            msgpack.packb({"image": photo(i), "id": name(i)}, use_bin_type=shard > 0)
            for i in range(3 * number, 3 * number + 3)
        ]
        (folder / f"shard_{shard}.msg").write_bytes(b"".join(packed))
    lines += [f"{name(i)},{i}.5,-{i},{i % 3}" for i in range(9)]
    (tmp_path / "mp16_places365.csv").write_text("\n".join(lines))
    return folder, tmp_path / "mp16_places365.csv"


def name(i):
    return f"3f/a9/{5136118000 + i}.jpg"


def samples(folder):
    index = Index.open(folder)
    return [index.read(row) for row in range(len(index))]


def refused(folder):
    with (folder / "refused_photos.csv").open(newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def sums(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.*")}


def test_every_file_becomes_a_shard(source, tmp_path, photo):
    done = import_msgpack(source[0], tmp_path / "out", source[1], workers=1)
    assert (done.samples, done.refused) == (9, {})
    tars = sorted(path.name for path in (tmp_path / "out").glob("*.tar"))
    assert tars == ["shard-000000.tar", "shard-000002.tar", "shard-000010.tar"]
    assert verify(tmp_path / "out").ok
    for i, sample in enumerate(samples(tmp_path / "out")):
        assert sample.key == name(i).replace("/", "%2F").replace(".", "%2E")
        assert sample.jpg == photo(i)
        s3 = [float(i % 3 == kind) for kind in range(3)]
        assert sample.json == {"lat": i + 0.5, "lon": -i, "s3": s3}
    assert refused(tmp_path / "out") == []


def test_positions_in_the_samples(tmp_path, photo):
    folder = tmp_path / "in"
    folder.mkdir()
    rows = [{"latitude": 1.5, "longitude": -2}, {"lat": 91.0, "lon": 2.0}, {"lat": "1", "lon": 2.0}]
    data = [{"id": f"p{i}", "image": photo(), **row} for i, row in enumerate(rows)]
    (folder / "shard_0.msg").write_bytes(b"".join(map(msgpack.packb, data)))
    import_msgpack(folder, tmp_path / "out", workers=1)
    assert [(s.key, s.json) for s in samples(tmp_path / "out")] == [("p0", {"lat": 1.5, "lon": -2})]
    reasons = {row[1]: row[2].partition(":")[0] for row in refused(tmp_path / "out")}
    assert reasons == {"p1": "unusable", "p2": "no position"}


def test_what_does_not_get_in_is_listed(source, tmp_path, photo, picture, encode):
    data = [
        {"id": name(0), "image": photo()},  # in an earlier file
        {"id": name(6), "image": photo()},  # in a later file: this one counts
        {"id": name(6), "image": photo(1)},
        {"id": "unknown", "image": photo()},
        {"id": name(7), "image": photo()[:-99]},
        {"id": name(8), "image": encode(picture(), "PNG")},
        {"id": "", "image": photo()},
        {"image": photo()},
        {"id": name(3)},
        [1, 2],
        None,
        {"id": "bad", "image": photo()},
    ]
    (source[0] / "shard_2.msg").write_bytes(b"".join(map(msgpack.packb, data)))
    with source[1].open("a") as file:
        file.write("\nbad,91,2,0\n")
    done = import_msgpack(source[0], tmp_path / "out", source[1], workers=1)
    found = samples(tmp_path / "out")
    assert [image_id(s.key) for s in found] == [name(i) for i in (0, 1, 2, 6, 8, 7)]
    assert decode_rgb(found[4].jpg).shape == picture().shape, "a PNG became a JPEG"
    assert found[4].jpg.startswith(b"\xff\xd8")
    listed = [
        (shard, key, reason.partition(":")[0]) for shard, key, reason in refused(tmp_path / "out")
    ]
    doubled = "id that is there twice"
    assert listed == [
        ("shard_2.msg", name(0), doubled),
        ("shard_2.msg", name(6), doubled),
        ("shard_2.msg", "unknown", "not in the table"),
        ("shard_2.msg", name(7), "undecodable"),
        ("shard_2.msg", "", "missing id"),
        ("shard_2.msg", "", "missing id"),
        ("shard_2.msg", name(3), "no photo in the sample"),
        ("shard_2.msg", "", "not a sample"),
        ("shard_2.msg", "bad", "unusable"),
        ("shard_10.msg", name(6), doubled),
        ("shard_10.msg", name(8), doubled),
    ]
    assert sum(done.refused.values()) == len(listed)
    assert verify(tmp_path / "out").ok


def test_a_file_cut_off_anywhere_tells_what_is_lost(source, tmp_path):
    """At every byte of the last sample's head, and amid it."""
    path = source[0] / "shard_0.msg"
    data = path.read_bytes()
    unpacker = msgpack.Unpacker(raw=True)
    unpacker.feed(data)
    ends = [unpacker.tell() for _ in unpacker]
    for cut in [*range(ends[1] + 1, ends[1] + 30), len(data) - 1]:
        path.write_bytes(data[:cut])
        found = []
        with pytest.raises(Damaged, match=rf"cut off after 2 samples: {cut - ends[1]:,} of its"):
            found.extend(sample.id for sample in read_samples(path))
    path.write_bytes(data[: ends[1]])
    assert [sample.id for sample in read_samples(path)] == [name(0), name(1)]
    path.write_bytes(data[: ends[1] + 5])
    import_msgpack(source[0], tmp_path / "out", source[1], workers=1)
    assert len(samples(tmp_path / "out")) == 8
    ((shard, _, reason),) = refused(tmp_path / "out")
    assert shard == "shard_0.msg"
    assert "cut off after 2 samples: 5 of its" in reason


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xc1",  # no msgpack
        b"\x91" * 5000,  # nested until the stack ends
        b"\xdd\xff\xff\xff\xff",  # a list of four thousand million
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",  # text of 4 GiB
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x05",
        b"\x81\x90\x01",  # a key that is a list
        b"\x81\x01\x01",
    ],
)
def test_hostile_bytes_end_a_file_and_nothing_else(source, hostile):
    path = source[0] / "shard_0.msg"
    path.write_bytes(path.read_bytes() + hostile + b"\0" * 100)
    found = []
    with pytest.raises(Damaged, match="after 3 samples"):
        found.extend(sample.id for sample in read_samples(path))


@pytest.mark.parametrize(
    "entry",
    [
        {"id": b"\xff\xfe", "image": b"x"},
        {"id": ["a"], "image": b"x"},
        {"id": True, "image": b"x"},
        {"id": "a", "image": {"a": 1}},
        {"id": "a", "image": 7},
        {"id": "x" * 5000, "image": b"x"},
        {"id": "../../etc/passwd", "image": b"x"},
        {"id": "a", "image": b"x", "lat": float("nan"), "lon": float("inf")},
        "text",
        msgpack.ExtType(5, b"abc"),
        msgpack.Timestamp(1, 2),
    ],
)
def test_entries_of_strange_types_are_refused(source, tmp_path, entry):
    (source[0] / "shard_2.msg").write_bytes(msgpack.packb(entry))
    done = import_msgpack(source[0], tmp_path / "out", source[1], workers=1)
    assert done.samples == 6
    assert sum(done.refused.values()) == 1


def test_a_stopped_import_goes_on(source, tmp_path, monkeypatch):
    import_msgpack(source[0], tmp_path / "whole", source[1], workers=1)
    out, made = tmp_path / "out", []
    real = setup.packing.import_part.read_samples

    def stops(path):
        made.append(path.name)
        yield next(iter(real(path)))
        if path.name == "shard_2.msg":
            raise KeyboardInterrupt
        yield from list(real(path))[1:]

    monkeypatch.setattr(setup.packing.import_part, "read_samples", stops)
    with pytest.raises(KeyboardInterrupt):
        import_msgpack(source[0], out, source[1], workers=1)
    monkeypatch.setattr(
        setup.packing.import_part, "read_samples", lambda p: (made.append(p.name), real(p))[1]
    )
    for _ in range(2):  # the second time there is nothing to do
        assert import_msgpack(source[0], out, source[1], workers=1).samples == 9
    assert made == ["shard_0.msg", "shard_2.msg", "shard_2.msg", "shard_10.msg"]
    assert sums(out) == sums(tmp_path / "whole")


def test_workers_make_the_same(source, tmp_path):
    import_msgpack(source[0], tmp_path / "one", source[1], workers=1)
    import_msgpack(source[0], tmp_path / "two", source[1], workers=2)
    assert sums(tmp_path / "one") == sums(tmp_path / "two")


def test_unusable_folders(source, tmp_path):
    with pytest.raises(ValueError, match=r"no shard_0\.msg"):
        import_msgpack(tmp_path, tmp_path / "out", source[1])
    import_msgpack(source[0], tmp_path / "done", source[1], workers=1)
    with pytest.raises(ValueError, match="begun with another input"):
        import_msgpack(source[0], tmp_path / "done")
    with pytest.raises(ValueError, match="is not empty"):
        import_msgpack(source[0], source[0], source[1])
    with pytest.raises(ValueError, match=r"nothing gets in \(no position: give the table"):
        import_msgpack(source[0], tmp_path / "nothing", workers=1)
    (source[0] / "other.msg").touch()
    with pytest.raises(ValueError, match=r"files are called shard_0\.msg"):
        import_msgpack(source[0], tmp_path / "new", source[1])


def test_command_line(source, tmp_path, capsys):
    words = ["--input", str(source[0]), "--output", str(tmp_path / "out"), "--workers", "1"]
    source[1].write_text(source[1].read_text().replace(name(4) + ",4.5", name(4) + ",x"))
    assert main([*words, "--csv", str(source[1])]) == 0
    shown = capsys.readouterr().out
    assert "8 samples in" in shown
    assert "1 refused, unusable" in shown
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("error: ")
