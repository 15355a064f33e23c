"""What a service says of a street photo, in our words; whatever is missing or odd is left out.

The answers come from outside: every value may be of any kind.
"""

import math
from datetime import UTC, datetime
from typing import Any, NamedTuple

from data.panoramas.tags import Crop
from data.sample import position_of

LONGEST_TEXT = 200  # of a name; longer ones are no names
NO_POSITION, NO_ID, NO_PICTURE = "no position", "no id", "no picture"


class StreetPhoto(NamedTuple):
    """One photo.

    Attributes:
        id: of the service.
        lat, lon: degrees; None with the problem `NO_POSITION`.
        heading: where the middle of the picture looks, degrees clockwise from north, or None.
        captured_at: ISO 8601 in UTC, "" where unknown.
        sequence: the drive or walk that it belongs to.
        author: whom to credit.
        licence: as the service names it.
        is_panorama: whether it is an equirectangular picture of the sphere, or of a part of it.
        hfov_deg: horizontal field of view, or None.
        page: where people see it at the service.
        url: of the picture; it may expire.
        problem: why it cannot be used; "" where it can.
        crop: of a panorama that shows a part of the sphere, where it lies in it, in pixels of any
            scale; None for all others.
    """

    id: str
    lat: float | None
    lon: float | None
    heading: float | None
    captured_at: str
    sequence: str
    author: str
    licence: str
    is_panorama: bool
    hfov_deg: float | None
    page: str
    url: str
    problem: str = ""
    crop: Crop | None = None


def member(item: Any, *names: str) -> Any:
    """`item[name][name]...`; None where something on the way is missing or no object."""
    for name in names:
        item = item.get(name) if isinstance(item, dict) else None
    return item


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of hundreds of digits
        return None


def heading_of(*values: Any) -> float | None:
    """The first of some numbers, as degrees from 0 to 360."""
    found = [number(value) for value in values]
    return next((value % 360 for value in found if value is not None), None)


def text(value: Any) -> str:
    """A text on one line, or the text of a whole number; "" for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value:d}" if abs(value) < 10**20 else ""
    if not isinstance(value, str):
        return ""
    # Control signs and halves of surrogate pairs, which no file could hold, go.
    plain = "".join(sign if sign.isprintable() else " " for sign in value[: 2 * LONGEST_TEXT])
    return " ".join(plain.split())[:LONGEST_TEXT]


def link(value: Any) -> str:
    """A URL as it stands, however long; "" for anything else."""
    return value.strip() if isinstance(value, str) and value.isprintable() else ""


def point(*geometries: Any) -> tuple[float, float] | None:
    """Latitude and longitude of the first GeoJSON point that has them."""
    for geometry in geometries:
        found = member(geometry, "coordinates")
        if not isinstance(found, list) or len(found) < 2:
            continue
        try:
            return position_of({"lat": number(found[1]), "lon": number(found[0])})
        except ValueError:
            continue
    return None


def utc(value: Any) -> str:
    """A time in ISO 8601, or in milliseconds since 1970, as ISO 8601 in UTC; "" for others."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        else:
            moment = datetime.fromtimestamp(float(value) / 1000, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return ""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def problem_of(photo: StreetPhoto) -> str:
    """What a photo lacks; "" where it has all it must have."""
    missing = {NO_ID: not photo.id, NO_POSITION: photo.lat is None, NO_PICTURE: not photo.url}
    return next((problem for problem, is_missing in missing.items() if is_missing), "")
