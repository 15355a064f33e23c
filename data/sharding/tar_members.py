"""Walk the members of a tar in memory, through damage and without trusting it.

Tar readers stop at the first bad header and lose the rest of the file, some without a word. This
one looks for the next header at the following 512-byte boundaries, and tells what it skipped.
Nothing is ever written to disk: links, devices and names that are paths are only reported.

Header layout: POSIX ustar and pax, https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
"""

import mmap
from collections.abc import Iterator
from typing import NamedTuple

BLOCK = 512
MAX_MEMBER_BYTES = 256 * 2**20
_MAX_NAME_BLOCK_BYTES = 2**20
_ZEROS = bytes(BLOCK)
_PAX, _PAX_GLOBAL, _GNU_NAME = b"x", b"g", b"L"

Buffer = bytes | mmap.mmap


class Member(NamedTuple):
    """A regular file in a tar: its name and where its bytes lie."""

    name: str
    offset: int
    length: int


class Fault(NamedTuple):
    """Something in a tar that is no regular file: where it is (bytes), what, and whether lost.

    `is_damage` is False for a whole member that is left out on purpose.
    """

    offset: int
    what: str
    is_damage: bool


class _Header(NamedTuple):
    name: str
    kind: bytes
    length: int


def walk(tar: Buffer) -> Iterator[Member | Fault]:
    """Yield the regular files of `tar` in order, and a `Fault` for everything else."""
    position, end, long_name = 0, len(tar), ""
    while position + BLOCK <= end:
        header, start = _parse(tar[position : position + BLOCK]), position + BLOCK
        if header is None and tar[position:start] == _ZEROS and not tar[start:].strip(b"\0"):
            return  # the zero blocks that end a tar, and its padding
        if header is None or start + header.length > end:
            following = _next_header(tar, start)
            yield Fault(position, _loss(header, following - position), True)
            position, long_name = following, ""
            continue
        position = start + -(-header.length // BLOCK) * BLOCK
        if header.kind in (_PAX, _GNU_NAME) and header.length <= _MAX_NAME_BLOCK_BYTES:
            long_name = _long_name(header.kind, tar[start : start + header.length]) or long_name
        elif header.kind != _PAX_GLOBAL:
            yield _member(long_name or header.name, header, start)
            long_name = ""
    if tar[position:].strip(b"\0"):
        yield Fault(position, f"{end - position} bytes after the last whole block", True)


def _loss(header: _Header | None, skipped: int) -> str:
    if header is None:
        return f"{skipped:,} bytes are no tar members"
    return f"{header.name}: cut off, {header.length:,} bytes announced"


def _member(name: str, header: _Header, start: int) -> Member | Fault:
    """A regular file with a plain name, or what is wrong with it."""
    if header.kind not in (b"0", b"\0"):
        return Fault(start - BLOCK, f"{name!r}: a link, device or folder; ignored", False)
    if "/" in name or "\\" in name or name.startswith("."):
        return Fault(start - BLOCK, f"{name!r}: a name that is a path; ignored", False)
    if header.length > MAX_MEMBER_BYTES:
        return Fault(start - BLOCK, f"{name!r}: {header.length:,} bytes; ignored", False)
    return Member(name, start, header.length)


def _next_header(tar: Buffer, position: int) -> int:
    """Where the next believable header begins; the end of `tar` where there is none."""
    while position + BLOCK <= len(tar):
        # "ustar" first: it spares the checksum of nearly every block.
        if tar[position + 257 : position + 262] == b"ustar" and _parse(
            tar[position : position + BLOCK]
        ):
            return position
        position += BLOCK
    return len(tar)


def _parse(block: bytes) -> _Header | None:
    """A header block, None where its checksum does not hold or a number is no number."""
    try:
        checksum = int(block[148:156].strip(b" \0") or b"-1", 8)
        # The sum is taken with the checksum's own eight bytes as blanks.
        if checksum != sum(block) - sum(block[148:156]) + 8 * 32:
            return None
        length = _number(block[124:136])
        name = _text(block[:100])
        prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    except ValueError:
        return None
    if length < 0:
        return None
    return _Header(f"{prefix}/{name}" if prefix else name, block[156:157], length)


def _number(field: bytes) -> int:
    """Octal text, or big-endian binary behind a set top bit (GNU tar, for sizes over 8 GiB)."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:])
    return int(field.strip(b" \0") or b"0", 8)


def _long_name(kind: bytes, data: bytes) -> str:
    """The name that a GNU or pax block gives the member after it; "" where it gives none.

    A pax block may also give a size, above 8 GiB only: such members are ignored anyway.
    """
    if kind == _GNU_NAME:
        return _text(data)
    while data:
        size_text, _, _ = data[:12].partition(b" ")
        if not size_text.isdigit() or not 0 < int(size_text) <= len(data):
            break
        record, data = data[: int(size_text)], data[int(size_text) :]
        keyword, _, value = record[len(size_text) + 1 : -1].partition(b"=")
        if keyword == b"path":
            return _text(value)
    return ""


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
