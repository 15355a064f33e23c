"""Terrain classes from synthetic relief pictures whose heights are known."""

import numpy as np
import pytest

from setup.demonstration.terrain import (
    CLASS_BOUNDS_M,
    CLASSES,
    FLAT_SHADE,
    HEIGHT_COLOURS,
    HIGH_MOUNTAIN,
    ICE,
    MOUNTAIN,
    PALETTE,
    WATER,
    heights_m,
    terrain_classes,
)

SEA = (90, 160, 220)
LOWLAND, PLAIN = 1, 2


def colour(height_m, shade=1.0):
    """The colour that the scale prints at a height."""
    rgb = [np.interp(height_m, HEIGHT_COLOURS[:, 0], HEIGHT_COLOURS[:, c]) for c in (1, 2, 3)]
    return np.clip(FLAT_SHADE * shade * np.array(rgb), 0, 255).astype(np.uint8)


def relief(height_m, size_px=40):
    return np.full((size_px, size_px, 3), colour(height_m), np.uint8)


def classes_of(picture, lat=0.0):
    return terrain_classes(picture, np.full(len(picture), lat))


@pytest.mark.parametrize("shade", [0.7, 0.9, 1.0, 1.1])
@pytest.mark.parametrize("height_m", [0, 69, 150, 345, 690, 1034, 1500, 2414, 3103, 4138])
def test_heights_are_read_under_any_shade(height_m, shade):
    found = heights_m(colour(height_m, shade)[None])[0]
    assert abs(found - height_m) <= 60 + 0.2 * height_m


@pytest.mark.parametrize(
    ("height_m", "name"),
    [
        (50, "lowland"),
        (345, "plain"),
        (690, "upland"),
        (1500, "highland"),
        (2759, "mountain"),
        (4483, "high mountain"),
    ],
)
def test_classes_of_flat_land(height_m, name):
    assert set(classes_of(relief(height_m)).ravel()) == {CLASSES.index(name)}


def test_classes_have_bounds_and_colours():
    assert len(PALETTE) == len(CLASSES) == len(CLASS_BOUNDS_M) + 3  # with water and ice
    assert len(np.unique(PALETTE, axis=0)) == len(CLASSES)
    assert (CLASSES[WATER], CLASSES[MOUNTAIN]) == ("water", "mountain")
    assert (CLASSES[HIGH_MOUNTAIN], CLASSES[ICE]) == ("high mountain", "ice")


def test_water_is_blue_to_the_pixel():
    picture = relief(345)
    picture[10:20, 5:30] = SEA
    is_water = classes_of(picture) == WATER
    assert is_water[10:20, 5:30].all()
    assert is_water.sum() == 250


def test_grey_is_a_plateau_near_the_equator_and_ice_towards_the_poles():
    plateau = relief(5172)  # grey: 204, 204, 204 before shading
    assert set(classes_of(plateau, lat=33).ravel()) == {HIGH_MOUNTAIN}
    assert set(classes_of(plateau, lat=72).ravel()) == {ICE}
    assert set(classes_of(plateau, lat=-72).ravel()) == {ICE}
    shore = relief(345)
    shore[19:21] = colour(5172)  # a thin grey line is no ice
    assert ICE not in classes_of(shore, lat=60)


def test_a_shore_is_not_a_mountain():
    """Averaging sea and land gives greys, which the scale has at 3500 m and more."""
    for height_m in (50, 345):
        picture = relief(height_m)
        picture[:, :18] = SEA
        picture[:, 18] = (np.array(SEA, int) + colour(height_m)) // 2  # drawn half sea, half land
        found = classes_of(picture)
        assert (found[:, :18] == WATER).all()
        assert set(found[:, 19:].ravel()) <= {WATER, LOWLAND, PLAIN}, height_m


def test_a_lake_among_mountains_keeps_its_shore():
    picture = relief(4483, size_px=60)
    picture[25:35, 25:35] = SEA
    found = classes_of(picture)
    assert (found == WATER).sum() == 100
    far = np.ones((60, 60), bool)
    far[21:39, 21:39] = False
    assert (found[far] == HIGH_MOUNTAIN).all()
