"""Night copies as files: the same bytes for a seed and a name, made once, marked SYNTHETIC."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from data.night import PhysicalNight
from data.night_photos import DESCRIPTION_TAG, NightMaker, write_nights
from data.photos.journal import PhotoJournal


@pytest.fixture
def photos(tmp_path):
    """Three photos and where their copies go; one in a folder of its own."""
    random = np.random.default_rng(0)
    places = {}
    for name in ("a.jpg", "b.png", "in/c.webp"):
        source = tmp_path / "day" / name
        source.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(90, 256, (30, 40, 3), dtype=np.uint8)).save(source)
        places[name] = (source, tmp_path / "night" / name)
    return places


def made(photos, folder, maker=None):
    """Names of the photos that were written anew, and those that cannot be read."""
    maker, written = maker or NightMaker(), []

    class Noted(NightMaker):
        def write(self, source, place, writing):
            super().write(source, place, writing)
            written.append(place.name)

    noted = Noted(maker.kind, maker.seed, maker.settings)
    with PhotoJournal(folder / "journal", maker.plain()) as journal:
        unreadable = {name: why for name, why in write_nights(photos, noted, journal) if why}
    return sorted(written), unreadable


def bytes_of(photos):
    return {name: place.read_bytes() for name, (_, place) in photos.items() if place.exists()}


def test_a_copy_is_the_night_of_the_seed_and_the_name(photos, tmp_path):
    assert made(photos, tmp_path) == (["a.jpg", "b.png", "c.webp"], {})
    rgb = torch.from_numpy(np.array(Image.open(photos["b.png"][0]))).permute(2, 0, 1)
    import hashlib

    seed = int.from_bytes(hashlib.sha256(b"0 b.png").digest()[:8], "big") >> 1
    expected = PhysicalNight()(rgb, torch.Generator().manual_seed(seed)).permute(1, 2, 0)
    with Image.open(photos["b.png"][1]) as found:
        assert np.array_equal(np.array(found), expected.numpy())
    for _, place in photos.values():
        with Image.open(place) as copy:
            assert copy.size == (40, 30)
            assert copy.getexif()[DESCRIPTION_TAG].startswith("SYNTHETIC night")


def test_seed_kind_settings_and_name_change_the_night_the_folder_does_not():
    rgb = np.random.default_rng(1).integers(90, 256, (30, 40, 3), dtype=np.uint8)
    plain = NightMaker().turned(rgb, "a.jpg")
    assert np.array_equal(NightMaker().turned(rgb, "a.jpg"), plain)
    dark = NightMaker(settings={"stops": (-9, -8)})
    for maker, name in (
        (NightMaker(seed=1), "a.jpg"), (NightMaker("smart"), "a.jpg"), (dark, "a.jpg"),
        (NightMaker(), "b.jpg"),
    ):  # fmt: skip
        assert not np.array_equal(maker.turned(rgb, name), plain)
    assert dark.turned(rgb, "a.jpg").mean() < plain.mean()
    assert "stops -9..-8" in dark.mark


def test_only_what_changed_is_made_again_and_alike(photos, tmp_path):
    made(photos, tmp_path)
    first = bytes_of(photos)
    assert made(photos, tmp_path) == ([], {})
    photos["b.png"][1].unlink()
    source = photos["a.jpg"][0]
    os.utime(source, ns=(1, 1))
    assert made(photos, tmp_path) == (["a.jpg", "b.png"], {})
    assert bytes_of(photos) == first
    with pytest.raises(ValueError, match="was begun otherwise"):
        made(photos, tmp_path, NightMaker(seed=1))


def test_what_cannot_be_read_has_no_copy_and_says_why(photos, tmp_path):
    made(photos, tmp_path)
    photos["a.jpg"][0].write_bytes(b"\xff\xd8\xff no photo")
    photos["b.png"][0].unlink()
    written, unreadable = made(photos, tmp_path)
    assert written == []
    assert set(unreadable) == {"a.jpg", "b.png"}
    assert not photos["a.jpg"][1].exists()
    assert not photos["b.png"][1].exists()


def test_what_another_put_in_the_place_of_an_unreadable_photo_stays(photos, tmp_path):
    source, place = photos["a.jpg"]
    made(photos, tmp_path)
    source.write_bytes(b"\xff\xd8\xff no photo")
    made(photos, tmp_path)
    place.write_bytes(b"mine")
    assert set(made(photos, tmp_path)[1]) == {"a.jpg"}
    assert place.read_bytes() == b"mine"


def test_a_full_disk_is_an_error_not_an_unreadable_photo(photos, tmp_path):
    def full(path):
        raise OSError(28, "No space left on device")

    with (
        PhotoJournal(tmp_path / "journal", {}) as journal,
        pytest.raises(OSError, match="No space left"),
    ):
        list(write_nights(photos, NightMaker(), journal, writing=full))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("dusk",), "one of smart, physical"),
        (("physical", 0, {"blue": (1, 1)}), "has no 'blue'; it has stops, sky"),
        (("smart", 0, {"blue": (2, 1)}), "must be a range"),
        (("physical", 0, {"lamps": (0, 1.5)}), "whole numbers"),
        (("physical", 0, {"lamps": (0, 1000)}), "lamps must be a range within 0..32"),
        (("physical", 0, {"read_noise": (0, float("inf"))}), "finite"),
    ],
)
def test_impossible_nights_are_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        NightMaker(*arguments)
