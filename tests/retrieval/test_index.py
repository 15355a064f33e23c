"""Build a gallery from a folder and a table; what cannot be used is listed, nothing overwritten."""

import json

import numpy as np
import pytest
from PIL import Image

from data.place_sets.photos import PlacePhotos
from geolocate import Geolocator
from models.bundles.session import open_session
from models.places.place_model import load_place_model
from retrieval import index
from retrieval.descriptor_cache import describe
from retrieval.gallery import Gallery

HEADER = "IMG_ID,LAT,LON,author,license,url,heading,captured_at"


@pytest.fixture
def collection(tmp_path):
    """Six photos, one truncated, one missing; one row with a bad position; ids with folders."""
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    (images / "7f").mkdir(parents=True)
    rows = [HEADER]
    for i in range(6):
        pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / "7f" / f"{i}.jpg")
        heading = "" if i == 2 else str(10.5 * i)
        rows.append(
            f"7f/{i}.jpg,{10 + i},{20 - i},Ann {i},CC BY 4.0,https://x.org/{i},{heading},2015"
        )
    cut = images / "7f" / "4.jpg"
    cut.write_bytes(cut.read_bytes()[:900])
    rows += ["7f/gone.jpg,1,2,,,,,", "7f/0b.jpg,95,200,,,,,"]
    csv = tmp_path / "photos.csv"
    csv.write_text("\n".join(rows) + "\n")
    return images, csv


@pytest.fixture
def build(bundle, collection, tmp_path):
    def run(*more, out="gallery", model=("--model", bundle.path)):
        images, csv = collection
        flags = {"--images": images, "--csv": csv} | ({model[0]: model[1]} if model else {})
        flags |= {"--gallery": tmp_path / out, "--workers": 0, "--device": "cpu"}
        words = [str(word) for pair in flags.items() for word in pair]
        return index.main([*words, *more]), tmp_path / out

    return run


def test_photos_arrive_with_position_path_and_facts(build, bundle, collection, capsys):
    code, directory = build("--accuracy_m", "12")
    out = capsys.readouterr().out
    assert code == 0
    gallery = Gallery.open(directory, bundle.model_sha256)
    photos = {photo["key"]: photo for photo in gallery.photos(range(len(gallery)))}
    assert set(photos) == {f"7f/{i}.jpg" for i in (0, 1, 2, 3, 5)}
    assert gallery.accuracy_m == 12
    photo = photos["7f/3.jpg"]
    assert (photo["lat"], photo["lon"]) == (13, 17)
    assert (photo["author"], photo["licence"], photo["url"]) == (
        "Ann 3",
        "CC BY 4.0",
        "https://x.org/3",
    )
    assert photo["heading"] == 31.5
    assert photos["7f/2.jpg"]["heading"] is None
    assert str(photo["captured_at"]).startswith("2015")
    for photo in photos.values():
        assert (collection[0] / photo["path"]).is_file(), "relative to the folder of photos"
    assert f"5 photos, {out.count('left out: ')} left out" in out
    assert out.count("left out: ") == 3
    for named in ("4.jpg", "gone.jpg", "7f/0b.jpg"):
        assert named in out


def test_descriptors_are_those_a_query_gets(build, bundle, collection):
    _, directory = build()
    gallery = Gallery.open(directory)
    fix = Geolocator.load(bundle.path, directory).locate(collection[0] / "7f" / "5.jpg", mass=1.0)
    assert fix.matches[0].key == "7f/5.jpg"
    assert fix.matches[0].path == "7f/5.jpg"
    assert fix.matches[0].facts["author"] == "Ann 5"
    assert fix.matches[0].facts["licence"] == "CC BY 4.0"
    with Image.open(collection[0] / "7f" / "5.jpg") as image:
        encoding = open_session(bundle).encode(np.array(image))
    row = [photo["key"] for photo in gallery.photos(range(5))].index("7f/5.jpg")
    np.testing.assert_allclose(gallery.descriptors[row], encoding.descriptor, atol=2e-3)


