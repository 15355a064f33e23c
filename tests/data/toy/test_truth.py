"""The made-up town's exact maps, against the photos that show the same."""

from dataclasses import replace

import numpy as np
import pytest

from data.seg_maps.stored_maps import StoredMaps
from data.toy.camera import Pose, photograph
from data.toy.city import make_toy_city
from data.toy.town import build_town
from data.toy.truth import BUILDING, PASSER_BY, SKY, CityShape, label, make_mapped_city

SIZE, POSE = (60, 84), Pose(66, 30, 20)


@pytest.fixture(scope="module")
def town():
    return build_town(0, blocks=(2, 2))


@pytest.mark.parametrize("pose", [POSE, Pose(3, -2, 77), Pose(70, 71, 200)], ids=str)
def test_buildings_are_what_changes_with_the_colour_of_the_walls(town, pose):
    facades = town.facades
    other = {name: getattr(facades, name) * 0.3 + 0.1 for name in ("wall", "frame", "glass")}
    repainted = replace(town, facades=replace(facades, **other))
    before, after = (photograph(t, pose, SIZE, seed=3).astype(int) for t in (town, repainted))
    changed = (before != after).any(axis=2)
    is_building = label(town, pose, SIZE, seed=3) == BUILDING
    assert not (changed & ~is_building).any()
    assert (changed & is_building).sum() >= 0.97 * is_building.sum()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_passers_by_are_what_an_empty_street_does_not_show(town, seed):
    crowded, empty = (
        photograph(town, POSE, SIZE, passers_by=n, seed=seed).astype(float) for n in (6, 0)
    )
    differs = (np.abs(crowded - empty) > 25).any(axis=2)  # the camera's noise: 3 levels
    is_hidden = label(town, POSE, SIZE, passers_by=6, seed=seed) == PASSER_BY
    assert is_hidden.any()
    assert not (differs & ~is_hidden).any()
    assert (differs & is_hidden).sum() >= 0.8 * is_hidden.sum()  # some are as grey as the wall
    assert not (label(town, POSE, SIZE, passers_by=0, seed=seed) == PASSER_BY).any()


def test_sky_is_above_and_there_is_nothing_but_the_classes(town):
    seg = label(town, Pose(-30, -30, 225), SIZE, passers_by=0)  # looks out of town
    assert (seg[: SIZE[0] // 2] == SKY).all()
    assert not (seg[SIZE[0] // 2 :] == SKY).any()


def test_the_set_is_the_toy_citys_with_a_map_beside_each_photo(tmp_path):
    arguments = {"blocks": (1, 1), "step_m": 200.0, "queries": 1, "size": (32, 48), "seed": 1}
    make_toy_city(tmp_path / "city", **arguments)
    count = make_mapped_city(tmp_path / "mapped", tmp_path / "maps", CityShape(**arguments))
    photos = sorted((tmp_path / "city").rglob("*.jpg"))
    assert len(photos) == count
    maps = StoredMaps(tmp_path / "maps", tmp_path / "mapped")
    for photo in photos:
        twin = tmp_path / "mapped" / photo.relative_to(tmp_path / "city")
        assert twin.read_bytes() == photo.read_bytes()
        assert maps.of(twin, (32, 48)).max() <= PASSER_BY
    assert maps.classes.names[BUILDING] == "building"


def test_maps_that_cannot_be_used_say_why(tmp_path):
    with pytest.raises(ValueError, match="which names the classes"):
        StoredMaps(tmp_path, tmp_path)
    (tmp_path / "segmentation.json").write_text("[]")
    with pytest.raises(ValueError, match="no table of classes"):
        StoredMaps(tmp_path, tmp_path)
