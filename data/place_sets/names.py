"""File names that hold a photo's position, as the visual place recognition benchmark writes them.

    @UTM_east@UTM_north@zone@letter@lat@lon@pano@tile@heading@pitch@roll@height@timestamp@note@.jpg

Only the first two fields are needed, in metres (UTM: universal transverse Mercator). Format:
Berton et al., "Deep Visual Geo-localization Benchmark", 2022, https://arxiv.org/abs/2204.03444.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

FIELDS = (
    "utm_east",
    "utm_north",
    "utm_zone",
    "utm_letter",
    "lat",
    "lon",
    "pano_id",
    "tile",
    "heading",
    "pitch",
    "roll",
    "height",
    "timestamp",
    "note",
)
_UNSAFE = re.compile(r"[@/\\\s]")


@dataclass(frozen=True)
class PlaceName:
    """What a file name says; "" or None where it says nothing.

    Attributes:
        utm_east, utm_north: Metres.
        utm_zone: 1 to 60.
        utm_letter: Of the latitude band.
        lat, lon: Degrees.
        pano_id: Of the panorama or sequence that the photo was cut from.
        tile: Number of the cut.
        heading: Degrees from north, clockwise.
        timestamp: As YYYYMM, YYYYMMDD, ... in the benchmark's files.
        note: Anything else.
    """

    utm_east: float
    utm_north: float
    utm_zone: int | None = None
    utm_letter: str = ""
    lat: float | None = None
    lon: float | None = None
    pano_id: str = ""
    tile: str = ""
    heading: float | None = None
    pitch: str = ""
    roll: str = ""
    height: str = ""
    timestamp: str = ""
    note: str = ""

    @classmethod
    def parse(cls, name: str) -> "PlaceName":
        """Read a file name; what comes after its last @ is no field.

        Raises:
            ValueError: it has no @, or no numbers where the position must be.
        """
        stem = name.rpartition("@")[0] if name.count("@") > 2 else name.rpartition(".")[0] or name
        parts = stem.split("@")[1:]
        if len(parts) < 2 or not name.startswith("@"):
            raise ValueError(f"{name}: not named @UTM_east@UTM_north@...@.jpg")
        fields: dict[str, str] = dict(zip(FIELDS, parts, strict=False))
        try:
            east, north = (_finite(fields[key]) for key in ("utm_east", "utm_north"))
            zone = int(fields.get("utm_zone") or 0) or None
            if zone is not None and not 1 <= zone <= 60:
                raise ValueError(f"zone {zone} is none of 1 to 60")
            numbers: dict[str, Any] = {
                key: _number(fields.get(key, "")) for key in ("lat", "lon", "heading")
            }
        except ValueError as error:
            raise ValueError(f"{name}: {error}; its fields are @{'@'.join(FIELDS)}@") from None
        texts: dict[str, Any] = {k: fields.get(k, "") for k in FIELDS[3:] if k not in numbers}
        return cls(east, north, zone, **texts, **numbers)

    def __str__(self) -> str:
        """The name, with .jpg."""
        fields = [f"{self.utm_east:.2f}", f"{self.utm_north:.2f}"]
        fields += [_text(key, getattr(self, key)) for key in FIELDS[2:]]
        return "@" + "@".join(fields) + "@.jpg"


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not finite")
    return value


def _number(text: str) -> float | None:
    return _finite(text) if text else None


def _text(key: str, value: object) -> str:
    if value is None:
        return ""
    if key in ("lat", "lon"):
        return f"{value:.6f}"
    if isinstance(value, float):
        return f"{value:g}"
    return _UNSAFE.sub("_", str(value))
