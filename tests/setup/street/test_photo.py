"""Items as services document them, and items of any other kind."""

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setup.street.mapillary import Mapillary
from setup.street.panoramax import Panoramax
from setup.street.photo import heading_of, link, number, point, text, utc

SERVICES = [Panoramax("http://x/api", False), Mapillary("http://x", False)]
NAMES = ["id", "geometry", "coordinates", "properties", "assets", "sd", "href", "providers"]
NAMES += ["datetime", "license", "view:azimuth", "captured_at", "camera_parameters", "creator"]
NAMES += ["width", "height", "camera_type", "features", "links", "rel", "data", "error", "code"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["perspective", "next", "2020-01-01", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(JSON)
def test_any_json_is_a_photo_with_a_problem_or_without(item):
    for service in SERVICES:
        photo = service.photo(item)
        assert photo.problem or (photo.id and photo.url and abs(photo.lat) <= 90)
        assert all(part.encode() is not None for part in photo if isinstance(part, str))
        service.status(200, item)
        with contextlib.suppress(ValueError):
            assert isinstance(service.page(item).next_url, str)
            service.item(item)


def test_the_field_of_view_of_a_pinhole_camera():
    """Against the angle between the rays to the picture's left and right edges."""
    for width, height, focal in ((4000, 3000, 0.85), (3000, 4000, 0.6)):
        item = {"camera_type": "perspective", "camera_parameters": [focal, 0, 0]}
        hfov_deg = Mapillary("", False).photo(item | {"width": width, "height": height}).hfov_deg
        depth = focal * max(width, height)
        left, right = (-width / 2, depth), (width / 2, depth)
        cosine = (left[0] * right[0] + depth**2) / (math.hypot(*left) * math.hypot(*right))
        assert hfov_deg == pytest.approx(math.degrees(math.acos(cosine)))
    item["camera_type"] = "fisheye"
    assert Mapillary("", False).photo(item | {"width": 10, "height": 10}).hfov_deg is None


def test_what_mapillary_computed_goes_first():
    item = {
        "geometry": {"coordinates": [8.0, 50.0]},
        "computed_geometry": {"coordinates": [8.1, 50.1]},
        "compass_angle": 10,
        "computed_compass_angle": -20.5,
    }
    photo = Mapillary("", False).photo(item)
    assert (photo.lat, photo.lon, photo.heading) == (50.1, 8.1, 339.5)
    photo = Mapillary("", False).photo(item | {"computed_geometry": None})
    assert (photo.lat, photo.lon) == (50.0, 8.0)


def test_a_spherical_picture_that_tells_no_field_of_view():
    item = {"properties": {"tiles:tile_matrix_sets": {"geovisio": {}}}}
    assert Panoramax("", False).photo(item).hfov_deg == 360


@pytest.mark.parametrize(
    ("cut", "full"),
    [
        ([0, 10, 0], [80, 40]),
        ([0, -10, 0, 0], [80, 40]),
        ([40, 0, 40, 0], [80, 40]),
        ([0, math.nan, 0, 0], [80, 40]),
        ([0, 10, 0, 10], None),
        ("all of it", [80, 40]),
    ],
)
def test_a_part_of_the_sphere_that_makes_no_sense_is_left_out(cut, full):
    camera = {"field_of_view": 360, "visible_area": cut, "sensor_array_dimensions": full}
    photo = Panoramax("", False).photo({"properties": {"pers:interior_orientation": camera}})
    assert (photo.crop, photo.hfov_deg) == (None, 360)


def test_picture_sizes():
    item = {"assets": {"sd": {"href": "small"}, "hd": {"href": "large"}}}
    assert Panoramax("", False).photo(item).url == "small"
    assert Panoramax("", True).photo(item).url == "large"
    item = {"thumb_2048_url": "small", "thumb_original_url": "large"}
    assert Mapillary("", True).photo(item).url == "large"
    assert "thumb_original_url" in Mapillary("", True).search_url((1, 2, 3, 4))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_600_000_000_000, "2020-09-13T12:26:40Z"),
        ("2020-09-13T14:26:40.5+02:00", "2020-09-13T12:26:40Z"),
        ("2020-09-13T12:26:40", "2020-09-13T12:26:40Z"),
        ("yesterday", ""),
        (1e300, ""),
        (float("nan"), ""),
        (None, ""),
    ],
)
def test_times(value, expected):
    assert utc(value) == expected


def test_odd_values():
    assert [number(value) for value in (True, "1", 10**400, float("inf"), 2)] == [None] * 4 + [2.0]
    assert heading_of(None, float("nan"), 725) == 5
    assert heading_of() is None
    assert text(" a\n\x00b\ud800 ") == "a b"
    assert (text(12), text(True), text([]), len(text("x" * 999))) == ("12", "", "", 200)
    assert [link(value) for value in (" http://x/a b ", "http://x/\ud800", 5)] == [
        "http://x/a b",
        "",
        "",
    ]
    assert point({"coordinates": [200, 5]}, {"coordinates": [5, 6]}) == (6, 5)
