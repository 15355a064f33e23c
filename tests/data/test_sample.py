"""Keys, metadata and positions of samples: what is taken, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.sample import (
    check_key,
    image_id,
    key_problem,
    parse_metadata,
    position_of,
    safe_key,
    scene_of,
)


@given(st.text(min_size=1, max_size=15))
def test_safe_key_is_a_key_and_gives_the_id_back(text):
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair is no text
        return
    key = safe_key(text)
    assert image_id(key) == text
    if len(key) <= 91:
        assert key_problem(key) == ""


def test_plain_ids_stay():
    assert safe_key("Photo_1-a@2,3") == "Photo_1-a@2,3"
    assert safe_key("a.b/c%") == "a%2Eb%2Fc%25"


@pytest.mark.parametrize("key", ["", "a.b", "a/b", "..", "a\\b", "a b", "a\0", "a\n", "x" * 92])
def test_bad_keys(key):
    with pytest.raises(ValueError, match="safe_key"):
        check_key(key)


def test_positions():
    assert position_of({"lat": "1.5", "lon": -180}) == (1.5, -180.0)
    for metadata, what in (
        ({"lat": 1}, "no lat and lon"),
        ({"lat": None, "lon": 2}, "no lat and lon"),
        ({"lat": 10**400, "lon": 2}, "no lat and lon"),
        ({"lat": float("nan"), "lon": 2}, "missing"),
        ({"lat": 120, "lon": 45}, r"swapped\?"),
        ({"lat": 91, "lon": 181}, "out of range"),
    ):
        with pytest.raises(ValueError, match=what):
            position_of(metadata)


@pytest.mark.parametrize(
    ("s3", "scene"),
    [
        ([0.7, 0.2, 0.1], 0),
        ([0, 1, 0], 1),
        ([0.1, 0.2, 0.7], 2),
        ([0, 0, 0], -1),
        ([0.5, 0.5], -1),
        (None, -1),
        ("urban", -1),
        ([0.1, None, 0.3], -1),
        ([float("nan"), 1, 1], -1),
        ([float("inf"), 1, 1], -1),
        ([10**400, 1, 1], -1),
    ],
)
def test_scene(s3, scene):
    assert scene_of({"s3": s3}) == scene
    assert scene_of({}) == -1


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_bad_metadata(data):
    with pytest.raises(ValueError, match="its metadata is not"):
        parse_metadata(data)
