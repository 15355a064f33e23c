"""A GeoWarp on disk, and the files of the public repository."""

import json
import pickle
from itertools import pairwise

import pytest
import torch
from torch import nn

from models.geowarp import GeoWarp, correlation, dense_features
from models.places.local_features import MapExtractor, build_extractor
from models.warping.file import (
    ExtractorParts,
    WarpModel,
    load_geowarp,
    load_public_extractor,
    load_public_regression,
    save_geowarp,
)

PARTS = ExtractorParts("efficientnet_lite0", "conv4", 64)


@pytest.fixture
def small():
    """A GeoWarp whose extractor has the layout of the repository's: one sequence."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU())
    return GeoWarp(MapExtractor(layers, 8)).eval()


@pytest.fixture
def public():
    """A regression built layer by layer, as the repository's state dict names it."""
    torch.manual_seed(1)
    kernels, channels = [7, 5, 5, 5, 5, 5], [225, 128, 128, 64, 64, 64, 64]
    layers = []
    for kernel, (inputs, outputs) in zip(kernels, pairwise(channels), strict=True):
        layers += [
            nn.Conv2d(inputs, outputs, kernel, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
        layers[-2].running_mean.normal_(0, 0.1)
        layers[-2].running_var.uniform_(0.5, 2)
    theirs = nn.Module()
    theirs.conv, theirs.linear = nn.Sequential(*layers), nn.Linear(64, 16)
    return theirs.eval()


@pytest.mark.parametrize("prefix", ["", "module.", "module.homography_regression."])
def test_a_public_regression_says_what_its_layers_say(small, public, prefix, tmp_path):
    """Their correlation, written out place by place, through their layers: equal to 1e-5."""
    path = tmp_path / "homography_regression.torch"
    torch.save({f"{prefix}{name}": value for name, value in public.state_dict().items()}, path)
    load_public_regression(path, small)
    generator = torch.Generator().manual_seed(2)
    a, b = (dense_features(torch.randn(2, 8, 15, 15, generator=generator)) for _ in range(2))
    theirs = torch.zeros(2, 225, 15, 15)
    for column in range(15):
        for row in range(15):
            place = a[:, :, row, column, None, None]
            theirs[:, 15 * column + row] = (place * b).sum(1).relu()
    theirs = theirs / (theirs.square().sum(1, keepdim=True) + 1e-6).sqrt()
    with torch.no_grad():
        expected = public.linear(public.conv(theirs).flatten(1)).reshape(2, 8, 2)
        found = small.eval().regression(correlation(a, b))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_public_extractor_fills_the_same_layers(small, tmp_path):
    other = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU())
    weights = {f"encoder.{name}": value for name, value in other.state_dict().items()}
    torch.save(weights | {"pool.1.p": torch.ones(1)}, tmp_path / "resnet50_gem.pth")
    load_public_extractor(tmp_path / "resnet50_gem.pth", small)
    torch.testing.assert_close(small.extractor.network[0].weight, other[0].weight)


def test_other_files_are_refused(small, public, tmp_path):
    path = tmp_path / "file.torch"
    for held, message in (
        ({"conv.0.weight": torch.zeros(2)}, "lacks .* of the model's tensors"),
        ({**public.state_dict(), "extra": torch.zeros(1)}, "are not the model's, such as extra"),
        ({"epoch": 3}, "holds no dictionary of weights"),
    ):
        torch.save(held, path)
        with pytest.raises(ValueError, match=message):
            load_public_regression(path, small)
    path.write_bytes(pickle.dumps(print))  # anything but weights is never run
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_public_regression(path, small)
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_public_regression(tmp_path / "none", small)


def test_saved_and_loaded_is_the_same(tmp_path):
    torch.manual_seed(0)
    model = GeoWarp(build_extractor(PARTS.backbone, PARTS.img_size, pretrained=False)).eval()
    nn.init.normal_(model.regression.linear.weight)
    save_geowarp(tmp_path / "warp", WarpModel(model, PARTS, (48, 64), {"data": "DIR"}))
    loaded = load_geowarp(tmp_path / "warp")
    assert (loaded.parts, loaded.size, loaded.origin) == (PARTS, (48, 64), {"data": "DIR"})
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value), name
    config = json.loads((tmp_path / "warp" / "config.json").read_text())
    (tmp_path / "warp" / "config.json").write_text(json.dumps(config | {"model_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="no whole GeoWarp model"):
        load_geowarp(tmp_path / "warp")
    (tmp_path / "warp" / "config.json").write_text('{"kind": "groundfix place model"}')
    with pytest.raises(ValueError, match="another kind of model"):
        load_geowarp(tmp_path / "warp")
    with pytest.raises(ValueError, match=r"train_geowarp --out DIR"):
        load_geowarp(tmp_path)
