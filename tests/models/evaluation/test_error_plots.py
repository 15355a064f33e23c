"""Pictures of a test: what is drawn is what was measured."""

import numpy as np
import pytest
from PIL import Image

from data.images import ImageError
from models.evaluation import photo_panel
from models.evaluation.error_plots import cumulative, draw_errors, draw_world, straight_lines
from models.evaluation.photo_panel import draw_panel, extremes


def test_the_curve_is_the_share_within_each_distance():
    errors = np.random.default_rng(0).lognormal(5, 2, 40)
    distances, percent = cumulative(errors)
    for km in (1, 25, 200, 750, 2500):
        at = percent[np.searchsorted(distances, km, side="right") - 1]
        assert at == pytest.approx(100 * sum(e <= km for e in errors) / 40)
    assert (percent[0], percent[-1]) == (0, 100)


def test_lines_take_the_short_way_round():
    assert straight_lines(1, 2, 3, 4) == [[(2, 1), (4, 3)]]
    east, west = straight_lines(-17, 179, -18, -179), straight_lines(-18, -179, -17, 179)
    assert east == [[(179, -17), (181, -18)], [(-181, -17), (-179, -18)]]
    assert west == [[(-179, -18), (-181, -17)], [(181, -18), (179, -17)]]
    for line in (*east, *west):
        assert abs(line[0][0] - line[1][0]) == 2


@pytest.mark.parametrize("photos", [1, 2, 30, 500])
def test_pictures_are_drawn_of_few_and_of_many(photos, tmp_path):
    rng = np.random.default_rng(photos)
    lat, lon = rng.uniform(-80, 80, photos), rng.uniform(-180, 180, photos)
    errors = np.where(rng.random(photos) < 0.2, 0.0, rng.lognormal(6, 2, photos))
    draw_errors(
        {"fine": errors, "hierarchical": errors / 2, "prior": errors * 2}, tmp_path / "c.png", "t"
    )
    draw_world((lat, lon), (-lat, -lon), errors, tmp_path / "w.png", "t")
    for name in ("c.png", "w.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 900
    assert not list(tmp_path.glob("*.tmp"))


def test_best_and_worst_share_no_photo():
    errors = np.array([5.0, 1.0, 9.0, 3.0, 7.0])
    best, worst = extremes(errors, 12)
    assert (best.tolist(), worst.tolist()) == ([1, 3], [2, 4])
    best, worst = extremes(errors, 1)
    assert (best.tolist(), worst.tolist()) == ([1], [2])
    best, worst = extremes(errors[:1], 12)
    assert (best.tolist(), worst.tolist()) == ([0], [])


def test_the_panel_shows_them_and_a_lost_photo_is_grey(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_panel, "COLUMNS", 2)
    monkeypatch.setattr(photo_panel, "ROWS", 1)
    asked = []

    def read(key, side_px):
        asked.append(key)
        if key == "p0":
            raise ImageError("gone")
        return np.full((300, 400, 3), (0, 255, 0) if key == "p3" else (255, 0, 0), np.uint8)

    errors = np.array([1.0, 2.0, 3.0, 4.0])
    draw_panel(["p0", "p1", "p2", "p3"], errors, read, tmp_path / "p.png", "t")
    assert asked == ["p0", "p1", "p3", "p2"]
    with Image.open(tmp_path / "p.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(0, 255, 0), (255, 0, 0), (200, 200, 200)} <= colours
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
