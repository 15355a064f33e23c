"""One sample of a shard: its key, its members and what its metadata says.

A sample is a run of tar members `KEY.jpg`, `KEY.seg.png` (optional) and `KEY.json`, the layout of
WebDataset (https://github.com/webdataset/webdataset). That format cuts a member's name at its
first dot, so a key with a dot would merge samples; a slash would make it a path. Image ids that
have them are packed under `safe_key(id)`, and `image_id(key)` gives the id back.
"""

import json
import re
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from partitioning.geodesy import position_problems

JSON, SEG = "json", "seg.png"
PHOTO_EXTENSIONS = ("jpg", "jpeg", "png", "webp")  # we write jpg; the others come from elsewhere
MAX_KEY_BYTES = 91  # with ".seg.png" it still fits the 100 bytes of a plain tar name
NUM_SCENES = 3  # s3: indoor, natural, urban
MAX_SCORE = 1e300  # of a scene: what is not finite, or no float at all, is no probability
# The letters that ids of the field's data sets are made of, less dot and slash.
_KEY = re.compile(r"[\w@%,=+~-]+")


class Sample(NamedTuple):
    """One sample as it is stored.

    Attributes:
        key: Image id without dots or slashes.
        jpg: The photo's file, as it was.
        seg_png: The segmentation map's file, None where there is none.
        json: Metadata: lat, lon (degrees) and optionally s3, s16, s365, author, ...
    """

    key: str
    jpg: bytes
    seg_png: bytes | None
    json: dict[str, Any]


def safe_key(image_id: str) -> str:
    """Make a key of any image id, one to one: percent-encoding, dots and percent signs included.

    Ids of letters, digits and `_ - @ , = + ~` stay as they are. Apply it once: the key of a key is
    another key where a percent sign is in it.
    """
    return quote(image_id, safe="@,=+~-_").replace(".", "%2E")


def image_id(key: str) -> str:
    """The image id that `safe_key` made `key` of."""
    return unquote(key)


def key_problem(key: str) -> str:
    """Why `key` cannot name a sample; "" where it can."""
    if not key:
        return "missing id"
    if "." in key or "/" in key:
        return "id with a dot or slash"
    if not _KEY.fullmatch(key):
        return "id with a blank or sign that tar names should not have"
    if len(key.encode()) > MAX_KEY_BYTES:
        return f"id longer than {MAX_KEY_BYTES} bytes"
    return ""


def check_key(key: str) -> None:
    """Raise ValueError, naming the way out, for a key that cannot name a sample."""
    if problem := key_problem(key):
        raise ValueError(f"key {key!r}: {problem}; pack it under data.sample.safe_key(id)")


def position_of(metadata: dict[str, Any]) -> tuple[float, float]:
    """Latitude and longitude in degrees.

    Raises:
        ValueError: missing, not numbers, swapped or out of range.
    """
    try:
        lat, lon = float(metadata["lat"]), float(metadata["lon"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError("no lat and lon in its metadata") from None
    # position_problems works on arrays and is a hundred times slower for one good position.
    if not (abs(lat) <= 90 and abs(lon) <= 180):
        raise ValueError(f"position ({lat}, {lon}): {position_problems(lat, lon)[0]}")
    return lat, lon


def scene_of(metadata: dict[str, Any]) -> int:
    """The scene: 0 indoor, 1 natural, 2 urban; -1 where `s3` is missing or no three probabilities.

    Equal probabilities give the first of them.
    """
    s3 = metadata.get("s3")
    if not isinstance(s3, list) or len(s3) != NUM_SCENES:
        return -1
    if not all(isinstance(p, int | float) and abs(p) <= MAX_SCORE for p in s3):
        return -1
    return max(range(NUM_SCENES), key=s3.__getitem__) if sum(s3) > 0 else -1


def parse_metadata(data: bytes) -> dict[str, Any]:
    """Parse a sample's `.json` member.

    Raises:
        ValueError: it is not a JSON object.
    """
    try:
        metadata = json.loads(data)
    except (ValueError, RecursionError):  # hostile JSON nests until the stack ends
        raise ValueError("its metadata is not JSON") from None
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is not a JSON object")
    return metadata
