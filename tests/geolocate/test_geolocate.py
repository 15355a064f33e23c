"""The command and the library: one photo in, an answer or one clear line out."""

import contextlib
import dataclasses
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import geolocate
from geolocate import Geolocator, main
from retrieval.mapping.fix_map import map_paths

ROOT = Path(geolocate.__file__).parent


@pytest.fixture
def run(bundle):
    """Run the command: exit code, what it printed, what it complained."""

    def call(*words, model=None):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*map(str, words), "--model", str(model or bundle.path)])
        return code, out.getvalue(), err.getvalue()

    return call


def refused(answer):
    code, out, err = answer
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_prints_position_region_matches_and_notes(run, photos, gallery, locator):
    code, out, err = run(photos[3], "--gallery", gallery)
    fix = locator.locate(photos[3])
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == str(photos[3])
    assert f"{fix.lat:.4f}, {fix.lon:.4f}" in out
    assert f"{len(fix.cells)} cells" in out
    assert "  cell  " + fix.cells[0].token in out
    assert fix.matches[0].key == "k3"
    assert "k3" in out
    assert "Ann 3, CC0" in out
    assert all(note in out for note in fix.notes)


def test_json_is_one_object_a_line(run, photos, gallery):
    code, out, _ = run(*photos[:3], "--json", "--gallery", gallery, "--top_k", 2)
    assert code == 0
    answers = [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]
    assert [answer["photo"] for answer in answers] == [str(photo) for photo in photos[:3]]
    for answer in answers:
        region = answer["region_geojson"]["features"]
        assert [f["properties"]["token"] for f in region] == [c["token"] for c in answer["cells"]]
        assert len(answer["matches"]) <= 2
        assert {"lat", "lon", "radius_km", "level", "confidence", "notes"} <= set(answer)


def test_the_engines_agree(run, photos, gallery):
    one, other = (
        json.loads(run(photos[1], "--json", "--gallery", gallery, "--engine", engine)[1])
        for engine in ("onnx", "torch")
    )
    assert [c["token"] for c in one["cells"]] == [c["token"] for c in other["cells"]]
    assert (one["lat"], one["lon"], one["level"]) == (other["lat"], other["lon"], other["level"])
    for a, b in zip(one["matches"], other["matches"], strict=True):
        assert a["score"] == pytest.approx(b["score"], abs=1e-4)


def test_an_unreadable_photo_does_not_stop_the_others(run, photos, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(photos[0].read_bytes()[:700])
    code, out, err = run(photos[0], bad, tmp_path / "none.jpg", photos[1], "--json")
    assert code == 2
    assert [json.loads(line)["photo"] for line in out.splitlines()] == [*map(str, photos[:2])]
    assert [line.split()[0] for line in err.splitlines()] == ["error:"] * 2
    assert str(bad) in err
    assert str(tmp_path / "none.jpg") in err


def test_maps_are_one_file_a_photo_also_for_namesakes(run, photos, tmp_path):
    assert run(photos[0], "--map", tmp_path / "one.html")[0] == 0
    assert "default-src 'none'" in (tmp_path / "one.html").read_text()
    (tmp_path / "b").mkdir()
    namesake = shutil.copy(photos[1], tmp_path / "b" / "0.jpg")
    code, _, err = run(photos[0], namesake, photos[1], "--map", tmp_path / "several.html")
    assert code == 0
    maps = sorted(tmp_path.glob("several*.html"))
    assert [path.name for path in maps] == ["several-0-2.html", "several-0.html", "several-1.html"]
    assert maps[0].read_text() != maps[1].read_text()
    assert all(str(path) in err for path in maps)


def test_position_in_the_exif_is_neither_used_nor_shown(run, photos, gallery, tmp_path):
    bare = tmp_path / photos[0].name
    data = photos[0].read_bytes()
    start = data.index(b"\xff\xe1")
    bare.write_bytes(
        data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]
    )
    with Image.open(photos[0]) as image, Image.open(bare) as without:
        assert image.getexif().get_ifd(0x8825)[2] == (12.0, 34.0, 56.78)
        assert not without.getexif()
    shown = []
    for photo in (photos[0], bare):
        _, out, _ = run(photo, "--json", "--gallery", gallery, "--map", tmp_path / "map.html")
        page = (tmp_path / "map.html").read_text()
        shown.append((json.loads(out) | {"photo": ""}, page))
        for secret in ("12.58", "65.72", "56.78", "21.09"):
            assert secret not in out
    assert shown[0] == shown[1]


