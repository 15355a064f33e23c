"""The map of an answer: self-contained, with thumbnails that carry no metadata."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from partitioning import s2
from retrieval.answering.fix import CellGuess, Fix, Match
from retrieval.mapping.fix_map import thumbnail, write_fix_map


@pytest.fixture
def photo(tmp_path):
    """A JPEG with a camera's name and a position in its EXIF."""
    image = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (500, 700, 3), dtype=np.uint8)
    )
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif[0x8825] = {1: "N", 2: (12.0, 34.0, 56.0), 3: "E", 4: (65.0, 43.0, 21.0)}
    path = tmp_path / "photo.jpg"
    image.save(path, exif=exif)
    return path


@pytest.fixture
def fix():
    token = str(s2.tokens(s2.cell_ids([48.8], [2.3], 6))[0])
    matches = tuple(
        Match(f"key{i}", 48.8, 2.3, 0.7, path, {"author": "<b>Ann</b>", "licence": "CC0"})
        for i, path in enumerate(["photo.jpg", "../photo.jpg", "/etc/hostname", "none.jpg"])
    )
    return Fix(
        48.8, 2.3, 12.0, "street", 0.9, 0.95, True, (CellGuess(token, 0.9, 48, 2, 5),), matches
    )


def test_thumbnail_is_small_and_bare(photo):
    data = thumbnail(photo)
    small = Image.open(io.BytesIO(data))
    assert max(small.size) == 360
    assert small.size[0] / small.size[1] == pytest.approx(1.4, abs=0.01)
    assert not small.getexif()
    assert b"SecretCamera" in photo.read_bytes()
    assert b"SecretCamera" not in data


def test_thumbnail_of_what_is_no_image_is_none(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    assert thumbnail(tmp_path / "text.jpg") is None
    assert thumbnail(tmp_path / "missing.jpg") is None


def test_map_is_one_file_that_asks_nobody(photo, fix, tmp_path):
    out = tmp_path / "map.html"
    write_fix_map(out, fix, photo, truth=(48.9, 2.4))
    page = out.read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|url)\s*[=(]\s*["']?(?:https?:)?//""", page)
    assert "a street position within 12 km" in page
    assert "<b>Ann</b>" not in page
    assert str(tmp_path) not in page
    assert list(tmp_path.glob("*.tmp*")) == []


def test_match_thumbnails_come_from_the_gallery_s_folder_only(photo, fix, tmp_path):
    folder = tmp_path / "gallery"
    folder.mkdir()
    photo.rename(folder / "photo.jpg")
    photo.write_bytes((folder / "photo.jpg").read_bytes())  # what ../photo.jpg would reach
    counts = []
    for images in (None, folder):
        write_fix_map(tmp_path / "map.html", fix, photo, gallery_images=images)
        counts.append((tmp_path / "map.html").read_text().count("data:image/jpeg;base64"))
    assert counts[1] - counts[0] == 1
