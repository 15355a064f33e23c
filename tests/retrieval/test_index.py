"""Build a gallery from a folder and a table; what cannot be used is listed, nothing overwritten."""

import json

import numpy as np
import pytest
from PIL import Image

from geolocate import Geolocator
from models.bundles.session import open_session
from retrieval import index
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
    def run(*more, out="gallery"):
        images, csv = collection
        flags = {"--model": bundle.path, "--images": images, "--csv": csv}
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


def test_an_existing_gallery_is_kept_unless_told_before_any_work(build, capsys, monkeypatch):
    _, directory = build()
    before = (directory / "descriptors.f16").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(index, "predict", lambda *_: pytest.fail("described photos before refusing"))
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
    (tmp_path / "empty.csv").write_text("IMG_ID,LAT\n")
    assert build("--csv", str(tmp_path / "empty.csv"))[0] == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["error:"] * 4
    assert not (tmp_path / "gallery").exists()


def test_plain_values():
    assert index.plain(np.int64(3)) == 3
    assert type(index.plain(np.float64(1.5))) is float
    assert index.plain(float("nan")) is index.plain(None) is None
    assert index.plain("x") == "x"