def test_help_imports_nothing_heavy():
    program = (
        "import sys, geolocate\n"
        "geolocate.build_parser().parse_args(['x.jpg'])\n"
        "heavy = {'numpy', 'torch', 'onnxruntime', 'PIL', 'json', 'pyarrow', 'pandas'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    shown = subprocess.run(
        [sys.executable, "geolocate.py", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert shown.returncode == 0
    assert "--precision_cap_km" in shown.stdout


def test_an_answer_with_gallery_and_map_imports_no_torch(bundle, gallery, photos, tmp_path):
    program = (
        "import sys, geolocate\n"
        "code = geolocate.main(sys.argv[1:])\n"
        "heavy = {'torch', 'pandas', 'timm', 'matplotlib', 'faiss'} & set(sys.modules)\n"
        "sys.exit(' '.join(heavy) or code)"
    )
    flags = ["--model", bundle.path, "--gallery", gallery, "--map", tmp_path / "m.html", "--json"]
    command = [sys.executable, "-c", program, *map(str, [photos[0], *flags])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["matches"]


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--area", "1,2,3"], "W,S,E,N"),
        (["--area", "a,b,c,d"], "W,S,E,N"),
        (["--area", "nan,0,1,1"], "four numbers"),
        (["--area=0,50,10,40"], "south above its north"),
        (["--area=0,40,999,50"], "leaves the map"),
        (["--precision_cap_km", "-1"], "precision cap"),
        (["--precision_cap_km", "nan"], "precision cap"),
        (["--precision_cap_km", "inf"], "precision cap"),
        (["--mass", "0"], "--mass"),
        (["--mass", "nan"], "--mass"),
        (["--mass", "95"], "--mass"),
        (["--top_k", "0"], "--top_k"),
    ],
)
def test_a_bad_request_is_refused_before_anything_is_loaded(run, photos, monkeypatch, flags, error):
    monkeypatch.setattr(Geolocator, "load", lambda *_: pytest.fail("loaded the model first"))
    assert error in refused(run(photos[0], *flags))


def test_maps_of_photos_whose_numbers_meet_are_one_file_each():
    photos = ["a.jpg", "b/a.jpg", "a-2.jpg", "c/a.jpg", "a-2-2.jpg", "d/a-2.jpg"]
    names = [path.name for path in map_paths(Path("answer.html"), photos).values()]
    assert len({*names}) == len(photos)
    assert names[:2] == ["answer-a.html", "answer-a-2.html"]
    many = [f"{i}/image.jpg" for i in range(3000)]
    assert len({*map_paths(Path("answer.html"), many).values()}) == 3000


def test_no_area_under_a_cap(run, photos, bundle, gallery):
    """Rectangle by rectangle it would tell where the withheld match lies."""
    err = refused(run(photos[0], "--area", "0,40,10,50", "--precision_cap_km", "25"))
    assert "no area goes with a precision cap" in err
    locator = Geolocator.load(bundle.path, gallery, precision_cap_km=25)
    with pytest.raises(ValueError, match="no area goes with a precision cap"):
        locator.locate(photos[0], area=(0, 40, 10, 50))


def test_one_map_for_several_photos_is_refused(run, photos):
    assert "one photo at a time" in refused(run(*photos[:2], "--seg", "map.png"))


def test_an_area_without_cells_names_photo_and_way_out(run, photos):
    err = refused(run(photos[0], "--area=-160,-5,-150,5"))
    assert str(photos[0]) in err
    assert "widen it" in err


def test_missing_and_damaged_models_end_in_one_line(run, photos, bundle, tmp_path):
    assert "train_vit.py" in refused(run(photos[0], model=tmp_path / "none"))
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    (copy / "model.onnx").write_bytes(b"\x08\x07damaged")
    assert "models.export" in refused(run(photos[0], model=copy))
    config = json.loads((copy / "config.json").read_text())
    for key in ("origin", "architecture", "model_sha256"):
        broken = {name: value for name, value in config.items() if name != key}
        (copy / "config.json").write_text(json.dumps(broken))
        assert "config.json" in refused(run(photos[0], model=copy))
    (copy / "config.json").write_text(json.dumps(config | {"architecture": {}}))
    assert "config.json" in refused(run(photos[0], model=copy))


def test_a_gallery_of_another_model_is_refused(run, photos, gallery, tmp_path):
    copy = shutil.copytree(gallery, tmp_path / "copy")
    header = json.loads((copy / "gallery.json").read_text())
    (copy / "gallery.json").write_text(json.dumps(header | {"model_sha256": "ab" * 32}))
    assert "was built with model abab" in refused(run(photos[0], "--gallery", copy))
    assert "no gallery in" in refused(run(photos[0], "--gallery", tmp_path / "none"))


def test_a_segmentation_map_changes_the_answer_and_must_fit(run, photos, tmp_path):
    classes = np.random.default_rng(0).integers(0, 5, (72, 96), dtype=np.uint8)
    Image.fromarray(classes).save(tmp_path / "seg.png")
    Image.fromarray(classes[:50]).save(tmp_path / "small.png")
    code, out, _ = run(photos[0], "--seg", tmp_path / "seg.png", "--json")
    assert code == 0
    plain = json.loads(run(photos[0], "--json")[1])
    assert json.loads(out)["confidence"] != plain["confidence"]
    assert any("segmentation maps too and got none" in note for note in plain["notes"])
    assert not any("segmentation" in note for note in json.loads(out)["notes"])
    err = refused(run(photos[0], "--seg", tmp_path / "small.png"))
    assert str(photos[0]) in err
    assert "segmentation map is (50, 96)" in err
    assert str(tmp_path / "none.png") in refused(run(photos[0], "--seg", tmp_path / "none.png"))


def test_a_capped_answer_is_coarse_in_every_field(bundle, gallery, photos):
    free = Geolocator.load(bundle.path, gallery).locate(photos[5])
    capped = Geolocator.load(bundle.path, gallery, precision_cap_km=300).locate(photos[5])
    assert free.matches
    assert capped.matches == ()
    assert capped.radius_km >= 300
    assert (capped.lat, capped.lon) != (free.lat, free.lon)
    text = json.dumps(dataclasses.asdict(capped))
    assert all(match.key not in text for match in free.matches)


@pytest.mark.parametrize("cap", [-1, float("nan"), float("inf")])
def test_the_library_refuses_a_bad_cap(cap, tmp_path):
    with pytest.raises(ValueError, match="precision cap"):
        Geolocator.load(tmp_path, precision_cap_km=cap)
