"""Qt resource files, written here by a writer of our own from the format's description."""

import contextlib
import random
import struct
import zlib

import pyarrow as pa
import pytest

from setup.demonstration.qt_resources import FOLDER, ZLIB, ZSTD, QtResourceError, QtResources

HEADER = 20


def zstd(data):
    return pa.Codec("zstd").compress(data, asbytes=True)


def payload(data, how):
    """The flags and the stored bytes of a file."""
    if how == "zlib":
        return ZLIB, struct.pack(">I", len(data)) + zlib.compress(data)
    return (ZSTD, zstd(data)) if how == "zstd" else (0, data)


class Writer:
    """Lays out tree, data and names; `nodes` may be bent before `blob` is called."""

    def __init__(self, folder, version=3, how="plain"):
        self.version, self.how = version, how
        self.nodes, self.data, self.names = [], b"", b""
        self.add(folder)

    def add(self, root):
        """Nodes breadth first: the children of a folder lie side by side."""
        self.nodes = [["", FOLDER, len(root), 1]]
        waiting = [root]
        while waiting:
            for name, content in waiting.pop(0).items():
                if isinstance(content, dict):
                    first = len(self.nodes) + 1  # corrected below
                    self.nodes.append([name, FOLDER, len(content), first, content])
                else:
                    flags, stored = payload(content, self.how)
                    self.nodes.append([name, flags, 0, len(self.data)])
                    self.data += struct.pack(">I", len(stored)) + stored
            # The next folder's children come after all nodes there are.
            opened = [node for node in self.nodes if len(node) == 5]
            if opened:
                opened[0][3] = len(self.nodes)
                waiting.append(opened[0].pop())

    def blob(self):
        tree = b""
        for name, flags, first, second in self.nodes:
            # A name may be given as the bytes that stand for it.
            raw = name if isinstance(name, bytes) else name.encode("utf-16-be")
            tree += struct.pack(">IHII", len(self.names), flags, first, second)
            tree += b"" if self.version == 1 else bytes(8)
            self.names += struct.pack(">HI", len(raw) // 2, 0) + raw
        start = HEADER + 4 * (self.version == 3)
        at = (start, start + len(tree), start + len(tree) + len(self.data))
        header = b"qres" + struct.pack(">4I", self.version, *at)
        return header + bytes(start - HEADER) + tree + self.data + self.names


FILES = {
    "readme.txt": b"hello",
    "photos": {"Zürich 東京.webp": bytes(range(256)) * 40, "deep": {"er": {"empty": b""}}},
    "other": {"a": b"1", "b": b"2"},
}


def read_all(blob):
    resources = QtResources.parse(blob)
    return {name: resources.read(name, max_bytes=100_000) for name in resources.files}


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("how", ["plain", "zlib", "zstd"])
def test_what_is_written_is_read(version, how, tmp_path):
    path = tmp_path / "some.rcc"
    path.write_bytes(Writer(FILES, version, how).blob())
    resources = QtResources.open(path)
    assert {name: resources.read(name) for name in resources.files} == {
        "readme.txt": b"hello",
        "photos/Zürich 東京.webp": bytes(range(256)) * 40,
        "photos/deep/er/empty": b"",
        "other/a": b"1",
        "other/b": b"2",
    }
    with pytest.raises(KeyError):
        resources.read("photos")


@pytest.mark.parametrize("how", ["plain", "zlib", "zstd"])
def test_any_truncation_is_an_error_and_no_other_exception(how):
    blob = Writer(FILES, 3, how).blob()
    for length in range(len(blob)):
        with pytest.raises(QtResourceError):
            read_all(blob[:length])


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bytes_are_read_or_refused(seed):
    rng = random.Random(seed)
    blob = Writer(FILES, 3, "zlib").blob()
    for _ in range(300):
        bent = bytearray(blob)
        for _ in range(3):
            bent[rng.randrange(len(bent))] = rng.randrange(256)
        with contextlib.suppress(QtResourceError):
            read_all(bytes(bent))


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "not a Qt resource file"),
        (b"PK\3\4" + bytes(50), "not a Qt resource file"),
        (b"qres" + struct.pack(">4I", 4, 20, 20, 20), "formats 1 to 3"),
        (b"qres" + struct.pack(">4I", 0, 20, 20, 20), "formats 1 to 3"),
        (b"qres" + struct.pack(">4I", 3, 2**32 - 1, 20, 20), "outside"),
    ],
)
def test_other_files(blob, message):
    with pytest.raises(QtResourceError, match=f"x.rcc: .*{message}"):
        QtResources.parse(blob, "x.rcc")


