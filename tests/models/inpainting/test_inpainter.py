"""Filling: only the hole changes, whatever the photo's size; models that are whole or refused."""

import json

import numpy as np
import pytest
import torch

from models.inpainting.inpainter import Inpainter, load_inpainter, save_inpainter
from models.inpainting.objects import moving_classes, object_hole
from models.inpainting.unet import PartialConvUNet, UNetSettings
from models.segmentation.named_classes import class_numbers


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PartialConvUNet(UNetSettings(width=4, depth=2))


@pytest.fixture(scope="module")
def inpainter(network, tmp_path_factory):
    return save_inpainter(tmp_path_factory.mktemp("model") / "tiny", network, {"steps": 0})


def photo_of(size, seed=0):
    random = np.random.default_rng(seed)
    photo = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    hole = np.zeros(size, bool)
    hole[size[0] // 3 : size[0] // 2 + 1, size[1] // 4 : size[1] // 2 + 1] = True
    return photo, hole


@pytest.mark.parametrize("size", [(40, 40), (33, 70), (3, 5), (90, 31)])
def test_only_the_hole_changes(inpainter, size):
    photo, hole = photo_of(size)
    before = photo.copy()
    for most_px in (512, 24):  # the second shrinks it
        filled = Inpainter(inpainter.network, most_px=most_px).fill(photo, hole)
        assert np.array_equal(filled[~hole], photo[~hole])
        assert (filled[hole] != photo[hole]).any()
        assert np.array_equal(photo, before)


@pytest.mark.parametrize("most_px", [512, 16])
def test_nothing_of_the_hole_shows_in_what_is_painted(inpainter, most_px):
    photo, hole = photo_of((40, 50))
    other = photo.copy()
    other[hole] = 255
    painter = Inpainter(inpainter.network, most_px=most_px)
    assert np.array_equal(painter.fill(photo, hole), painter.fill(other, hole))


def test_no_hole_nothing_changes(inpainter):
    photo, _ = photo_of((20, 20))
    filled = inpainter.fill(photo, np.zeros((20, 20), bool))
    assert np.array_equal(filled, photo)
    assert filled is not photo


def test_what_is_too_deep_gets_the_mean_of_what_is_known(inpainter):
    photo, hole = np.full((120, 120, 3), (200, 40, 90), np.uint8), np.ones((120, 120), bool)
    hole[:3, :3] = False
    filled = inpainter.fill(photo, hole)
    assert filled[-1, -1].tolist() == [200, 40, 90]


@pytest.mark.parametrize(
    ("photo", "hole", "message"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool), "a photo is uint8"),
        (np.zeros((4, 4, 3)), np.zeros((4, 4), bool), "a photo is uint8"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), bool), "a hole is bool"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), "a hole is bool"),
        (np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool), "the whole photo"),
    ],
)
def test_what_cannot_be_filled_is_refused(inpainter, photo, hole, message):
    with pytest.raises(ValueError, match=message):
        inpainter.fill(photo, hole)


def test_a_saved_model_paints_the_same(network, inpainter, tmp_path):
    save_inpainter(tmp_path, network, {"steps": 0})
    loaded = load_inpainter(tmp_path)
    photo, hole = photo_of((30, 41))
    assert np.array_equal(loaded.fill(photo, hole), inpainter.fill(photo, hole))
    assert loaded.sha256 == inpainter.sha256
    assert "made up" in (tmp_path / "README.md").read_text()


def test_models_that_are_not_whole_are_refused(network, tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json.*models\.inpainting\.train"):
        load_inpainter(tmp_path)
    save_inpainter(tmp_path, network, {})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"kind": "a place model"}))
    with pytest.raises(ValueError, match="another kind of model"):
        load_inpainter(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="no whole inpainter"):
        load_inpainter(tmp_path)


def test_objects_are_found_by_any_of_their_names_and_widened():
    names = ("wall", "building;edifice", "Person, individual", "car, auto", "sky")
    assert moving_classes(names) == [2, 3]
    assert moving_classes(names, ("auto",)) == [3]
    assert class_numbers(names, ("EDIFICE", "sky")) == [1, 4]
    with pytest.raises(ValueError, match=r"no class is called tram; the table has wall, building"):
        moving_classes(names, ("car", "tram"))
    with pytest.raises(ValueError, match="no class is called person"):
        moving_classes(("wall", "sky"))


@pytest.mark.parametrize("dilate_px", [0, 1, 3])
def test_a_hole_is_widened_by_squares(dilate_px):
    seg = (
        np.random.default_rng(0).choice([0, 2, 5], (14, 11), p=[0.94, 0.03, 0.03]).astype(np.uint8)
    )
    expected = np.zeros(seg.shape, bool)
    for y, x in np.ndindex(seg.shape):
        if seg[y, x] in (2, 5):
            top, left = max(0, y - dilate_px), max(0, x - dilate_px)
            expected[top : y + dilate_px + 1, left : x + dilate_px + 1] = True
    assert np.array_equal(object_hole(seg, [2, 5], dilate_px), expected)
    with pytest.raises(ValueError, match="0 pixels or more"):
        object_hole(seg, [2], -1)
