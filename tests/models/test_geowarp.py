"""GeoWarp's network against loops of its formulas and the same layers built anew."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from models.geowarp import GeoWarp, HomographyRegression, correlation, dense_features
from models.homography import whole
from models.places.local_features import MapExtractor, build_extractor


def maps(seed, count=2, width=6, side=15):
    return torch.randn(count, width, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def learned():
    """Trained weights' stand-in: random ones, batch norms with statistics of their own."""
    torch.manual_seed(0)
    model = GeoWarp(MapExtractor(nn.Conv2d(3, 6, 1), 6))
    nn.init.normal_(model.regression.linear.weight, std=0.05)
    for module in model.regression.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def test_dense_features_are_a_loops():
    found = dense_features(maps(0, side=30)).double().numpy()
    given = maps(0, side=30).double().numpy()
    for y in range(15):
        for x in range(15):
            mean = given[0, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean((1, 2))
            np.testing.assert_allclose(found[0, :, y, x], mean / np.linalg.norm(mean), atol=1e-4)


def test_correlation_is_a_loops():
    a, b = (dense_features(maps(seed)) for seed in (1, 2))
    found = correlation(a, b).double().numpy()
    for y, x in ((0, 0), (3, 11), (14, 2)):
        products = np.zeros(225)
        for column in range(15):
            for row in range(15):
                alike = float(a[1, :, row, column].double() @ b[1, :, y, x].double())
                products[15 * column + row] = max(0.0, alike)
        length = np.sqrt((products**2).sum() + 1e-6)
        np.testing.assert_allclose(found[1, :, y, x], products / length, atol=1e-6)


@pytest.mark.parametrize("side", [4, 14, 15, 40])
def test_maps_of_any_size_become_15_x_15(side):
    dense = dense_features(maps(0, side=side))
    assert dense.shape == (2, 6, 15, 15)
    assert correlation(dense, dense).shape == (2, 225, 15, 15)


def test_starts_as_identity():
    model = GeoWarp(MapExtractor(nn.Conv2d(3, 6, 1), 6)).eval()
    a, b = (dense_features(maps(seed)) for seed in (1, 2))
    for quads in model.quads(a, b):
        torch.testing.assert_close(quads, whole(2), rtol=0, atol=0)


def test_to_swap_the_photos_is_to_swap_the_quads(learned):
    a, b = (dense_features(maps(seed)) for seed in (1, 2))
    forth, back = learned.quads(a, b), learned.quads(b, a)
    torch.testing.assert_close(forth.a, back.b, rtol=0, atol=1e-6)
    torch.testing.assert_close(forth.b, back.a, rtol=0, atol=1e-6)
    one_way = learned.both_ways(a, b)[0]
    assert (one_way[:, :4] - learned.both_ways(b, a)[0][:, 4:]).abs().max() > 1e-3


def test_a_batch_is_its_rows(learned):
    a, b = (dense_features(maps(seed, count=5)) for seed in (1, 2))
    together = learned.quads(a, b)
    for row in range(5):
        alone = learned.quads(a[row : row + 1], b[row : row + 1])
        torch.testing.assert_close(together.a[row : row + 1], alone.a, rtol=0, atol=1e-5)


def test_the_regression_is_the_papers_layers(learned):
    """The same layers and the same weights by name, written anew: equal to 1e-5."""
    kernels, channels = [7, 5, 5, 5, 5, 5], [225, 128, 128, 64, 64, 64, 64]
    layers = []
    for kernel, (inputs, outputs) in zip(kernels, pairwise(channels), strict=True):
        layers.append(nn.Conv2d(inputs, outputs, kernel, padding=1))
        layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU())
    theirs = nn.Module()
    theirs.conv, theirs.linear = nn.Sequential(*layers), nn.Linear(64, 16)
    theirs.load_state_dict(learned.regression.state_dict())
    correlations = torch.rand(3, 225, 15, 15)
    expected = theirs.linear(theirs.eval().conv(correlations).flatten(1))
    with torch.inference_mode():
        found = learned.regression(correlations).flatten(1)
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-5)


def test_only_the_regression_learns():
    layers = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.BatchNorm2d(6), nn.ReLU())
    model = GeoWarp(MapExtractor(layers, 6)).train()
    assert model.regression.training
    assert not any(module.training for module in model.extractor.modules())
    assert all(
        p.requires_grad == name.startswith("regression.") for name, p in model.named_parameters()
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    dense = [model.dense(torch.rand(2, 3, 64, 64)) for _ in range(2)]
    sum(ways.square().sum() for ways in model.both_ways(*dense)).backward()
    optimizer.step()
    changed = {
        k.split(".")[0] for k, v in model.state_dict().items() if not torch.equal(v, before[k])
    }
    assert changed == {"regression"}


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "vit_tiny_patch16_224"])
def test_any_backbone_will_do(name):
    model = GeoWarp(build_extractor(name, 64, pretrained=False)).eval()
    with torch.inference_mode():
        dense = model.dense(torch.rand(2, 3, 64, 64))
        quads = model.quads(dense, dense.flip(0))
    assert quads.a.shape == (2, 4, 2)
    assert dense.shape[2:] == (15, 15)


def test_gradients_reach_every_weight_of_the_regression():
    torch.manual_seed(0)
    regression = HomographyRegression()
    nn.init.normal_(regression.linear.weight)
    regression(torch.rand(4, 225, 15, 15)).square().sum().backward()
    for name, parameter in regression.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
