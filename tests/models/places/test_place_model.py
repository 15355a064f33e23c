"""A place model written and read again describes the same; what is damaged is refused."""

import json

import pytest
import torch

from models.places.embedder import Embedder, EmbedderSettings
from models.places.place_model import load_place_model, save_place_model


@pytest.fixture
def embedder():
    torch.manual_seed(0)
    settings = EmbedderSettings("efficientnet_lite0", "netvlad", clusters=4, fc_dim=8, img_size=48)
    return Embedder(settings, pretrained=False).eval()


@pytest.fixture
def directory(tmp_path, embedder):
    save_place_model(tmp_path / "model", embedder, (48, 64), {"settings": {"lr": 1e-5}})
    return tmp_path / "model"


def test_the_same_descriptors_after_reading(directory, embedder):
    model = load_place_model(directory)
    photos = torch.randn(2, 3, 48, 64)
    with torch.inference_mode():
        assert torch.equal(model.embedder(photos), embedder(photos))
    assert model.size == (48, 64)
    assert model.origin == {"settings": {"lr": 1e-5}}
    assert model.embedder.settings == embedder.settings
    assert not model.embedder.training


def test_the_card_says_what_it_is(directory):
    card = (directory / "README.md").read_text()
    for fact in ("efficientnet_lite0", "netvlad", "48 x 64", "8 numbers", "Out of scope"):
        assert fact in card
    assert sorted(path.name for path in directory.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_cut_file_is_refused(directory, name):
    path = directory / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=str(directory)):
        load_place_model(directory)


def test_weights_of_another_model_are_refused(directory, embedder, tmp_path):
    torch.nn.init.zeros_(embedder.aggregator.centroids)
    save_place_model(tmp_path / "other", embedder, (48, 64), {})
    (tmp_path / "other" / "model.safetensors").replace(directory / "model.safetensors")
    with pytest.raises(ValueError, match=r"is not the file that config.json was written with"):
        load_place_model(directory)


def test_something_else_is_refused(tmp_path, directory):
    with pytest.raises(ValueError, match=r"holds no config.json; a place model is what"):
        load_place_model(tmp_path)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"kind": "geocell"}))
    with pytest.raises(ValueError, match="another kind of model"):
        load_place_model(directory)
