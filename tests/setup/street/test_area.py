"""Areas as people type them, and the boxes that they are cut into."""

import pytest

from partitioning.geodesy import haversine_km
from setup.street.area import area_km2, box_text, grid_boxes, parse_area, quarters

CITY = (2.3411, 48.8502, 2.3671, 48.8613)


def test_a_rectangle():
    assert parse_area("-1.7,48.1,-1.6,48.2") == [(-1.7, 48.1, -1.6, 48.2)]


def test_an_area_across_the_antimeridian_is_two_boxes():
    boxes = parse_area("179.9,-16.9,-179.9,-16.8")
    assert boxes == [(179.9, -16.9, 180.0, -16.8), (-180.0, -16.9, -179.9, -16.8)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3", "four numbers"),
        ("a,b,c,d", "longitude first"),
        ("nan,1,2,3", "leaves the map"),
        ("1,2,inf,3", "leaves the map"),
        ("48.1,151.2,48.2,151.3", "are lat and lon swapped"),
        ("2.3,48.9,2.4,48.8", "its south above its north"),
        ("2.3,48.8,2.3,48.9", "no extent"),
        ("2,48,4,50", "in pieces"),
        ("2.4,48.8,2.3,48.9", "across the antimeridian; is that meant"),
    ],
)
def test_areas_that_are_none(text, said):
    with pytest.raises(ValueError, match=said):
        parse_area(text)


def test_the_size_of_a_box():
    """Against sides measured along the meridian and the middle parallel."""
    west, south, east, north = CITY
    middle = (south + north) / 2
    sides = haversine_km(south, west, north, west) * haversine_km(middle, west, middle, east)
    assert area_km2(CITY) == pytest.approx(float(sides), rel=1e-6)
    assert area_km2((-180, -90, 180, 90)) == pytest.approx(510.07e6, rel=1e-4)  # the Earth


@pytest.mark.parametrize("area", [CITY, (-0.007, -0.003, 0.004, 0.008), (2.34, 48.85, 2.36, 48.86)])
def test_boxes_cover_an_area_once(area):
    boxes = grid_boxes(area, 0.005)
    assert sum(map(area_km2, boxes)) == pytest.approx(area_km2(area))
    west, south, east, north = zip(*boxes, strict=True)
    assert (min(west), min(south), max(east), max(north)) == area
    for box in boxes:
        assert 0 < box[2] - box[0] <= 0.005 + 1e-9
        assert 0 < box[3] - box[1] <= 0.005 + 1e-9


def test_areas_that_overlap_share_boxes():
    first, second = grid_boxes(CITY, 0.005), grid_boxes((2.35, 48.8502, 2.38, 48.87), 0.005)
    shared = set(first) & set(second)
    assert len(shared) >= 3 * 1


def test_quarters():
    box = (8.0, 50.0, 8.01, 50.004)
    assert sum(map(area_km2, quarters(box))) == pytest.approx(area_km2(box))
    assert quarters((8.0, 50.0, 8.0001, 50.0001)) == []


def test_boxes_are_written_without_exponents():
    assert box_text((-1e-05, 0.0, 100.0, 48.8502)) == "-0.00001,0,100,48.8502"
