"""Which way up a photo is: the EXIF orientation tag, read from a JPEG without opening it.

A phone stores the sensor's rows as they come and a tag (EXIF 2.32, table 4, tag 0x0112) that tells
a viewer how to turn them; XMP may carry the same number. Opening the file with Pillow for this
one number costs a tenth of decoding it, so the plain JPEG path walks the segments itself.
"""

import re
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

UPRIGHT = 1
TAG = 0x0112
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def orient(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn stored `(H, W, 3)` pixels upright; a number outside 2..8 leaves them as they are.

    Returns:
        `(H, W, 3)`, or `(W, H, 3)` for the orientations 5 to 8; contiguous.
    """
    if not 2 <= orientation <= 8:
        return pixels
    if orientation >= 5:  # rows and columns are exchanged; what is left is one of 1 to 4
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def jpeg_orientation(jpeg: bytes) -> int:
    """The orientation tag of a JPEG: 1 to 8, 1 where it has none or a damaged one."""
    from_xmp = UPRIGHT
    for segment in _app1_segments(jpeg):
        if segment.startswith(b"Exif\0\0"):
            orientation = _tiff_orientation(segment[6:])
            if 1 <= orientation <= 8:
                return orientation
        elif match := _XMP_ORIENTATION.search(segment):
            from_xmp = int(match[1])
    return from_xmp


def _app1_segments(jpeg: bytes) -> Iterator[bytes]:
    """The payloads of the APP1 segments before the picture's data."""
    position = 2
    while position + 4 <= len(jpeg) and jpeg[position] == 0xFF:
        marker, length = jpeg[position + 1], int.from_bytes(jpeg[position + 2 : position + 4])
        if marker == 0xDA or length < 2:  # start of scan: no tags after it
            return
        if marker == 0xE1:
            yield jpeg[position + 4 : position + 2 + length]
        position += 2 + length


def _tiff_orientation(tiff: bytes) -> int:
    """The tag in the first directory of an EXIF block; 0 where it is missing or damaged."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 0
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    try:
        (entries,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * entry)
            if tag == TAG:
                return value if kind == 3 else 0  # 3 = unsigned short
    except struct.error:  # the directory runs past the end of the block
        return 0
    return 0
