"""The SHA-256 of a shard, and whether its headers are those of the index, in one reading.

The careful walk (data/sharding/tar_members.py, data/sharding/scan.py) takes longer over its headers
than SHA-256 over all bytes of a small photo. Nearly every shard is as it should be, and this says
so at a tenth of that cost; where it says no, the careful walk tells why.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.sample import JSON, SEG
from data.sharding.index_tables import MEMBERS
from data.sharding.tar_members import BLOCK, MAX_MEMBER_BYTES

EXTENSIONS = {"jpg": b".jpg", "json": f".{JSON}".encode(), "seg": f".{SEG}".encode()}
READ_BYTES = 2**20  # a multiple of BLOCK, so that no header is cut
USED = 160  # bytes of a header that are looked at: name, length, kind
NOT_IN_KEYS = (b".", b"/")  # the careful walk knows what to say of them


class _Members(NamedTuple):
    """Names, places of the headers and lengths in bytes, in the order of the tar; and its end."""

    names: NDArray[np.bytes_]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    end: int


NO_MEMBERS = _Members(np.empty(0, "S1"), np.empty(0, np.int64), np.empty(0, np.int64), 0)


def hash_and_check(path: Path, rows: pa.Table) -> tuple[str, bool]:
    """Read a shard once.

    Args:
        path: The shard.
        rows: Its rows of the index.

    Returns:
        Its SHA-256 in hex; and whether its members are those of the rows, one after another, and
        nothing else: each a plain file of the right name and length, and zeros after the last.

    Raises:
        OSError: it cannot be read.
    """
    digest, members = hashlib.sha256(), _expected(rows)
    buffer = bytearray(READ_BYTES)
    view, blocks = memoryview(buffer), np.frombuffer(buffer, np.uint8).reshape(-1, BLOCK)
    headers = np.empty((len(members.starts), USED), np.uint8)
    position, is_zero_after = 0, True
    with path.open("rb") as file:
        while read := file.readinto(buffer):
            digest.update(view[:read])
            here = slice(*members.starts.searchsorted((position, position + read)))
            headers[here] = blocks[(members.starts[here] - position) // BLOCK, :USED]
            past = max(0, members.end - position)
            is_zero_after &= not bytes(view[past:read]).strip(b"\0")
            position += read
    is_as_indexed = 0 < members.end <= position and is_zero_after and _agree(headers, members)
    return digest.hexdigest(), is_as_indexed


def _expected(rows: pa.Table) -> _Members:
    """The members that the index lists; none where they are not one after another."""
    keys = np.array(rows["key"].cast(pa.binary()).to_pylist(), np.bytes_)
    if not len(keys) or any(sign in keys.tobytes() for sign in NOT_IN_KEYS):
        return NO_MEMBERS
    names, starts, lengths = [], [], []
    for member in MEMBERS:
        offset, length = (rows[f"{member}_{part}"].to_numpy() for part in ("offset", "length"))
        there = length >= 0
        names.append(np.strings.add(keys[there], EXTENSIONS[member]))
        starts.append(offset[there] - BLOCK)
        lengths.append(length[there])
    order = np.argsort(np.concatenate(starts), kind="stable")
    name, start, length = (np.concatenate(part)[order] for part in (names, starts, lengths))
    ends = start + BLOCK + -(-length // BLOCK) * BLOCK
    if start[0] != 0 or np.any(start[1:] != ends[:-1]) or length.max() > MAX_MEMBER_BYTES:
        return NO_MEMBERS
    return _Members(name, start, length, int(ends[-1]))


def _agree(headers: NDArray[np.uint8], members: _Members) -> bool:
    """Whether headers are those of plain files of these names and lengths.

    The rest of them was looked at when the index was made, and the SHA-256 says that they are what
    they were.
    """
    names = np.ascontiguousarray(headers[:, :100]).view("S100").ravel()
    return bool(
        np.all(headers[:, 156] == ord("0"))
        and np.array_equal(_octal(headers[:, 124:135]), members.lengths)
        and np.array_equal(names, members.names)
    )


def _octal(digits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The numbers that rows of octal digits write; -1 where one is no octal digit."""
    numbers, are_digits = np.zeros(len(digits), np.int64), True
    for column in digits.T:  # no array of eight bytes a digit: filling it takes longer than this
        digit = column - np.uint8(ord("0"))
        are_digits = are_digits & (digit < 8)  # what is below "0" wraps around to above 8
        numbers = numbers * 8 + digit
    return np.where(are_digits, numbers, -1)