def test_a_place_model_describes_photos_as_it_is_tested(build, place_model, collection, capsys):
    code, directory = build(model=("--place_model", place_model))
    out = capsys.readouterr().out
    assert code == 0
    assert f"5 photos, {out.count('left out: ')} left out" in out
    assert out.count("left out: ") == 3
    for named in ("4.jpg", "gone.jpg", "7f/0b.jpg"):
        assert named in out
    held = load_place_model(place_model)
    gallery = Gallery.open(directory, held.sha256, "place")
    photos = gallery.photos(range(len(gallery)))
    assert {photo["key"] for photo in photos} == {f"7f/{i}.jpg" for i in (0, 1, 2, 3, 5)}
    assert all(photo["lat"] == 10 + int(photo["key"][3]) for photo in photos)
    shown = PlacePhotos([collection[0] / photo["path"] for photo in photos], held.size)
    expected = describe(held.embedder, shown)[:, 0]
    np.testing.assert_allclose(gallery.descriptors, expected, atol=1e-3)
    assert np.abs(expected - expected[0]).max() > 0.01, "photos that look alike show nothing"
    assert (directory / "wrong_standouts_100m.json").is_file()


def test_one_model_is_needed_and_a_second_one_is_named(build, bundle, place_model, capsys):
    assert build(model=None)[0] == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "--model" in err
    assert "--place_model" in err
    assert build("--place_model", str(place_model))[0] == 0
    assert "--model is not used" in capsys.readouterr().err
    header = json.loads((build(out="other")[1] / "gallery.json").read_text())
    assert (header["descriptor_model"], header["model_sha256"]) == ("bundle", bundle.model_sha256)


def test_a_place_model_without_a_readable_photo_is_one_line(build, place_model, collection, capsys):
    for photo in (collection[0] / "7f").iterdir():
        photo.write_bytes(b"no")
    assert build(model=("--place_model", place_model))[0] == 2
    assert "error: none of the photos can be used" in capsys.readouterr().err
    assert build("--batch_size", "0", model=("--place_model", place_model))[0] == 2
    assert "--batch_size must be 1 or more" in capsys.readouterr().err


def test_an_existing_gallery_is_kept_unless_told_before_any_work(build, capsys, monkeypatch):
    _, directory = build()
    before = (directory / "descriptors.f16").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(
            index, "describe_photos", lambda *_: pytest.fail("described photos before refusing")
        )
        assert build()[0] == 2
        assert "is a gallery already" in capsys.readouterr().err
        directory.with_name("other").mkdir()
        assert build(out="other")[0] == 2
        assert "is not a gallery" in capsys.readouterr().err
        assert build("--accuracy_m", "nan", out="third")[0] == 2
        assert "accuracy_m" in capsys.readouterr().err
    assert (directory / "descriptors.f16").stat().st_mtime_ns == before
    assert build("--overwrite")[0] == 0
    assert json.loads((directory / "gallery.json").read_text())["count"] == 5


def test_wrong_inputs_end_in_one_line(build, collection, tmp_path, capsys):
    assert build("--images", str(tmp_path / "none"))[0] == 2
    assert build("--csv", str(tmp_path / "none.csv"))[0] == 2
    assert build("--model", str(tmp_path / "none"))[0] == 2
    assert build(model=("--place_model", tmp_path / "none"))[0] == 2
    (tmp_path / "empty.csv").write_text("IMG_ID,LAT\n")
    assert build("--csv", str(tmp_path / "empty.csv"))[0] == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["error:"] * 5
    assert not (tmp_path / "gallery").exists()


def test_plain_values():
    assert index.plain(np.int64(3)) == 3
    assert type(index.plain(np.float64(1.5))) is float
    assert index.plain(float("nan")) is index.plain(None) is None
    assert index.plain("x") == "x"
