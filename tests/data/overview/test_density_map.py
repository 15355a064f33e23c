"""The density map: counts that add up, at the right place of the picture."""

import numpy as np
import pytest
from PIL import Image

from data.overview.density_map import density, draw_density


def test_counts_equal_a_loop():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-90, 90, 300), rng.uniform(-180, 180, 300)
    lat[:4], lon[:4] = [90, -90, 0, 0], [180, -180, 180, 0]
    for square_deg in (1.0, 10.0, 0.5):
        grid = density(lat, lon, square_deg)
        assert grid.shape == (180 / square_deg, 360 / square_deg)
        expected = np.zeros_like(grid)
        for y, x in zip(lat, lon, strict=True):
            row = min(int((y + 90) // square_deg), grid.shape[0] - 1)
            expected[row, min(int((x + 180) // square_deg), grid.shape[1] - 1)] += 1
        np.testing.assert_array_equal(grid, expected)


def dark(path):
    """Columns and rows, as parts of the picture, of the pixels in the colours of many samples."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    rows, columns = np.nonzero((pixels[:, :, 0] < 90) & (pixels[:, :, 1] < 30))
    below_title = rows > 130
    return columns[below_title] / pixels.shape[1], rows[below_title] / pixels.shape[0]


def test_samples_stand_where_they_should(tmp_path):
    places = []
    for lat, lon in ((50.0, 100.0), (-30.0, -60.0)):
        path = tmp_path / "map.png"
        draw_density(np.full(5000, lat + 0.5), np.full(5000, lon + 0.5), path, square_deg=5.0)
        assert Image.open(path).size[0] == 2400
        places.append([part.mean() for part in dark(path)])
    (east, north), (west, south) = places
    assert east - west == pytest.approx(160 / 360 * (1 - 0.6 / 16), abs=0.01)
    assert north < south


def test_the_poles_are_drawn_where_there_are_samples(tmp_path):
    draw_density(np.array([89.0, -89.0]), np.zeros(2), tmp_path / "both.png")
    draw_density(np.array([0.0]), np.zeros(1), tmp_path / "middle.png")
    heights = [Image.open(tmp_path / name).size[1] for name in ("both.png", "middle.png")]
    assert heights[0] > heights[1]


def test_no_sample(tmp_path):
    with pytest.raises(ValueError, match="no sample"):
        draw_density(np.empty(0), np.empty(0), tmp_path / "map.png")
    assert not list(tmp_path.iterdir())
