"""The contact sheet: the right photos at the right place, maps in their colours."""

import numpy as np
import pytest
from PIL import Image

from data.overview.contact_sheet import COLUMNS, GAP_PX, TILE_PX, TINT, chosen_rows, draw_sheet
from data.seg_maps.classes import SegClasses
from data.sharding.index_tables import read_seg_classes
from data.shards import Index, ShardWriter, main

CLASSES = SegClasses(("sky", "road"), ((0, 0, 255), (255, 0, 0)), "hand-made")
GREY = 100


@pytest.fixture
def folder(tmp_path, encode):
    """Eight grey photos, each second with a map of the classes 0, above, and 1, below."""
    seg = np.repeat([[0], [1]], 50, axis=0) * np.ones((1, 200), int)
    with ShardWriter(tmp_path / "shards", seg_classes=CLASSES) as writer:
        for i in range(8):
            photo = encode(np.full((100, 200, 3), GREY, np.uint8), "JPEG")
            metadata = {"lat": float(i), "lon": -float(i)}
            writer.write(f"p{i}", photo, metadata, encode(seg.astype(np.uint8)) if i % 2 else None)
    return tmp_path / "shards"


def tile(path, place):
    """A tile of a sheet, int `(TILE_PX, TILE_PX, 3)`."""
    sheet = np.asarray(Image.open(path).convert("RGB")).astype(int)
    step_y = (sheet.shape[0] - GAP_PX) // -(-8 // COLUMNS)
    x = GAP_PX + place % COLUMNS * (TILE_PX + GAP_PX)
    y = GAP_PX + place // COLUMNS * step_y
    return sheet[y : y + TILE_PX, x : x + TILE_PX]


def test_photos_and_maps_in_the_manifests_colours(folder, tmp_path):
    index = Index.open(folder)
    assert read_seg_classes(folder) == CLASSES
    draw_sheet(index, range(8), tmp_path / "sheet.png")
    plain, mapped = tile(tmp_path / "sheet.png", 6), tile(tmp_path / "sheet.png", 7)
    middle, quarter = TILE_PX // 2, TILE_PX // 4
    assert np.abs(plain[middle, quarter] - GREY).max() <= 2
    assert np.abs(plain[middle, -quarter] - GREY).max() <= 2
    assert np.abs(mapped[middle, quarter] - GREY).max() <= 2, "the left half is the photo"
    for y, colour in ((middle - 20, (0, 0, 255)), (middle + 20, (255, 0, 0))):
        tinted = (1 - TINT) * GREY + TINT * np.array(colour)
        assert np.abs(mapped[y, -quarter] - tinted).max() <= 2


def test_colours_of_unknown_classes_differ(write_shards, tmp_path):
    from data.overview.contact_sheet import _palette

    colours = _palette(Index.open(write_shards(2)))
    assert len({tuple(colour) for colour in colours.tolist()}) > 200
    apart = np.abs(colours[:12, None].astype(int) - colours[None, :12]).sum(axis=2)
    assert apart[np.triu_indices(12, 1)].min() > 30


def test_damaged_photos_show_why(folder, tmp_path):
    path = folder / "shard-000000.tar"
    data = bytearray(path.read_bytes())
    first = data.find(b"\xff\xd8\xff")
    data[first : first + 3] = b"\0\0\0"
    path.write_bytes(data)
    draw_sheet(Index.open(folder), [0], tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    assert ((sheet[:, :, 0] > 180) & (sheet[:, :, 1] < 100)).sum() > 50, "red writing"


def test_choice():
    assert chosen_rows(10, 3, None) == [0, 1, 2]
    chosen = chosen_rows(1000, 20, 5)
    assert chosen == sorted(set(chosen)) == chosen_rows(1000, 20, 5)
    assert len(chosen) == 20
    assert chosen != chosen_rows(1000, 20, 6)
    assert chosen_rows(4, 20, 0) == [0, 1, 2, 3]


def test_command(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["show", str(folder), "--output", str(out), "--samples", "3", "--first"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["contact_sheet.png", "density_map.png"]
    assert Image.open(out / "contact_sheet.png").size[0] == GAP_PX + 3 * (TILE_PX + GAP_PX)
    assert "contact_sheet.png, density_map.png" in capsys.readouterr().out
    with ShardWriter(tmp_path / "none"):
        pass
    assert main(["show", str(tmp_path / "none"), "--output", str(out)]) == 2
    assert "no sample to show" in capsys.readouterr().err
    assert main(["verify", "http://host/folder"]) == 2
    assert "verify where the shards lie" in capsys.readouterr().err
