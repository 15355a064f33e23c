"""Tiles of panoramas, from the command line: their table, what is passed by, going on."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from data.images import read_rgb
from data.panorama import tiles
from data.tables import read_photo_table
from setup.tile_panoramas import main


@pytest.fixture
def photos(tmp_path, picture, encode):
    """Two panoramas, a photo and a damaged file, with a table."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(("p1", "p2")):
        (folder / f"{name}.jpg").write_bytes(encode(picture(32, 64, number), quality=95))
    (folder / "flat.jpg").write_bytes(encode(picture(40, 60, 3)))
    (folder / "broken.jpg").write_bytes(encode(picture(32, 64, 4))[:300])
    table = tmp_path / "photos.csv"
    table.write_text(
        "image_id,lat,lon,heading,captured_at,author,licence,is_panorama\n"
        "p1,45.5,7.5,350,2023-05-01,ann,CC BY-SA 4.0,true\n"
        "p2,45.6,7.5,,2024-05-01,bob,CC0,true\n"
        "flat,45.6,7.5,10,,,,false\n"
        "broken,45.6,7.5,10,,,,true\n"
        "gone,45.6,7.5,10,,,,true\n"
    )
    return table


SMALL = ("--tiles", "3", "--size", "12", "16")


def tile(table, output, *flags):
    images = ("--images", str(table.parent / "photos")) if table.is_file() else ()
    return main(["--data", str(table), *images, "--output", str(output), *SMALL, *flags])


def rows_of(output):
    with (output / "tiles.csv").open() as file:
        return list(csv.DictReader(file))


def test_tiles_and_their_table(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert tile(photos, out) == 0
    said = capsys.readouterr().out
    assert "6 tiles of 2 panoramas" in said
    assert "1 photos passed by" in said
    assert "1 unreadable" in said
    assert "1 rows of the table refused" in said
    assert "1 panoramas without a heading" in said
    rows = rows_of(out)
    assert [float(row["heading"]) for row in rows[:3]] == [350, 110, 230]
    assert [row["heading"] for row in rows[3:]] == ["", "", ""]
    assert {row["author"] for row in rows[:3]} == {"ann"}
    assert rows[4]["licence"] == "CC0"
    assert (rows[4]["pano"], rows[4]["tile"], rows[4]["captured_at"]) == ("p2", "1", "2024-05-01")
    whole = read_rgb(tmp_path / "photos" / "p1.jpg")
    for row, expected in zip(rows, tiles(whole, 3, 60, 0, (12, 16)), strict=False):
        found = read_rgb(out / row["path"]).astype(int)
        assert np.abs(found - expected.picture).mean() < 6  # JPEG
    assert len(read_photo_table(out / "tiles.csv")) == 6  # what the next step reads
    passed_by = (out / "passed_by.csv").read_text()
    assert all(name in passed_by for name in ("flat", "broken", "gone"))


def test_the_same_command_goes_on(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert tile(photos, out) == 0
    table = (out / "tiles.csv").read_bytes()
    (out / "tiles" / "p1_02.jpg").unlink()
    before = (out / "tiles" / "p2_00.jpg").stat().st_mtime_ns
    capsys.readouterr()
    assert tile(photos, out) == 0
    assert "1 of them tiled before" in capsys.readouterr().out
    assert (out / "tiles.csv").read_bytes() == table
    assert (out / "tiles" / "p1_02.jpg").is_file()
    assert (out / "tiles" / "p2_00.jpg").stat().st_mtime_ns == before
    photos.write_text(photos.read_text().replace(",350,", ",20,"))  # a heading was mended
    assert tile(photos, out) == 0
    assert rows_of(out)[0]["heading"] == "20.0"
    assert tile(photos, out, "--plain") == 2
    assert "other settings" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_write_the_same(photos, tmp_path):
    """Each process imports torch: `make slow`."""
    assert tile(photos, tmp_path / "one") == 0
    assert tile(photos, tmp_path / "two", "--workers", "2") == 0
    for path in sorted((tmp_path / "one" / "tiles").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / "tiles" / path.name).read_bytes()
    one, two = (tmp_path / name / "tiles.csv" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_what_was_deleted_at_the_source_is_left_out_and_pruned(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert tile(photos, out) == 0
    (tmp_path / "photos" / "p2.jpg").unlink()
    assert tile(photos, out) == 0
    assert "1 panoramas of earlier runs left out" in capsys.readouterr().out
    assert len(rows_of(out)) == 3
    assert (out / "tiles" / "p2_00.jpg").is_file()
    assert tile(photos, out, "--prune") == 0
    assert not list((out / "tiles").glob("p2_*"))


def test_nadir_is_hidden_or_masked(photos, tmp_path):
    down = ("--pitch_deg", "-60", "--hfov_deg", "90", "--nadir_below_deg", "50")
    assert tile(photos, tmp_path / "hidden", *down, "--nadir", "hide") == 0
    assert tile(photos, tmp_path / "masked", *down, "--nadir", "mask") == 0
    row = rows_of(tmp_path / "masked")[0]
    mask = np.asarray(Image.open(tmp_path / "masked" / row["mask"])) > 0
    assert 0.2 < mask.mean() < 0.9
    assert mask[-1, 8]
    hidden = read_rgb(tmp_path / "hidden" / row["path"])
    assert np.abs(hidden[9:, 6:10].astype(int) - 128).max() < 12
    open_ = read_rgb(tmp_path / "masked" / row["path"])
    assert np.abs(open_[9:, 6:10].astype(int) - 128).max() > 20


def test_a_folder_with_tags(tmp_path, picture, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    file = io.BytesIO()
    xmp = b'<x GPano:ProjectionType="equirectangular" GPano:PoseHeadingDegrees="90"/>'
    Image.fromarray(picture(32, 64)).save(file, "JPEG", xmp=xmp)
    (folder / "a.jpg").write_bytes(file.getvalue())
    assert tile(folder, tmp_path / "out", "--plain") == 0
    assert [float(row["heading"]) for row in rows_of(tmp_path / "out")] == [90, 210, 330]
    assert "1 panoramas without a position" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "tiling.json").read_text())["is_plain"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--hfov_deg", "180"), "hfov_deg"),
        (("--tiles", "0"), "at least 1"),
        (("--plain", "--pitch_deg", "5"), "no pitch_deg"),
        (("--quality", "0"), "quality"),
    ],
)
def test_wrong_flags_are_refused(photos, tmp_path, capsys, flags, message):
    assert tile(photos, tmp_path / "out", *flags) == 2
    assert message in capsys.readouterr().err


def test_no_panorama_and_an_output_among_the_photos(tmp_path, picture, encode, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(encode(picture(40, 60)))
    assert tile(folder, tmp_path / "out") == 2
    assert "no panorama among the 1 photos" in capsys.readouterr().err
    assert tile(folder, folder / "tiles") == 2
    assert "lies in" in capsys.readouterr().err