def test_a_root_that_is_a_file():
    writer = Writer({"a": b"1"})
    writer.nodes[0][1] = 0
    with pytest.raises(QtResourceError, match="root"):
        QtResources.parse(writer.blob())


@pytest.mark.parametrize("first", [0, 1])
def test_a_looped_tree(first):
    """A folder inside itself, and one that holds the root."""
    writer = Writer({"folder": {"a": b"1"}})
    writer.nodes[1][3] = first
    with pytest.raises(QtResourceError, match="loop"):
        QtResources.parse(writer.blob())


def test_a_tree_too_deep():
    nested = {"a": b"1"}
    for _ in range(100):
        nested = {"d": nested}
    with pytest.raises(QtResourceError, match="past any honest file"):
        QtResources.parse(Writer(nested).blob())


def test_a_folder_that_says_it_is_huge():
    writer = Writer({"a": b"1"})
    writer.nodes[0][2] = 2**31
    with pytest.raises(QtResourceError, match="outside the file"):
        QtResources.parse(writer.blob())


@pytest.mark.parametrize(
    "name", ["..", ".", "", "a/b", "/etc", "a\\b", "C:x", "a\0b", "a\nb", b"\xd8\x00"]
)
def test_names_that_leave_their_folder(name):
    writer = Writer({"good": b"1"})
    writer.nodes[1][0] = name
    with pytest.raises(QtResourceError, match="name"):
        QtResources.parse(writer.blob())


def test_the_first_translation_of_a_file_counts():
    writer = Writer({"a": b"first", "b": b"second"})
    writer.nodes[2][0] = "a"
    resources = QtResources.parse(writer.blob())
    assert list(resources.files) == ["a"]
    assert resources.read("a") == b"first"


@pytest.mark.parametrize("how", ["plain", "zlib", "zstd"])
def test_a_bomb_is_not_inflated(how):
    resources = QtResources.parse(Writer({"bomb": bytes(2_000_000)}, 3, how).blob())
    assert len(resources.read("bomb", max_bytes=2_000_000)) == 2_000_000
    with pytest.raises(QtResourceError, match=r"bomb: .*1999999"):
        resources.read("bomb", max_bytes=1_999_999)


@pytest.mark.parametrize("stated", [4, 6, 0, 2**20])
def test_a_zlib_file_that_lies_about_its_size(stated):
    writer = Writer({"a": b"hello"}, 3, "zlib")
    writer.data = writer.data[:4] + struct.pack(">I", stated) + writer.data[8:]
    with pytest.raises(QtResourceError, match="a: says"):
        QtResources.parse(writer.blob()).read("a")


def test_data_that_do_not_inflate():
    for how, flags in (("plain", ZLIB), ("plain", ZSTD), ("zlib", ZLIB | ZSTD)):
        writer = Writer({"a": b"this is neither"}, 3, how)
        writer.nodes[1][1] = flags
        with pytest.raises(QtResourceError, match="resource: a"):
            QtResources.parse(writer.blob()).read("a")


def test_data_past_the_end():
    writer = Writer({"a": b"hello"})
    writer.nodes[1][3] = 2**31
    with pytest.raises(QtResourceError, match="end outside"):
        QtResources.parse(writer.blob()).read("a")
