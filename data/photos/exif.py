"""Where, when and in which direction a photo was taken, as its EXIF says.

Tags: EXIF 2.32, tables 4 and 15 (https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf):
position as degrees, minutes and seconds with a letter for the hemisphere, the direction of the
camera in degrees from north, the date of the exposure. A stranger's tags are hostile: whatever is
damaged counts as not there.
"""

import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from data.photos.formats import MAX_PIXELS, open_image

GPS_TAGS, EXPOSURE_TAGS = 0x8825, 0x8769
LAT, LON, DIRECTION, GPS_DATE = 2, 4, 17, 29  # the letter of a hemisphere is one tag before
DATES = (0x9003, 0x9004)  # exposed, digitised
CHANGED = 0x0132
FIRST_YEAR = 1826  # of the oldest photograph there is
_EXPONENT = re.compile(r"\d(\.\d{1,15})?[eE]\+?\d{1,2}")
_DAY = re.compile(r"(\d{4})(?:[-:/.]?(\d{2})(?:[-:/.]?(\d{2}))?)?(?!\d)", re.ASCII)


@dataclass(frozen=True)
class ExifFacts:
    """What a photo says of itself.

    Attributes:
        lat: Degrees, NaN where it says nothing.
        lon: Likewise.
        heading: Of the camera, degrees from north, clockwise, in 0..360; NaN where unknown.
        day: "YYYY-MM-DD", or "".
    """

    lat: float = math.nan
    lon: float = math.nan
    heading: float = math.nan
    day: str = ""


def exif_facts(photo: bytes, name: str = "image") -> ExifFacts:
    """Read the tags of a photo; what is missing or damaged is NaN or "".

    Raises:
        ImageError: the bytes are no image.
    """
    image = open_image(photo, name, MAX_PIXELS)
    # Not for this block alone: that would not be safe in threads.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    try:
        exif = image.getexif()
        gps, exposure = exif.get_ifd(GPS_TAGS), exif.get_ifd(EXPOSURE_TAGS)
    except Exception:  # Pillow raises nearly anything on a damaged block of tags
        return ExifFacts()
    dates = [exposure.get(tag) for tag in DATES] + [gps.get(GPS_DATE), exif.get(CHANGED)]
    days = [day_of(text) for text in dates]
    lat, lon = _degrees(gps, LAT), _degrees(gps, LON)
    return ExifFacts(lat, lon, heading_of(gps.get(DIRECTION)), next(filter(None, days), ""))


def heading_of(value: Any) -> float:
    """A direction as degrees in 0..360, whatever it was given as; NaN where it is none."""
    heading = _number(value)
    return heading % 360 if math.isfinite(heading) else math.nan


def day_of(value: Any) -> str:
    """A date as "YYYY-MM-DD", "YYYY-MM" or "YYYY"; "" where it is none.

    Args:
        value: EXIF's or ISO 8601's text, digits like 20240131, or seconds or milliseconds since
            1970, as Mapillary gives them; the latter are read as UTC.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip().strip("\0")
    if _EXPONENT.fullmatch(text):  # what spreadsheets make of milliseconds
        text = f"{float(text):.0f}"
    if text.isascii() and text.isdigit() and len(text) in (9, 10, 12, 13):
        seconds = int(text) / (1000 if len(text) > 10 else 1)
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    match = _DAY.match(text)
    return _checked(*match.groups()) if match else ""


def _checked(year: str, month: str | None, day: str | None) -> str:
    try:
        when = date(int(year), int(month or 1), int(day or 1))
    except ValueError:  # cameras that were never set say 0000:00:00
        return ""
    is_sane = FIRST_YEAR <= when.year <= datetime.now(UTC).year + 1
    return "-".join(part for part in (year, month, day) if part) if is_sane else ""


def _degrees(gps: Mapping[int, Any], tag: int) -> float:
    """Degrees, minutes, seconds and the hemisphere's letter as one number."""
    parts, letter = gps.get(tag), gps.get(tag - 1)
    parts = parts if isinstance(parts, tuple) else (parts,)  # whole degrees alone are no tuple
    value = sum(_number(part) / 60**place for place, part in enumerate(parts[:3]))
    letter = letter.decode("latin-1") if isinstance(letter, bytes) else str(letter or "")
    sign = -1 if letter.strip("\0 ").upper() in ("S", "W") else 1
    return sign * value


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):  # a fraction over 0 is one
        return math.nan
