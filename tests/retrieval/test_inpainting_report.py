"""The comparison of ways to deal with what moves: the same queries, paired, honest about loss."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from data.seg_maps.stored_maps import StoredMaps
from data.toy.truth import PASSER_BY, CityShape, make_mapped_city
from models.inpainting.inpainter import Inpainter
from models.inpainting.objects import object_hole
from models.inpainting.unet import PartialConvUNet, UNetSettings
from retrieval.inpainting.town import Town, TownSettings, make_town, paint
from retrieval.inpainting.ways import hidden_of
from retrieval.inpainting_report import Answered, compared, main, markdown


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A SYNTHETIC town of 22 photos with their maps, painted over by an untrained network."""
    folder = tmp_path_factory.mktemp("town")
    town = Town(*(folder / name for name in ("plain", "maps", "painted", "empty")))
    shape = CityShape((1, 1), 100.0, 6, (48, 64), passers_by=4)
    make_mapped_city(town.plain, town.maps, shape, splits=("test",))
    torch.manual_seed(0)
    paint(town, Inpainter(PartialConvUNet(UNetSettings(width=4, depth=3)).eval()))
    return town


def run(town, out, *more):
    folders = ["--data", str(town.plain), "--maps", str(town.maps), "--out", str(out)]
    small = ["--no-pretrained", "--img_size", "32", "48", "--inpainted", str(town.painted)]
    return main([*folders, *small, *more])


def test_painting_touches_nothing_but_what_moves(town):
    maps = StoredMaps(town.maps, town.plain)
    compared = 0
    for path in (town.plain / "images").rglob("*.jpg"):
        before, after = (
            np.asarray(Image.open(p)).astype(float)
            for p in (path, town.painted / path.relative_to(town.plain))
        )
        # 3 px are painted beside it, and a JPEG mixes the colours of 16 x 16 px.
        far = ~object_hole(maps.of(path), [PASSER_BY], 3 + 16)
        if far.sum() > 50:
            assert np.abs(before - after)[far].mean() < 4  # what two JPEGs differ by
            compared += 1
    assert compared


def test_a_report_of_all_ways(town, tmp_path, capsys):
    assert run(town, tmp_path) == 0
    rows = json.loads((tmp_path / "report.json").read_text())
    assert [(row["way"], row["k"]) for row in rows] == [
        (way, k) for way in ("as they are", "painted over", "masked features") for k in (1, 5)
    ]
    assert all(row["n"] == rows[0]["n"] for row in rows)
    assert rows[0]["won"] == rows[0]["lost"] == 0
    assert capsys.readouterr().out == (tmp_path / "report.md").read_text()
    assert Image.open(tmp_path / "ways.png").size[0] == 2 * (64 + 4)


def test_sets_that_are_alike_differ_by_nothing(town, tmp_path):
    assert run(town, tmp_path, "--inpainted", str(town.plain)) == 0
    rows = json.loads((tmp_path / "report.json").read_text())
    assert rows[2]["hits"] == rows[0]["hits"]
    assert (rows[2]["won"], rows[2]["lost"], rows[2]["p"]) == (0, 0, 1)


def test_differences_are_paired_query_by_query():
    before, after = np.array([0, 3, -1, 0, 2, -1]), np.array([0, 0, 4, -1, 1, -1])
    rows = compared([Answered("a", before), Answered("b", after)])
    first, fifth = rows[2:]
    assert (first["won"], first["lost"], first["hits"]) == (1, 1, 2)
    assert (fifth["won"], fifth["lost"], fifth["hits"]) == (1, 1, 4)
    assert first["points"] == 0
    assert "| b | 1 | 33.3" in markdown(rows, "six queries")


def test_a_mask_is_squeezed_as_its_photo_is(town):
    maps = StoredMaps(town.maps, town.plain)
    path = next(p for p in town.plain.rglob("*.jpg") if (maps.of(p) == PASSER_BY).mean() > 0.1)
    whole, half = (hidden_of(maps, path, [PASSER_BY], size) for size in ((32, 48), (16, 24)))
    blocks = whole.reshape(16, 2, 24, 2).float().mean(dim=(1, 3))
    assert half[blocks == 1].float().mean() > 0.95
    assert half[blocks == 0].float().mean() < 0.05


def test_photos_that_cannot_be_read_are_counted_and_never_answers(town, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(town.plain, broken)
    for folder, number in (("database", 3), ("queries", 2)):
        path = sorted((broken / "images" / "test" / folder).iterdir())[number]
        path.write_bytes(b"\xff\xd8\xff no photo")
    same = ["--data", str(broken), "--inpainted", str(broken)]
    assert run(town, tmp_path / "out", *same) == 0
    assert "cannot be read: 1 of the database, 1 queries" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["passers_by", "seed", "queries", "size", "steps"])
def test_a_folder_holds_one_town(tmp_path, monkeypatch, change):
    """Photos are known by their names alone: another town's would be taken for this one's."""
    made = []
    monkeypatch.setattr("retrieval.inpainting.town.make_mapped_city", lambda *_, **__: None)
    monkeypatch.setattr("retrieval.inpainting.town._learned", lambda *_: None)
    monkeypatch.setattr("retrieval.inpainting.town.paint", lambda *_: made.append(1))
    shape = CityShape((1, 1), 100.0, 6, (48, 64), passers_by=4)
    for _ in range(2):
        make_town(tmp_path / "a", TownSettings(shape, 10))
    other = TownSettings(shape, 11)
    if change != "steps":
        value = {"size": (48, 80)}.get(
            change, getattr(shape, change) + 1 if change != "size" else 0
        )
        other = TownSettings(shape._replace(**{change: value}), 10)
    with pytest.raises(ValueError, match=rf"other settings \({change}: .*take another --out"):
        make_town(tmp_path / "a", other)
    make_town(tmp_path / "b", other)
    assert len(made) == 3


def test_a_town_of_unknown_settings_is_refused(tmp_path):
    (tmp_path / "plain").mkdir()
    with pytest.raises(ValueError, match=r"no town\.json; take another --out"):
        make_town(tmp_path, TownSettings())
    (tmp_path / "town.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        make_town(tmp_path, TownSettings())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data", "/nowhere"], "no folder"),
        (["--maps", "/nowhere"], "which names the classes"),
        (["--model", "/nowhere"], "holds no config.json"),
    ],
)
def test_what_cannot_be_compared_says_why(town, tmp_path, capsys, more, message):
    assert run(town, tmp_path, *more) == 2
    assert message in capsys.readouterr().err
