"""Samples in msgpack files, as the older geocell tools keep MP-16: `shard_0.msg`, `shard_1.msg` ...

Each file is one map after the other, {"id": ..., "image": the photo's file}, some with a latitude
and longitude; packers before msgpack 1.0 make no difference between text and bytes. The format:
https://github.com/msgpack/msgpack/blob/master/spec.md. The files are a stranger's: nothing larger
than a photo may be, and a file that is cut off or damaged ends where that begins.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from data.images import MAX_FILE_BYTES

MAX_FIELDS = 64  # of a map or list
MAX_ID_BYTES = 1024
KEYS = {
    "id": (b"id", b"key", b"img_id", b"image_id"),
    "image": (b"image", b"jpg"),
    "lat": (b"latitude", b"lat", b"LAT"),
    "lon": (b"longitude", b"lon", b"lng", b"LON"),
}


class MsgSample(NamedTuple):
    """One sample.

    Attributes:
        id: of the photo.
        image: the photo's file.
        position: lat and lon, if the sample tells them.
        problem: why it cannot be used; "" where it can.
    """

    id: str
    image: bytes = b""
    position: dict[str, float] = {}  # noqa: RUF012  (a tuple's field, never changed)
    problem: str = ""


class Damaged(ValueError):
    """A file that ends before its last sample does, or holds something that is no msgpack."""


def read_samples(path: Path) -> Iterator[MsgSample]:
    """Yield the samples of a file in their order; empty entries, which the tools write, are none.

    Raises:
        Damaged: after the last sample that can be read; tells how many those were, and where the
            rest begins.
    """
    size, count, whole = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        unpacker = msgpack.Unpacker(
            file,
            raw=True,  # old packers wrote a photo as text
            max_buffer_size=MAX_FILE_BYTES,
            max_str_len=MAX_FILE_BYTES,
            max_bin_len=MAX_FILE_BYTES,
            max_array_len=MAX_FIELDS,
            max_map_len=MAX_FIELDS,
            max_ext_len=MAX_ID_BYTES,
        )
        problem = "cut off"
        try:
            for entry in unpacker:
                # Where the unpacker stands after a sample; amid one it may be at the file's end.
                count, whole = count + 1, unpacker.tell()
                if entry is not None:
                    yield _sample(entry)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            problem = f"damaged ({type(error).__name__} {error})".replace(" )", ")")
    if whole < size:
        raise Damaged(
            f"{path.name} is {problem} after {count} samples: {size - whole:,} of its {size:,} "
            "bytes are lost"
        )


def _sample(entry: Any) -> MsgSample:
    if not isinstance(entry, dict):
        return MsgSample("", problem="not a sample: no map of fields")
    found = {
        name: next((entry[key] for key in keys if key in entry), None)
        for name, keys in KEYS.items()
    }
    photo, image = _text(found["id"]), found["image"]
    if not photo:
        return MsgSample("", problem="missing id")
    if not isinstance(image, bytes) or not image:
        return MsgSample(photo, problem="no photo in the sample")
    lat, lon = found["lat"], found["lon"]
    if isinstance(lat, int | float) and isinstance(lon, int | float):
        return MsgSample(photo, image, {"lat": float(lat), "lon": float(lon)})
    return MsgSample(photo, image)


def _text(value: Any) -> str:
    """An id: text in UTF-8, or a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, bytes) or len(value) > MAX_ID_BYTES:
        return ""
    return value.decode(errors="replace").strip()
