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
    vertical_fov_deg,
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


def test_nadir():
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


def test_any_view_agrees_with_py360convert():
    """Float positions, not bytes: https://github.com/sunset1995/py360convert, MIT."""
    peer = pytest.importorskip("py360convert.utils")
    random = np.random.default_rng(5)
    height, width = size = (12, 16)
    for _ in range(25):
        yaw, pitch = random.uniform(-180, 180), random.uniform(-90, 90)
        fov = random.uniform(10, 150)
        # Its outermost pixels' middles lie at the ends of the field of view, ours half a pixel in.
        half = math.tan(math.radians(fov) / 2)
        across = 2 * math.atan(half * (width - 1) / width)
        down = 2 * math.atan(half * height / width * (height - 1) / height)
        xyz = peer.xyzpers(across, down, -math.radians(yaw), math.radians(pitch), size, 0)
        columns, rows = (v[..., 0] for v in peer.uv2coor(*peer.xyz2uv(xyz), 256, 512))
        ours = sampling_places((256, 512, 3), yaw, pitch, fov, size)
        np.testing.assert_allclose(ours.rows, rows, atol=2e-3)  # it computes in float32
        apart = np.abs(ours.columns - columns)
        # Near a pole a small error turns far: measured along the circle of latitude.
        latitude = (0.5 - (rows + 0.5) / 256) * math.pi
        assert (np.minimum(apart, 512 - apart) * np.cos(latitude)).max() < 2e-3


@pytest.mark.parametrize("pitch", [90, -90])
def test_straight_up_and_down_the_pole_is_in_the_middle(panorama, pitch):
    places = sampling_places(panorama.shape, 30, pitch, 60, (5, 5))
    assert places.rows[2, 2] == pytest.approx(-0.5 if pitch > 0 else 31.5, abs=1e-5)
    # One half turn lies between the pixel above and the one below the pole.
    assert abs(places.columns[1, 2] - places.columns[3, 2]) == pytest.approx(32, abs=1e-4)
    expected = pixel_by_rotation(panorama, 30, pitch, 60, (5, 5), 1, 3)
    np.testing.assert_allclose(
        undistort(panorama, 30, pitch, 60, (5, 5))[1, 3], expected, atol=0.51
    )


def test_lines_in_space_stay_straight_at_any_view():
    """A 3D line through two points, projected by hand: its picture's points lie on a line."""
    random = np.random.default_rng(1)
    for _ in range(10):
        yaw, pitch, fov = random.uniform(-180, 180), random.uniform(-60, 60), 100
        places = sampling_places((4096, 8192, 3), yaw, pitch, fov, (300, 400))
        latitude = (0.5 - (places.rows + 0.5) / 4096) * np.pi
        longitude = ((places.columns + 0.5) / 8192 - 0.5) * 2 * np.pi
        # x right, y up, z ahead: what each pixel of the picture sees.
        rays = np.stack(
            [np.cos(latitude) * np.sin(longitude), np.sin(latitude),
             np.cos(latitude) * np.cos(longitude)], axis=-1,
        )  # fmt: skip
        a, b = rays[40, 60] * random.uniform(2, 9), rays[260, 330] * random.uniform(2, 9)
        points = a + np.linspace(0, 1, 9)[:, None] * (b - a)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        seen = np.array(
            [np.unravel_index((rays @ point).argmax(), rays.shape[:2]) for point in points]
        )
        fitted = np.polyval(np.polyfit(seen[:, 1], seen[:, 0], 1), seen[:, 1])
        assert np.abs(seen[:, 0] - fitted).max() < 1.1


def test_torch_pictures_have_the_right_gradient(panorama):
    floats = torch.from_numpy(panorama).permute(2, 0, 1).double().requires_grad_()
    pictures = undistort_batch(floats, [0, 100], 80, 70, (3, 4))
    pictures[1, 2, 0, 3].backward()
    gradient = floats.grad.clone()
    assert gradient.sum() == pytest.approx(1)  # bilinear shares of one pixel
    assert not gradient[:2].any()
    assert (gradient * floats).sum().item() == pytest.approx(pictures[1, 2, 0, 3].item())
    assert np.count_nonzero(gradient) <= 4


def test_a_batch_equals_its_pictures_one_by_one(panorama):
    floats = torch.from_numpy(panorama).permute(2, 0, 1).float()
    yaws = [0.0, 33.0, 200.0]
    both = undistort_batch(floats, yaws, -20, 80, (6, 5))
    for picture, yaw in zip(both, yaws, strict=True):
        torch.testing.assert_close(picture, undistort_batch(floats, [yaw], -20, 80, (6, 5))[0])


def test_tiles_are_the_pictures_of_undistort(panorama):
    for tile in tiles(panorama, 5, 80, 15, (9, 12)):
        expected = undistort(panorama, tile.yaw_deg, 15, 80, (9, 12)).astype(int)
        assert np.abs(tile.picture.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda p: undistort_batch(p[0], [0], 0, 60, (5, 5)), r"\(3, H, W\)"),
        (lambda p: undistort_batch(p.byte(), [0], 0, 60, (5, 5)), "floats"),
        (lambda p: undistort_batch(p, [], 0, 60, (5, 5)), "0 yaws"),
        (lambda p: undistort_batch(p[:, :20], [0], 0, 60, (5, 5)), r"\(H, 2 H, 3\)"),
        (lambda p: undistort(p.permute(1, 2, 0).numpy(), 0, 0, 60, (5, 5)), "uint8"),
        (lambda p: tiles(p.permute(1, 2, 0).numpy(), 4), "uint8"),
    ],
)
def test_wrong_arrays_are_refused(panorama, wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(torch.from_numpy(panorama).permute(2, 0, 1).float())


def test_vertical_field_of_view():
    assert vertical_fov_deg(90, (10, 10)) == pytest.approx(90)
    assert math.tan(math.radians(vertical_fov_deg(60, (3, 4)) / 2)) == pytest.approx(
        0.75 * math.tan(math.radians(30))
    )
