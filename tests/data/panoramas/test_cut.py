"""Plain cuts: the very pixels of the panorama, around the seam too."""

import numpy as np
import pytest

from data.panoramas.cut import BAND_HEIGHT_DEG, BAND_PITCH_DEG, band_tiles, plain_cut


@pytest.fixture
def panorama():
    return np.random.default_rng(0).integers(0, 256, (52, 104, 3), dtype=np.uint8)


def test_the_band_is_four_thirteenths_looking_a_little_up():
    assert pytest.approx(180 * 4 / 13) == BAND_HEIGHT_DEG
    assert pytest.approx(90 - 180 * 6 / 13) == BAND_PITCH_DEG


def test_tiles_of_their_own_size_put_together_are_the_useful_band(panorama):
    found = band_tiles(panorama, 4, size=(16, 26))
    assert [tile.yaw_deg for tile in found] == [0, 90, 180, 270]
    whole = np.concatenate([tile.picture for tile in found], axis=1)
    # The first tile's middle is the panorama's: it begins 13 columns to the left of it.
    np.testing.assert_array_equal(np.roll(whole, 52 - 13, axis=1), panorama[16:32])


def test_a_cut_goes_around_the_seam(panorama):
    cut = plain_cut(panorama, 180, 0, 360 * 8 / 104, 180 * 4 / 52, (4, 8))
    expected = np.concatenate([panorama[24:28, -4:], panorama[24:28, :4]], axis=1)
    np.testing.assert_array_equal(cut, expected)


def test_a_straight_beam_is_bent_in_a_plain_cut_and_straight_undistorted():
    from data.panorama import undistort, vertical_fov_deg

    # A wall 5 ahead with a level edge 2 above the eye, painted onto the sphere.
    height, width = 512, 1024
    latitude = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    longitude = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    above = np.tan(latitude)[:, None] * 5 / np.cos(longitude)[None] > 2
    ahead = np.abs(longitude)[None] < 1.4
    panorama = np.repeat((above & ahead)[..., None] * np.uint8(255), 3, axis=2)

    def bend_px(picture):
        edge = (picture[:, 10:190, 0] < 128).argmax(axis=0)
        return edge.max() - edge.min()

    straight = undistort(panorama, 0, 0, 90, (200, 200))
    bent = plain_cut(panorama, 0, 0, 90, vertical_fov_deg(90, (200, 200)), (200, 200))
    assert bend_px(straight) <= 1
    # By hand: atan(2 / 5) in the middle, atan(2 cos(40.5 degrees) / 5) at the ends: 4.9 degrees.
    assert bend_px(bent) == pytest.approx(4.9 * 200 / 90, abs=1.5)


def test_wrong_input_is_refused(panorama):
    for angles in ((0, 0, 0, 40), (0, 0, 361, 40), (float("nan"), 0, 40, 40)):
        with pytest.raises(ValueError, match="no cut"):
            plain_cut(panorama, *angles, (4, 4))
    for pitch, height in ((60, 70), (0, 181), (0, 0), (float("nan"), 20)):
        with pytest.raises(ValueError, match="beyond a pole"):
            plain_cut(panorama, 0, pitch, 40, height, (4, 4))
    with pytest.raises(ValueError, match="at least 1"):
        band_tiles(panorama, 0)
    with pytest.raises(ValueError, match="uint8"):
        plain_cut(panorama.astype(float), 0, 0, 40, 40, (4, 4))
