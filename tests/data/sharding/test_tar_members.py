"""Walking hostile and damaged tars: resynchronised, reported, never extracted."""

import io
import tarfile

import pytest

from data.sharding.tar_members import Fault, Member, walk


def make_tar(members, format=tarfile.USTAR_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


MEMBERS = [(f"m{i}.jpg", bytes([i]) * (i * 300)) for i in range(8)]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_equals_tarfile(format):
    names = ["a.jpg", "é" * 40 + ".jpg", "x" * 150 + ".json"]
    if format == tarfile.USTAR_FORMAT:
        names = names[:2]
    data = make_tar([(name, name.encode()) for name in names], format)
    found = list(walk(data))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [m.name for m in found] == tar.getnames()
        assert [(m.offset, m.length) for m in found] == [
            (m.offset_data, m.size) for m in tar.getmembers()
        ]
    assert [data[m.offset : m.offset + m.length].decode() for m in found] == names


@pytest.mark.parametrize("hit", range(8))
def test_a_damaged_header_costs_one_member(hit):
    data = bytearray(make_tar(MEMBERS))
    at = [m.offset for m in walk(bytes(data))][hit] - 512
    data[at : at + 512] = b"\xa5" * 512
    found = list(walk(bytes(data)))
    assert [m.name for m in found if isinstance(m, Member)] == [
        name for i, (name, _) in enumerate(MEMBERS) if i != hit
    ]
    (fault,) = [m for m in found if isinstance(m, Fault)]
    assert fault.offset == at
    assert fault.is_damage


def test_every_cut_is_noticed_or_harmless():
    data = make_tar(MEMBERS)
    whole = list(walk(data))
    for cut in range(0, len(data), 97):
        found = list(walk(data[:cut]))
        members = [m for m in found if isinstance(m, Member)]
        assert members == whole[: len(members)]
        ends = [m.offset + m.length for m in members]
        lost_bytes = data[max(ends, default=0) : cut].strip(b"\0")
        assert bool(lost_bytes) == any(isinstance(m, Fault) for m in found)


def test_hostile_members_are_only_reported():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("device.jpg", tarfile.CHRTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
            ("folder", tarfile.DIRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        for name in ("../up.jpg", "/etc/root.jpg", "a/b.jpg", "..jpg", "a\\b.jpg", "good.jpg"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    found = list(walk(file.getvalue()))
    assert [m.name for m in found if isinstance(m, Member)] == ["good.jpg"]
    faults = [m for m in found if isinstance(m, Fault)]
    assert len(faults) == 10
    assert not any(fault.is_damage for fault in faults)


@pytest.mark.parametrize("size", [10**9, 8 * 2**30, 2**62])
def test_absurd_sizes_do_not_hide_what_follows(size):
    info = tarfile.TarInfo("huge.jpg")
    info.size = size
    data = info.tobuf(tarfile.GNU_FORMAT) + make_tar(MEMBERS)
    found = list(walk(data))
    assert isinstance(found[0], Fault)
    assert [m.name for m in found[1:]] == [name for name, _ in MEMBERS]


def test_pax_of_nonsense():
    for body in (
        b"\xff" * 512,
        b"99999999999 path=x\n",
        b"0 path=x\n",
        b"12 path=a/b\n" + b"-" * 80,
    ):
        info = tarfile.TarInfo("x")
        info.type, info.size = b"x", len(body)
        padded = body + bytes(-len(body) % 512)
        found = list(walk(info.tobuf(tarfile.USTAR_FORMAT) + padded + make_tar(MEMBERS[:1])))
        assert len(found) == 1


def test_nothing():
    assert list(walk(b"")) == []
    assert list(walk(bytes(10240))) == []
    assert [type(m) for m in walk(b"x" * 5000)] == [Fault]
