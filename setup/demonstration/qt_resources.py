"""Read Qt's compiled resource files (`.rcc`) without Qt.

Layout, all numbers big-endian (documented by Qt's own `rcc` writer, qtbase/src/tools/rcc/rcc.cpp):

    header  "qres", version 1-3, offsets of tree, data and names; version 3 adds overall flags
    tree    nodes of 14 bytes (version 1) or 22 (a modification time is added), the root first:
            name offset u32, flags u16, then for a folder child count u32 and first child u32,
            for a file territory u16, language u16, data offset u32
    names   length in UTF-16 units u16, hash u32, the name in UTF-16
    data    length u32, payload; zlib payloads begin with their inflated size u32

A file is hostile input here: every offset is checked, a node is visited once, names that would
leave a folder are refused, and nothing is inflated past a limit.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow as pa

ZLIB, FOLDER, ZSTD = 0x01, 0x02, 0x04
MAX_FILE_BYTES = 1 << 30
MAX_ENTRY_BYTES = 64 << 20
MAX_ENTRIES = 1_000_000
MAX_DEPTH = 64


class QtResourceError(ValueError):
    """The file is no Qt resource file, or a damaged or malicious one."""


class _Node(NamedTuple):
    name: str
    flags: int
    first: int  # a folder's child count; a file's territory and language
    second: int  # a folder's first child; a file's data offset


@dataclass(frozen=True)
class QtResources:
    """An opened resource file: paths inside it, and the bytes behind each.

    Attributes:
        source: name of the file, for error messages.
        blob: the whole file.
        files: path inside the file -> (flags, offset of its data from the data section).
    """

    source: str
    blob: bytes
    files: dict[str, tuple[int, int]]
    data_offset: int

    @classmethod
    def open(cls, path: Path) -> "QtResources":
        """Read a `.rcc` file's tree.

        Raises:
            QtResourceError: the file is not one, is damaged, or is over `MAX_FILE_BYTES`.
        """
        if path.stat().st_size > MAX_FILE_BYTES:
            raise QtResourceError(f"{path}: over {MAX_FILE_BYTES} bytes; not read")
        return cls.parse(path.read_bytes(), str(path))

    @classmethod
    def parse(cls, blob: bytes, source: str = "resource") -> "QtResources":
        """Read the tree of a resource file held in memory."""
        tree = _Tree(blob, source)
        return cls(source, blob, dict(tree.walk()), tree.data_offset)

    def read(self, path: str, max_bytes: int = MAX_ENTRY_BYTES) -> bytes:
        """Return one file's bytes, inflated.

        Raises:
            KeyError: no such path in this file.
            QtResourceError: its data lie outside the file, do not inflate, or exceed `max_bytes`.
        """
        flags, offset = self.files[path]
        where = f"{self.source}: {path}"
        payload = _payload(self.blob, self.data_offset + offset, where)
        if flags & ZLIB and flags & ZSTD:
            raise QtResourceError(f"{where}: says that it is both zlib and zstd")
        if flags & ZLIB:
            return _inflate_zlib(payload, max_bytes, where)
        if flags & ZSTD:
            return _inflate_zstd(payload, max_bytes, where)
        return _within(payload, max_bytes, where)


class _Tree:
    def __init__(self, blob: bytes, source: str) -> None:
        self.blob, self.source = blob, source
        if blob[:4] != b"qres":
            raise QtResourceError(f"{source}: not a Qt resource file (no `qres` at its start)")
        version, tree, data, names = self.unpack(">4I", 4)
        if version not in (1, 2, 3):
            raise QtResourceError(f"{source}: resource format {version}; formats 1 to 3 are read")
        self.tree_offset, self.data_offset, self.names_offset = tree, data, names
        self.node_bytes = 14 if version == 1 else 22

    def unpack(self, layout: str, offset: int) -> tuple:
        if offset + struct.calcsize(layout) > len(self.blob):
            raise QtResourceError(
                f"{self.source}: offset {offset} lies outside its {len(self.blob)} bytes; "
                "the file is truncated or damaged"
            )
        return struct.unpack_from(layout, self.blob, offset)

    def walk(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield every file, folder by folder; nodes seen twice mean a loop and are refused."""
        seen = {0}
        paths: set[str] = set()
        pending = [(self.node(0), PurePosixPath(), 0)]
        if not pending[0][0].flags & FOLDER:
            raise QtResourceError(f"{self.source}: the root is not a folder")
        while pending:
            folder, path, depth = pending.pop()
            for index in self.children(folder, depth, seen):
                node = self.node(index)
                child = path / node.name
                if node.flags & FOLDER:
                    pending.append((node, child, depth + 1))
                elif str(child) not in paths:  # the same name again is a translation of it
                    paths.add(str(child))
                    yield str(child), (node.flags, node.second)

    def children(self, folder: _Node, depth: int, seen: set[int]) -> range:
        children = range(folder.second, folder.second + folder.first)
        end = self.tree_offset + children.stop * self.node_bytes
        if children and end > len(self.blob):
            raise QtResourceError(f"{self.source}: a folder's nodes lie outside the file")
        if depth >= MAX_DEPTH or len(seen) + len(children) > MAX_ENTRIES:
            raise QtResourceError(f"{self.source}: nested or filled past any honest file")
        if not seen.isdisjoint(children):
            raise QtResourceError(f"{self.source}: its tree has a loop")
        seen.update(children)
        return children

    def node(self, index: int) -> _Node:
        offset = self.tree_offset + index * self.node_bytes
        name_offset, flags, first, second = self.unpack(">IHII", offset)
        # The root bears no name: its name offset points at the first name of all.
        return _Node(self.name(name_offset) if index else "", flags, first, second)

    def name(self, offset: int) -> str:
        start = self.names_offset + offset
        (length, _hash) = self.unpack(">HI", start)
        (raw,) = self.unpack(f">{2 * length}s", start + 6)
        try:
            name = raw.decode("utf-16-be")
        except UnicodeDecodeError as error:
            raise QtResourceError(f"{self.source}: a name is not UTF-16") from error
        if name in ("", ".", "..") or any(c in "/\\:" or ord(c) < 32 for c in name):
            raise QtResourceError(f"{self.source}: refused the unsafe name {name!r}")
        return name


