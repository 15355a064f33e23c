"""Panoramas from files: tags, parts of a sphere, hostile tags, lists of photos."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.panoramas.file import NoPanorama, height_for, read_panorama
from data.panoramas.listing import find_sources
from data.panoramas.tags import read_tags
from data.photos.formats import ImageError

REAL = Path(__file__).parents[4] / "shared" / "data" / "panoramas"


def gpano(form="element", **tags):
    """An XMP block as cameras write it."""
    tags = {"ProjectionType": "equirectangular"} | tags
    if form == "element":
        inside = "".join(f"<GPano:{k}>{v}</GPano:{k}>\n" for k, v in tags.items())
        return f"<x:xmpmeta><rdf:Description>{inside}</rdf:Description></x:xmpmeta>".encode()
    inside = " ".join(f'GPano:{k}="{v}"' for k, v in tags.items())
    return f"<x:xmpmeta><rdf:Description {inside}/></x:xmpmeta>".encode()


def crop_tags(full, left, top, size):
    names = ("FullPanoWidthPixels", "FullPanoHeightPixels", "CroppedAreaLeftPixels",
             "CroppedAreaTopPixels", "CroppedAreaImageWidthPixels",
             "CroppedAreaImageHeightPixels")  # fmt: skip
    return dict(zip(names, (*full, left, top, *size), strict=True))


@pytest.fixture
def write(tmp_path):
    def make(width=64, height=32, name="a.jpg", xmp=None, exif=None):
        grey = np.linspace(40, 200, width * height, dtype=np.uint8).reshape(height, width)
        file = io.BytesIO()
        options = {k: v for k, v in (("xmp", xmp), ("exif", exif)) if v is not None}
        Image.fromarray(grey).convert("RGB").save(file, "JPEG", quality=95, **options)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.getvalue())
        return path

    return make


@pytest.mark.parametrize("form", ["element", "attribute"])
def test_heading_and_crop_are_read_however_they_are_written(write, form):
    crop = crop_tags((64, 32), 0, 8, (64, 16))
    path = write(64, 16, xmp=gpano(form, PoseHeadingDegrees="123.5", **crop))
    tags = read_tags(path.read_bytes(), "a")
    assert tags.heading_deg == 123.5
    assert tags.is_equirectangular
    assert (tags.crop.full_width, tags.crop.top, tags.crop.height) == (64, 8, 16)


def test_position_heading_and_day_come_from_exif(write):
    exif = Image.Exif()
    exif[306] = "2024:05:17 10:11:12"
    exif.get_ifd(0x8825).update(
        {1: "S", 2: (33.0, 30.0, 0.0), 3: "W", 4: (70.0, 0.0, 36.0), 17: 45.0}
    )
    tags = read_tags(write(exif=exif).read_bytes(), "a")
    assert (tags.lat, tags.lon) == (pytest.approx(-33.5), pytest.approx(-70.01))
    assert (tags.heading_deg, tags.day) == (45, "2024-05-17")
    assert tags.crop is None


def test_a_part_of_the_sphere_is_padded_with_black(write):
    path = write(64, 16, xmp=gpano(**crop_tags((64, 32), 0, 8, (64, 16))))
    panorama, _ = read_panorama(path)
    assert panorama.shape == (32, 64, 3)
    assert not panorama[:8].any()
    assert not panorama[24:].any()
    assert panorama[8:24].min() > 20
    path = write(32, 16, "b.jpg", xmp=gpano(**crop_tags((640, 320), 160, 80, (320, 160))))
    panorama, _ = read_panorama(path)  # a tenth of the size that its tags tell of
    assert panorama.shape == (32, 64, 3)
    assert panorama[8:24, 16:48].min() > 20
    assert panorama.any(axis=2).sum() == 16 * 32


def test_a_large_panorama_is_shrunk_to_what_is_needed(write):
    path = write(512, 256)
    assert read_panorama(path, 250)[0].shape == (256, 512, 3)
    assert read_panorama(path, 100)[0].shape in ((100, 200, 3), (128, 256, 3))
    # In the middle of a picture 90 degrees wide, w pixels span 2 tan(45): w / 2 a radian.
    assert height_for(90, (100, 200)) == round(100 * np.pi)


@pytest.mark.parametrize(
    "tags",
    [
        crop_tags((10**9, 5 * 10**8), 0, 0, (64, 32)),  # a bomb
        crop_tags((64, 32), 60, 0, (64, 32)),
        crop_tags((64, 32), -8, 0, (64, 32)),
        crop_tags((64, 64), 0, 0, (64, 32)),
        crop_tags((64, 32), 0, 0, (0, 0)),
    ],
)
def test_tags_that_make_no_sense_are_refused(write, tags):
    with pytest.raises(NoPanorama, match="GPano"):
        read_panorama(write(xmp=gpano(**tags)))


def test_tags_that_are_no_numbers_count_as_missing(write):
    tags = crop_tags((64, 32), 0, "nan", (64, 32)) | {"PoseHeadingDegrees": "north"}
    found = read_tags(write(xmp=gpano(**tags)).read_bytes(), "a")
    assert found.heading_deg is None
    assert found.crop is None


def test_other_pictures_are_no_panoramas(write):
    with pytest.raises(NoPanorama, match="not 2:1"):
        read_panorama(write(60, 40))
    path = write()
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ImageError, match=str(path)):
        read_panorama(path)


def test_a_table_tells_before_the_file_and_reaches_nothing_outside(write, tmp_path):
    write(name="images/p1.jpg")
    write(name="x.jpg")
    table = tmp_path / "photos.csv"
    table.write_text(
        "image_id,lat,lon,heading,is_panorama,licence\n"
        "p1,45.5,7.5,370,True,CC0\n"
        "x,,,,false,\n"
        "gone,1,2,3,1,\n"
        "../x,1,2,3,1,\n"
    )
    found = find_sources(table)
    first, second = found.photos
    assert (first.key, first.lat, first.lon, first.heading_deg) == ("p1", 45.5, 7.5, 370)
    assert (first.is_panorama, second.is_panorama) == (True, False)
    assert first.facts == {"licence": "CC0"}
    assert second.lat is None
    assert [reason for _, reason in found.refused] == ["no such photo"] * 2


def test_a_blank_row_costs_itself_only(write, tmp_path):
    write(name="a.jpg")
    (tmp_path / "t.csv").write_text("path,lat,lon\na.jpg,1,2\n,3,4\n")
    found = find_sources(tmp_path / "t.csv")
    assert [photo.key for photo in found.photos] == ["a"]
    assert found.refused == [("", "missing id")]


def test_lists_without_photos_are_refused(tmp_path, write):
    with pytest.raises(ValueError, match="no folder or CSV"):
        find_sources(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no photo"):
        find_sources(tmp_path / "empty")
    (tmp_path / "t.csv").write_text("lat,lon\n1,2\n")
    with pytest.raises(ValueError, match="no column for id or path"):
        find_sources(tmp_path / "t.csv")
    write(name="twice/a.jpg")
    write(name="twice/a.png")
    with pytest.raises(ValueError, match="have one id"):
        find_sources(tmp_path / "twice")


@pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real panoramas beside the project")
def test_tags_of_real_cameras():
    gopro = read_tags((REAL / "trekview_gopro_GSAG2002.jpg").read_bytes(), "gopro")
    assert gopro.is_equirectangular
    assert (gopro.heading_deg, gopro.day) == (0, "2020-05-09")
    assert gopro.lat == pytest.approx(52.4434123)
