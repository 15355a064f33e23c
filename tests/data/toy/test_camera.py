"""The made-up town: rays against a loop over the walls, and photos that show what stands there."""

import math

import numpy as np
import pytest

from data.toy.camera import FARTHEST_M, Light, Pose, cast, photograph
from data.toy.town import build_town


@pytest.fixture(scope="module")
def town():
    return build_town(0, blocks=(2, 2))


def nearest_wall(town, pose, angle_deg):
    """Distance to the nearest wall in a direction, by stepping along the ray."""
    angle = math.radians(angle_deg)
    blocks = [
        (column * town.pitch_m + town.street_m / 2, row * town.pitch_m + town.street_m / 2)
        for column in range(town.blocks[0])
        for row in range(town.blocks[1])
    ]
    side = town.pitch_m - town.street_m
    for step in np.arange(0, 150, 0.01):
        x, y = pose.x + step * math.sin(angle), pose.y + step * math.cos(angle)
        if any(0 <= x - left <= side and 0 <= y - low <= side for left, low in blocks):
            return step
    return math.inf


@pytest.mark.parametrize("pose", [Pose(70, 30, 0), Pose(3, -2, 77), Pose(66, 71, 200)], ids=str)
def test_rays_end_at_the_nearest_wall(town, pose):
    across = np.array([-1.2, -0.3, 0.0, 0.5, 2.0])
    front, along, depth = cast(town.facades, pose, across)
    for i, tangent in enumerate(across):
        angle = pose.heading_deg + math.degrees(math.atan(tangent))
        expected = nearest_wall(town, pose, angle)
        if math.isinf(expected):
            assert depth[i] == FARTHEST_M
            continue
        distance = depth[i] * math.hypot(1, tangent)
        assert distance == pytest.approx(expected, abs=0.02)
        start, end = town.facades.start[front[i]], town.facades.end[front[i]]
        hit = start + (end - start) / np.linalg.norm(end - start) * along[i]
        there = np.array([pose.x, pose.y]) + distance * np.array(
            [math.sin(math.radians(angle)), math.cos(math.radians(angle))]
        )
        np.testing.assert_allclose(hit, there, atol=1e-6)


def test_fronts_close_the_blocks_and_leave_the_streets_free(town):
    lengths = np.linalg.norm(town.facades.end - town.facades.start, axis=1)
    assert lengths.sum() == pytest.approx(4 * 4 * (town.pitch_m - town.street_m))
    assert lengths.min() >= 7
    assert lengths.max() <= 23
    for point in town.street_points(5):
        for corner in (town.facades.start, town.facades.end):
            assert np.abs(corner - point).max(axis=1).min() >= town.street_m / 2 - 1e-9


def test_the_same_seed_gives_the_same_photo_and_another_place_another(town):
    def take(x, seed=0, **options):
        return photograph(town, Pose(x, 0, 0), seed=seed, **options).astype(int)

    assert np.array_equal(take(30), take(30))
    assert photograph(build_town(0, (2, 2)), Pose(30, 0, 0)).tolist() == take(30).tolist()
    assert take(30).shape == (160, 224, 3)
    same_place = np.abs(take(30, passers_by=0) - take(30, seed=1, passers_by=0)).mean()
    other_place = np.abs(take(30, passers_by=0) - take(50, passers_by=0)).mean()
    assert same_place < 8 < other_place


def test_passers_by_stand_in_the_way_of_a_part(town):
    alone = photograph(town, Pose(30, 0, 90), passers_by=0).astype(int)
    crowded = photograph(town, Pose(30, 0, 90), passers_by=8).astype(int)
    changed = (np.abs(alone - crowded).max(axis=2) > 60).mean()
    assert 0.005 < changed < 0.6


def test_night_is_dark_but_for_its_windows(town):
    day = photograph(town, Pose(30, 0, 0), passers_by=0)
    night = photograph(town, Pose(30, 0, 0), passers_by=0, light=Light(is_night=True))
    assert night.mean() < 0.5 * day.mean()
    assert (night.max(axis=2) > 200).mean() > 0.005


def test_impossible_towns_are_refused():
    for arguments in ({"blocks": (0, 2)}, {"street_m": 70}, {"street_m": 0}):
        with pytest.raises(ValueError, match="need a block"):
            build_town(**arguments)