def _payload(blob: bytes, offset: int, where: str) -> bytes:
    length = int.from_bytes(blob[offset : offset + 4], "big")
    if offset + 4 + length > len(blob):
        raise QtResourceError(f"{where}: its data end outside the file; truncated or damaged")
    return blob[offset + 4 : offset + 4 + length]


def _within(data: bytes, max_bytes: int, where: str) -> bytes:
    if len(data) > max_bytes:
        raise QtResourceError(f"{where}: over {max_bytes} bytes; not read")
    return data


def _inflate_zlib(payload: bytes, max_bytes: int, where: str) -> bytes:
    stated = int.from_bytes(payload[:4], "big")
    if stated > max_bytes:
        raise QtResourceError(f"{where}: would inflate to {stated} bytes, over {max_bytes}")
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(payload[4:], stated + 1)
    except zlib.error as error:
        raise QtResourceError(f"{where}: does not inflate ({error})") from error
    if len(data) != stated or not inflater.eof:
        raise QtResourceError(f"{where}: says {stated} bytes and holds other data")
    return data


def _inflate_zstd(payload: bytes, max_bytes: int, where: str) -> bytes:
    """Inflate as a stream: the size that a frame states is not believed."""
    try:
        stream = pa.CompressedInputStream(pa.BufferReader(payload), "zstd")
        data = stream.read(max_bytes + 1)
    except (OSError, pa.ArrowException) as error:
        raise QtResourceError(f"{where}: does not inflate ({error})") from error
    return _within(data, max_bytes, where)
