"""Painting over what moves in a set: by class name, the source untouched, gone on with."""

import csv
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from data.seg_maps.classes import SegClasses
from data.seg_maps.png import encode_seg
from data.seg_maps.stored_maps import write_classes
from models.inpainting.inpainter import load_inpainter, save_inpainter
from models.inpainting.objects import object_hole
from models.inpainting.unet import PartialConvUNet, UNetSettings
from models.segmentation.segmenter import Segmenter
from setup.inpaint_places import main
from setup.places.object_painter import ObjectPainter, encode

os.environ.setdefault("HF_HUB_OFFLINE", "1")
CLASSES = SegClasses(("road", "car, auto", "person"), ((1, 1, 1), (0, 0, 142), (220, 20, 60)), "me")
SIZE = (40, 60)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "inpainter"
    save_inpainter(folder, PartialConvUNet(UNetSettings(width=4, depth=3)), {})
    return folder


@pytest.fixture
def places(tmp_path, encode, picture):
    """A photo with a car, one with a person, an empty one, one all car, two that are not judged."""
    folder, maps = tmp_path / "set", tmp_path / "maps"
    (folder / "images").mkdir(parents=True)
    (maps / "images").mkdir(parents=True)
    write_classes(maps, CLASSES)
    for number, name in enumerate(("car.png", "person.jpg", "empty.jpg", "all.jpg", "no_map.webp")):
        kind = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[name.rpartition(".")[2]]
        (folder / "images" / name).write_bytes(encode(picture(*SIZE, seed=number), kind))
        seg = np.zeros(SIZE, np.uint8)
        if name.startswith(("car", "person")):
            seg[10:20, 20:33] = 1 if name.startswith("car") else 2
        elif name.startswith("all"):
            seg[:, 5:] = 1
        path = (maps / "images" / name).with_suffix(".png")
        if name != "no_map.webp":
            path.write_bytes(encode_seg(seg, CLASSES))
    (folder / "images" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    (folder / "photos.csv").write_text("a table")
    return folder


def run(places, model, *more):
    output = ["--output", str(places.parent / "out"), "--model", str(model), "--device", "cpu"]
    return main(["--data", str(places), *output, *more])


def by_maps(places, model, *more):
    return run(places, model, "--maps", str(places.parent / "maps"), *more)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def outcomes(places):
    rows = csv.DictReader((places.parent / "out" / "inpainted.csv").open())
    return {row["photo"].removeprefix("images/"): row["outcome"] for row in rows}


def test_what_moves_is_painted_over_and_all_else_linked(places, model, capsys):
    before, out = files(places), places.parent / "out"
    assert by_maps(places, model) == 0
    assert files(places) == before
    assert outcomes(places) == {
        "car.png": "painted", "person.jpg": "painted", "empty.jpg": "nothing moves",
        "all.jpg": "too much hidden", "no_map.webp": "not judged", "broken.jpg": "not judged",
    }  # fmt: skip
    for name, outcome in outcomes(places).items():
        is_linked = (out / "images" / name).samefile(places / "images" / name)
        assert is_linked == (outcome != "painted")
    photo, painted = (pixels(f / "images" / "car.png") for f in (places, out))
    hole = np.zeros(SIZE, bool)
    hole[7:23, 17:36] = True  # the car, widened by 3 px
    assert np.array_equal(painted, load_inpainter(model).fill(photo, hole))
    assert np.array_equal(painted[~hole], photo[~hole])
    said = capsys.readouterr().out
    assert "2 of 6 photos painted over, 1 show nothing that moves, 1 are hidden too far" in said
    assert "2 cannot be judged" in said
    rows = {row["photo"]: row for row in csv.DictReader((out / "inpainted.csv").open())}
    assert float(rows["images/car.png"]["hole"]) == pytest.approx(hole.mean(), abs=1e-5)
    assert "no map" in rows["images/no_map.webp"]["error"]


def test_provenance_says_what_was_done(places, model):
    (places / "provenance.json").write_text('{"made_by": "me"}')
    assert by_maps(places, model) == 0
    record = json.loads((places.parent / "out" / "provenance.json").read_text())
    assert record["done"]["painted_over"] == ["car, auto", "person"]
    assert record["done"]["inpainter_sha256"] == load_inpainter(model).sha256
    assert record["outcomes"]["painted"] == 2
    assert record["is_finished"]
    assert record["source_provenance"] == {"made_by": "me"}
    assert (places.parent / "out" / "photos.csv").read_text() == "a table"


def test_classes_are_chosen_by_name(places, model, capsys):
    assert by_maps(places, model, "--classes", "Person", "--dilate_px", "0") == 0
    assert outcomes(places)["car.png"] == "nothing moves"
    assert outcomes(places)["person.jpg"] == "painted"
    assert by_maps(places, model) == 2
    assert "was begun with painted_over: ['person']" in capsys.readouterr().err
    assert by_maps(places, model, "--output", str(places.parent / "b"), "--classes", "tram") == 2
    assert "no class is called tram" in capsys.readouterr().err


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_stopped_run_goes_on_and_ends_alike(places, model, monkeypatch, after):
    assert by_maps(places, model, "--output", str(places.parent / "whole")) == 0
    one, done = ObjectPainter._one, []

    def interrupted(self, *arguments):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(1)
        return one(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectPainter, "_one", interrupted)
        assert by_maps(places, model, "--batch", "2") == 130
    assert by_maps(places, model, "--batch", "3") == 0
    whole, resumed = files(places.parent / "whole"), files(places.parent / "out")
    for journals in (whole, resumed):
        del journals["inpainted.jsonl"], journals["copied.jsonl"]
    assert resumed == whole


def test_a_finished_run_paints_nothing_again(places, model, monkeypatch):
    assert by_maps(places, model) == 0
    before = files(places.parent / "out")
    monkeypatch.setattr(ObjectPainter, "_one", None)
    assert by_maps(places, model) == 0
    del before["inpainted.jsonl"], before["copied.jsonl"]
    assert before.items() <= files(places.parent / "out").items()


def test_a_painted_photo_that_was_edited_is_left_alone(places, model, capsys):
    assert by_maps(places, model) == 0
    edited = places.parent / "out" / "images" / "person.jpg"
    edited.write_bytes(b"edited")
    source = places / "images" / "person.jpg"
    os.utime(source, ns=(1, 1))
    assert by_maps(places, model) == 0
    assert edited.read_bytes() == b"edited"
    assert "1 files that it did not make, or that were edited" in capsys.readouterr().out


def test_what_the_source_has_lost_goes_and_what_has_changed_is_painted_again(
    places, model, picture, encode, capsys
):
    assert by_maps(places, model) == 0
    out, images = places.parent / "out", places / "images"
    before = files(out)
    (images / "car.png").unlink()  # painted
    (images / "empty.jpg").unlink()  # linked
    (images / "person.jpg").write_bytes(encode(picture(*SIZE, seed=9), "JPEG"))  # blurred, say
    (out / "images" / "mine.jpg").write_bytes(b"mine")
    capsys.readouterr()
    assert by_maps(places, model) == 0
    after = files(out)
    assert before.keys() - after.keys() == {"images/car.png", "images/empty.jpg"}
    assert after["images/mine.jpg"] == b"mine"
    assert set(outcomes(places)) == {"person.jpg", "all.jpg", "no_map.webp", "broken.jpg"}
    said = capsys.readouterr().out
    assert "2 files removed from it, gone from" in said
    assert "1 photos in it are none of this copy's: images/mine.jpg" in said
    whole = places.parent / "anew"
    assert by_maps(places, model, "--output", str(whole)) == 0
    assert after["images/person.jpg"] == (whole / "images" / "person.jpg").read_bytes()
    assert after["images/person.jpg"] != before["images/person.jpg"]


def test_another_source_is_refused(places, model, capsys):
    assert by_maps(places, model) == 0
    other = places.rename(places.parent / "other")
    before = files(places.parent / "out")
    assert by_maps(places, model, "--data", str(other)) == 2
    assert f"is a copy of {places}, not of {other}; give another" in capsys.readouterr().err
    assert files(places.parent / "out") == before


def test_a_copy_of_a_copy(places, model):
    assert by_maps(places, model) == 0
    (places.parent / "maps" / "images" / "no_map.png").unlink(missing_ok=True)
    again = ["--output", str(places.parent / "again"), "--data", str(places.parent / "out")]
    assert by_maps(places, model, *again) == 0


def test_a_network_tells_where_things_stand(places, model, tiny_segformer):
    for path in places.rglob("*.*"):
        if path.name not in ("car.png", "broken.jpg"):
            path.unlink()
    segmenter = Segmenter.load(str(tiny_segformer), "cpu")
    photo = pixels(places / "images" / "car.png")
    hole = object_hole(segmenter.maps([photo])[0], [2, 5], 1)  # building, roof
    assert 0 < hole.mean() < 1
    flags = ["--segmenter", str(tiny_segformer), "--classes", "building", "roof"]
    assert run(places, model, *flags, "--dilate_px", "1", "--most_hole", "1") == 0
    assert outcomes(places) == {"car.png": "painted", "broken.jpg": "not judged"}
    painted = pixels(places.parent / "out" / "images" / "car.png")
    assert np.array_equal(painted, load_inpainter(model).fill(photo, hole))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--dilate_px", "-1"], "--dilate_px is 0 or more"),
        (["--model", "/nowhere"], "holds no config.json"),
        (["--output", "{set}/x"], "lie in one another"),
        (["--maps", "{set}"], "which names the classes"),
    ],
)
def test_what_cannot_be_done_says_why(places, model, capsys, more, message):
    assert by_maps(places, model, *(part.format(set=places) for part in more)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("suffix", "most"), [(".png", 0), (".jpg", 2), (".JPEG", 2), (".webp", 4)])
def test_files_are_of_the_kind_that_their_name_says(tmp_path, picture, suffix, most):
    photo = picture(30, 44)
    (tmp_path / f"x{suffix}").write_bytes(encode(photo, suffix))
    there = Image.open(tmp_path / f"x{suffix}")
    assert there.format == {".png": "PNG", ".webp": "WEBP"}.get(suffix, "JPEG")
    assert np.abs(np.asarray(there.convert("RGB")).astype(int) - photo).mean() <= most
