"""The map picture is drawn and its command works."""

import numpy as np
import pytest
from PIL import Image

from partitioning.partition import build_partition, save
from partitioning.picture import draw_partition, main

T = {"coarse": (20, 500), "middle": (20, 200), "fine": (20, 80)}


@pytest.fixture(scope="module")
def picture(towns, tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "cells.png"
    draw_partition(build_partition(*towns, T), path)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_picture_is_wide_and_shows_sea_and_cells(picture):
    height, width, _ = picture.shape
    assert width == 2400
    assert 1000 < height < 2400
    bluish = picture[..., 2] - picture[..., 0]
    assert np.mean(bluish > 60) > 0.005, "no cell is to be seen"
    assert np.mean(np.ptp(picture, axis=2) < 12) > 0.3, "no sea or margin is to be seen"


def test_one_cell_of_one_photo_can_be_drawn(tmp_path):
    one = dict.fromkeys(T, (1, 1))
    draw_partition(build_partition([-85.0], [180.0], one), tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 10_000


def test_command_draws_and_refuses(towns, tmp_path, capsys):
    save(build_partition(*towns, T), tmp_path / "cells.parquet")
    assert main([str(tmp_path / "cells.parquet"), "--output", str(tmp_path / "map.png")]) == 0
    assert (tmp_path / "map.png").exists()
    (tmp_path / "bad.parquet").write_text("no")
    assert main([str(tmp_path / "bad.parquet")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
