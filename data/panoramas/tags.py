"""What a panorama's file says of itself: GPano tags (XMP), and position, heading and day (EXIF).

GPano is Photo Sphere XMP (https://developers.google.com/streetview/spherical-metadata): the compass
heading of the middle column, and, where a camera saw less than the whole sphere, where the stored
picture lies in it. Tilt (PosePitchDegrees, PoseRollDegrees) is not undone: street cameras level
their panoramas themselves. Tags are a stranger's bytes: one that is no number counts as missing.
"""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.photos.exif import exif_facts
from data.photos.formats import MAX_PIXELS, open_image

if TYPE_CHECKING:
    from PIL import Image

_GPANO = re.compile(rb"(?<!/)GPano:(\w+)\s*(?:=\s*[\"']|>)\s*([^\s\"'<][^\"'<]{0,63})")
_CROP = (
    "FullPanoWidthPixels",
    "FullPanoHeightPixels",
    "CroppedAreaLeftPixels",
    "CroppedAreaTopPixels",
    "CroppedAreaImageWidthPixels",
    "CroppedAreaImageHeightPixels",
)


@dataclass(frozen=True)
class Crop:
    """Where a stored picture lies in the whole sphere, pixels."""

    full_width: float
    full_height: float
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class PanoramaTags:
    """Tags of one file; None or "" where it has none.

    Attributes:
        width, height: Of the stored picture, px.
        is_equirectangular: GPano says so.
        heading_deg: Compass heading of the middle column.
        lat, lon: Degrees; both or neither.
        day: "YYYY-MM-DD".
        crop: None where GPano tells of none.
    """

    width: int
    height: int
    is_equirectangular: bool = False
    heading_deg: float | None = None
    lat: float | None = None
    lon: float | None = None
    day: str = ""
    crop: Crop | None = None


def read_tags(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> PanoramaTags:
    """Read the tags of an image file's bytes, without decoding its pixels.

    Raises:
        ImageError: not an image, or larger than `max_pixels`.
    """
    image = open_image(data, name, max_pixels)
    gpano, exif = _gpano(image), exif_facts(data, name)
    heading = _number(gpano.get("PoseHeadingDegrees"))
    # (0, 0) is what receivers without a fix write.
    has_position = abs(exif.lat) <= 90 and abs(exif.lon) <= 180 and (exif.lat, exif.lon) != (0, 0)
    return PanoramaTags(
        image.width,
        image.height,
        gpano.get("ProjectionType", "").lower() == "equirectangular",
        heading if heading is not None else _number(exif.heading),
        exif.lat if has_position else None,
        exif.lon if has_position else None,
        exif.day,
        _crop(gpano),
    )


def _gpano(image: "Image.Image") -> dict[str, str]:
    """GPano's tags, written as attributes or as elements."""
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    data = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    return {
        key.decode(): value.decode("utf-8", "replace").strip()
        for key, value in _GPANO.findall(data)
    }


def _crop(gpano: dict[str, str]) -> Crop | None:
    values = [_number(gpano.get(name)) for name in _CROP]
    return None if None in values else Crop(*(value or 0.0 for value in values))


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None
