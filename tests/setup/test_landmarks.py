"""The landmark table and how its photos are had: folder, package, sources."""

import io

import numpy as np
import pytest
from PIL import Image

from partitioning.geodesy import haversine_km, position_problems
from setup import landmarks
from setup.downloading.settings import Settings


@pytest.fixture
def folder(tmp_path):
    """Photos for the first four rows: jpg, webp, a truncated one, and one missing."""
    rng = np.random.default_rng(0)
    ids = landmarks.read_table().img_id[:4].tolist()
    photos = tmp_path / "photos"
    photos.mkdir()
    for img_id, (kind, extension) in zip(
        ids, [("JPEG", "jpg"), ("WEBP", "webp"), ("JPEG", "jpg")], strict=False
    ):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(buffer, kind)
        (photos / f"{img_id}.{extension}").write_bytes(buffer.getvalue())
    truncated = photos / f"{ids[2]}.jpg"
    truncated.write_bytes(truncated.read_bytes()[:900])
    return photos, ids


def test_table_is_sound():
    table = landmarks.read_table()
    assert table.img_id.is_unique
    assert (position_problems(table.lat.to_numpy(), table.lon.to_numpy()) == "").all()
    for place, group in table.groupby("place"):
        assert haversine_km(group.lat, group.lon, group.lat.iloc[0], group.lon.iloc[0]).max() < 1, (
            place
        )
    twins = table[table.same_as != ""].merge(table, left_on="same_as", right_on="img_id")
    assert len(twins) == (table.same_as != "").sum()
    assert (twins.place_x == twins.place_y).all()
    assert (table.author != "").all()
    assert (table.licence != "").all()


def test_photos_from_a_folder_are_written_and_the_others_listed(folder, tmp_path):
    photos, ids = folder
    had, missing = landmarks.write_landmarks(landmarks.from_folder(photos), tmp_path / "out")
    assert had.img_id.tolist() == ids[:2]
    assert len(missing) == len(landmarks.read_table()) - 2
    assert any(ids[2] in reason for reason in missing)
    assert any(ids[3] in reason and "not in" in reason for reason in missing)
    assert Image.open(tmp_path / "out" / "img" / f"{ids[1]}.jpg").format == "JPEG"
    attribution = (tmp_path / "out" / "ATTRIBUTION.txt").read_text()
    assert had.author[0] in attribution


def test_no_photo_at_all_is_an_error_and_leaves_no_table(tmp_path):
    with pytest.raises(ValueError, match="none of"):
        landmarks.write_landmarks(landmarks.from_folder(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out" / "landmarks.csv").exists()


def test_commons_pages_become_files():
    url = landmarks.source_file("https://commons.wikimedia.org/wiki/File:Gizah_%26_co,_(1).jpg")
    assert url.startswith("https://commons.wikimedia.org/wiki/Special:FilePath/")
    assert "Gizah_%26_co%2C_%281%29.jpg?width=1024" in url
    assert landmarks.source_file("https://example.org/a.jpg") == ""


def test_photos_from_their_sources(server, tmp_path, picture, encode, monkeypatch):
    """Two pages of four answer, and two are dead; the others have none."""
    ids = landmarks.read_table().img_id[:4].tolist()
    pages = iter([*(f"{server.root}/{img_id}" for img_id in ids), *[""] * 1000])
    monkeypatch.setattr(landmarks, "source_file", lambda page: next(pages))
    for img_id in ids[:2]:
        server.answers[f"/{img_id}"] = server.body(encode(picture()))
    read = landmarks.from_sources(tmp_path / "cache", Settings(allow_private=True))
    had, missing = landmarks.write_landmarks(read, tmp_path / "out")
    assert had.img_id.tolist() == ids[:2]
    assert len(missing) == len(landmarks.read_table()) - 2
    assert [server.asked[f"/{img_id}"] for img_id in ids] == [1, 1, 1, 1]


def test_a_derived_picture_credits_its_photographer():
    rows = landmarks.read_table().set_index("img_id", drop=False)
    line = landmarks.credit(rows.loc["taj_mahal_2"].to_dict())
    for part in ("Coudoin", "CC-BY-SA 4.0", "Dhirad", "Taj_Mahal_in_March_2004.jpg"):
        assert part in line
    plain = landmarks.credit(rows.loc["red_pyramid_0"].to_dict())
    assert plain.startswith("red_pyramid_0: Chipdawes; Public Domain; https://")


def test_no_apt_falls_back_to_the_sources(monkeypatch, tmp_path, capsys):
    def unavailable(*_):
        raise landmarks.PackageError("apt-get is not on this machine")

    monkeypatch.setattr(landmarks, "fetch", unavailable)
    monkeypatch.setattr(landmarks, "from_sources", lambda cache: f"sources in {cache.name}")
    assert landmarks.open_source(None, tmp_path) == "sources in sources"
    assert "apt-get is not on this machine" in capsys.readouterr().err


@pytest.mark.slow
def test_real_package_holds_every_photo(tmp_path):
    read = landmarks.from_package(tmp_path)
    had, missing = landmarks.write_landmarks(read, tmp_path / "out")
    assert missing == []
    assert len(had) == len(landmarks.read_table())
