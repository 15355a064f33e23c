"""Position, direction and date of a photo, from tags that Pillow wrote and from damaged ones."""

import math

import pytest
from PIL import Image

from data.images import ImageError
from data.photos.exif import day_of, exif_facts, heading_of


def tagged(encode, photo, gps, exposure=None, changed=None, kind="JPEG"):
    exif = Image.Exif()
    if changed:
        exif[0x0132] = changed
    exif[0x8825] = gps
    exif[0x8769] = exposure or {}
    return encode(photo(16, 24), kind, exif=exif)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_position_direction_and_date(kind, encode, photo):
    gps = {1: "S", 2: (33.0, 51.0, 25.2), 3: "W", 4: (151.0, 12.0, 54.0), 16: "T", 17: 372.5}
    exposure = {0x9003: "2021:06:05 11:22:33", 0x9004: "2022:01:01 00:00:00"}
    facts = exif_facts(tagged(encode, photo, gps, exposure, kind=kind))
    assert facts.lat == pytest.approx(-(33 + 51 / 60 + 25.2 / 3600), abs=1e-9)
    assert facts.lon == pytest.approx(-(151 + 12 / 60 + 54 / 3600), abs=1e-9)
    assert facts.heading == pytest.approx(12.5)
    assert facts.day == "2021-06-05"


def test_what_is_missing_is_unknown(encode, photo):
    facts = exif_facts(encode(photo(16, 24), "JPEG"))
    assert all(map(math.isnan, (facts.lat, facts.lon, facts.heading)))
    assert facts.day == ""
    # A position in whole degrees, no direction, and only the date of the position.
    facts = exif_facts(
        tagged(encode, photo, {1: "N", 2: (5.5,), 3: "E", 4: (7, 30), 29: "2020:02:01"})
    )
    assert (facts.lat, facts.lon, facts.day) == (5.5, 7.5, "2020-02-01")


def test_damaged_tags_cost_the_facts_not_the_photo(encode, photo):
    whole = tagged(encode, photo, {1: "N", 2: (5.0, 0.0, 0.0), 3: "E", 4: (7.0, 0.0, 0.0)})
    start = whole.index(b"Exif\0\0") + 6
    for place in range(start, start + 100):  # no byte of the tags may end in another error
        damaged = whole[:place] + b"\xff" + whole[place + 1 :]
        assert exif_facts(damaged).day == ""
    zero_over_zero = whole.replace((5).to_bytes(4, "big") + (1).to_bytes(4, "big"), bytes(8))
    assert zero_over_zero != whole
    assert math.isnan(exif_facts(zero_over_zero).lat)
    many = tagged(encode, photo, {1: "N", 2: (5.0, 30.0) + (0.0,) * 300, 3: "E", 4: (7.0,)})
    assert exif_facts(many).lat == 5.5
    with pytest.raises(ImageError, match="it is text: not an image"):
        exif_facts(b"hello", "it is text")


@pytest.mark.parametrize(
    ("given", "day"),
    [
        ("2024-07-09 03:25:24.045000+02:00", "2024-07-09"),
        ("2019:12:31 23:59:59", "2019-12-31"),
        (20240131, "2024-01-31"),
        ("201403", "2014-03"),
        (2014.0, "2014"),
        (1577836800000, "2020-01-01"),  # 2020-01-01T00:00:00Z in milliseconds
        (1577836800, "2020-01-01"),
        ("0000:00:00 00:00:00", ""),
        ("2021-13-01", ""),
        ("9999", ""),
        ("yesterday", ""),
        ("1.60946E+12", "2021-01-01"),
        ("9e99", ""),
        ("\u00b2" * 10, ""),  # a digit to Python, no number
        ("\u0661\u0669\u0669\u0669", ""),  # 1999 in digits that are none of EXIF's
        (None, ""),
        (math.nan, ""),
    ],
)
def test_days(given, day):
    assert day_of(given) == day


def test_headings():
    assert heading_of("-90") == 270
    assert heading_of(360.0) == 0
    assert all(math.isnan(heading_of(value)) for value in (None, "north", math.inf))
