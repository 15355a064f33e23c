"""Positions in file names: what is written is read, what is no position is refused."""

import pytest

from data.place_sets.names import PlaceName


def test_the_benchmarks_names_are_read():
    name = (
        "@0584939.62@4476863.12@17@T@40.43685@-079.99902@pitt_a1@03@090@@@@20140102@night walk@.jpg"
    )
    place = PlaceName.parse(name)
    assert (place.utm_east, place.utm_north) == (584939.62, 4476863.12)
    assert (place.utm_zone, place.utm_letter) == (17, "T")
    assert (place.lat, place.lon, place.heading) == (40.43685, -79.99902, 90)
    assert (place.pano_id, place.tile, place.timestamp) == ("pitt_a1", "03", "20140102")
    assert (place.pitch, place.note) == ("", "night walk")


@pytest.mark.parametrize(
    "name", ["@1.5@2@.jpg", "@1.5@2.jpg", "@1.5@2@@@@@@@@@@@@@.jpg", "@1.5@2@"]
)
def test_two_fields_are_enough(name):
    place = PlaceName.parse(name)
    assert (place.utm_east, place.utm_north, place.lat) == (1.5, 2.0, None)


@pytest.mark.parametrize("end", ["0012.jpg", "IMG_12.jpg", "99.jpg"])
def test_what_comes_after_the_last_sign_is_no_field(end):
    place = PlaceName.parse(f"@1.5@2@{end}")
    assert (place.utm_east, place.utm_north, place.utm_zone) == (1.5, 2.0, None)


def test_what_is_written_is_read():
    place = PlaceName(
        395000.25, 4991000.5, 32, "T", 45.064673, 7.66627, "seq 1/2", "3", 12.5, timestamp="2021"
    )
    again = PlaceName.parse(str(place))
    assert again.pano_id == "seq_1_2"  # no blank, no slash, no @ in a field
    assert (again.utm_east, again.utm_north) == (395000.25, 4991000.5)
    assert (again.lat, again.lon, again.heading) == (45.064673, 7.66627, 12.5)
    assert str(again) == str(place)


@pytest.mark.parametrize(
    "name",
    [
        "photo.jpg",
        "",
        "@.jpg",
        "@a@b@.jpg",
        "@1@.jpg",
        "@nan@2@.jpg",
        "@1@inf@.jpg",
        "1@2@3@.jpg",
        "@1@2@x@T@.jpg",
        "@1@2@61@T@.jpg",
        "@1@2@99999999999999999999@.jpg",
    ],
)
def test_other_names_are_refused_by_name(name):
    with pytest.raises(
        ValueError, match=r"no number|not finite|not named|invalid|none of 1 to 60"
    ) as error:
        PlaceName.parse(name)
    assert str(error.value).startswith(name)
