"""Pictures out of panoramas: against a loop with rotation matrices, and straight lines stay so."""

import math

import numpy as np
import pytest
import torch

from data.panorama import (
    heading_deg,
    nadir_mask,
    sampling_places,
    tiles,
    undistort,
    undistort_batch,
    useful_band,
)

VIEWS = [(0, 0, 60), (170, 0, 90), (-200, 35, 100), (10, -80, 120), (45, 90, 50), (725, 5, 20)]


@pytest.fixture
def panorama():
    return np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)


def pixel_by_rotation(panorama, yaw_deg, pitch_deg, hfov_deg, size, row, column):
    """One pixel: its ray, turned by matrices, read by bilinear interpolation on the sphere."""
    height, width = size
    yaw, pitch, fov = (math.radians(angle) for angle in (yaw_deg, pitch_deg, hfov_deg))
    # Axes: x right, y up, z ahead.
    half = math.tan(fov / 2)
    ray = np.array(
        [
            half * ((column + 0.5) / width * 2 - 1),
            half * (1 - (row + 0.5) / height * 2) * height / width,
            1.0,
        ]
    )
    lift = np.array(
        [
            [1, 0, 0],
            [0, math.cos(pitch), math.sin(pitch)],
            [0, -math.sin(pitch), math.cos(pitch)],
        ]
    )
    turn = np.array(
        [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
    )
    x, y, z = turn @ lift @ ray
    rows, columns = panorama.shape[:2]
    v = (0.5 - math.asin(y / math.sqrt(x * x + y * y + z * z)) / math.pi) * rows - 0.5
    u = (math.atan2(x, z) / (2 * math.pi) + 0.5) * columns - 0.5

    def at(i, j):
        if i < 0 or i >= rows:  # over the pole: the same row, half way around
            i, j = (-1 - i if i < 0 else 2 * rows - 1 - i), j + columns // 2
        return panorama[i, j % columns].astype(float)

    i, j = math.floor(v), math.floor(u)
    down, right = v - i, u - j
    upper = at(i, j) * (1 - right) + at(i, j + 1) * right
    lower = at(i + 1, j) * (1 - right) + at(i + 1, j + 1) * right
    return upper * (1 - down) + lower * down


@pytest.mark.parametrize(("yaw", "pitch", "fov"), VIEWS)
@pytest.mark.parametrize("size", [(7, 9), (10, 6), (1, 1)], ids=str)
def test_every_pixel_is_where_its_ray_meets_the_sphere(panorama, yaw, pitch, fov, size):
    picture = undistort(panorama, yaw, pitch, fov, size)
    assert picture.shape == (*size, 3)
    for row in range(size[0]):
        for column in range(size[1]):
            expected = pixel_by_rotation(panorama, yaw, pitch, fov, size, row, column)
            np.testing.assert_allclose(picture[row, column], expected, atol=0.51)


@pytest.mark.parametrize(("yaw", "pitch", "fov"), VIEWS)
def test_torch_and_numpy_agree(panorama, yaw, pitch, fov):
    floats = torch.from_numpy(panorama).permute(2, 0, 1).float()
    both = undistort_batch(floats, [yaw, yaw + 90], pitch, fov, (7, 9))
    for picture, angle in zip(both, (yaw, yaw + 90), strict=True):
        ours = undistort(panorama, angle, pitch, fov, (7, 9))
        np.testing.assert_allclose(picture.permute(1, 2, 0).numpy(), ours, atol=0.51)


def test_the_middle_looks_where_it_should(panorama):
    def middle(yaw, pitch):
        places = sampling_places(panorama.shape, yaw, pitch, 60, (5, 5))
        return float(places.rows[2, 2]), float(places.columns[2, 2])

    assert middle(0, 0) == pytest.approx((15.5, 31.5))
    assert middle(90, 0) == pytest.approx((15.5, 47.5))  # grows to the right
    assert middle(0, 45) == pytest.approx((7.5, 31.5))  # grows upward


def test_straight_lines_stay_straight():
    # A wall 5 ahead with a straight beam on it, y = 1 + x / 4, painted onto the sphere.
    height, width = 512, 1024
    latitude = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    longitude = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    x = 5 * np.tan(longitude)[None]
    y = np.tan(latitude)[:, None] * np.hypot(x, 5)
    ahead = np.abs(longitude)[None] < 1.2
    panorama = np.repeat(((y > 1 + x / 4) & ahead)[..., None] * np.uint8(255), 3, axis=2)
    picture = undistort(panorama, 0, 0, 90, (200, 200))
    # Where the beam's edge lies in each column of the picture: the first dark row from the top.
    edge = (picture[:, 20:180, 0] < 128).argmax(axis=0)
    columns = np.arange(20, 180)
    fitted = np.polyval(np.polyfit(columns, edge, 1), columns)
    assert np.abs(edge - fitted).max() < 1.1  # a pixel of the panorama is about one of the picture
    assert edge.max() - edge.min() > 30


def test_tiles_go_around_and_know_their_heading(panorama):
    found = tiles(panorama, count=4, size=(6, 8))
    assert [tile.yaw_deg for tile in found] == [0, 90, 180, 270]
    assert all(tile.picture.shape == (6, 8, 3) for tile in found)
    assert heading_deg(300, 90) == 30
    assert heading_deg(10, -20) == 350
    with pytest.raises(ValueError, match="at least 1"):
        tiles(panorama, count=0)


def test_band_and_nadir():
    panorama = np.zeros((13, 26, 3), np.uint8)
    panorama[4:8] = 1
    assert useful_band(panorama).shape == (4, 26, 3)
    assert useful_band(panorama).all()
    with pytest.raises(ValueError, match="must leave a part"):
        useful_band(panorama, 0.6, 0.5)
    assert nadir_mask(18, below_deg=60).tolist() == [False] * 15 + [True] * 3


def test_bad_input_is_refused(panorama):
    with pytest.raises(ValueError, match=r"a panorama is \(H, 2 H, 3\)"):
        undistort(panorama[:20], 0, 0, 60, (5, 5))
    for fov in (0, 180, float("nan")):
        with pytest.raises(ValueError, match="hfov_deg"):
            undistort(panorama, 0, 0, fov, (5, 5))
    with pytest.raises(ValueError, match="no picture of 5 x 0"):
        undistort(panorama, 0, 0, 60, (0, 5))
    with pytest.raises(ValueError, match="at nan"):
        undistort(panorama, float("nan"), 0, 60, (5, 5))
