"""Each loss against a loop over its formula."""

import models.torchvision_cure  # noqa: F401  isort: skip
import numpy as np
import pytest
import timm
import torch
from torch import nn

from models.inpainting.features import FeaturePyramid
from models.inpainting.losses import LossWeights, composed, gram, loss_terms, total_loss

B, H, W = 2, 6, 5


@pytest.fixture
def batch():
    torch.manual_seed(0)
    known = (torch.rand(B, 1, H, W) > 0.4).float()
    return torch.rand(B, 3, H, W, requires_grad=True), torch.rand(B, 3, H, W), known


def pyramid(photos):
    """Two levels of made-up features."""
    return [photos * 2 + 1, photos[:, :2, ::2, ::2].square()]


def as_numpy(*tensors):
    return [tensor.detach().numpy().astype(np.float64) for tensor in tensors]


def test_valid_and_hole_are_l1_over_all_values(batch):
    terms = loss_terms(*batch)
    painted, photos, known = as_numpy(*batch)
    valid = hole = 0.0
    for n, c, y, x in np.ndindex(painted.shape):
        error = abs(painted[n, c, y, x] - photos[n, c, y, x]) / painted.size
        valid, hole = valid + error * known[n, 0, y, x], hole + error * (1 - known[n, 0, y, x])
    assert terms["valid"].item() == pytest.approx(valid, rel=1e-5)
    assert terms["hole"].item() == pytest.approx(hole, rel=1e-5)


def test_total_variation_is_of_neighbours_in_the_hole_widened_by_one(batch):
    painted, photos, known = as_numpy(*batch)
    comp, total = np.where(known == 1, photos, painted), 0.0
    for n in range(B):
        region = {
            (y, x)
            for y, x in np.ndindex(H, W)
            for a, b in np.ndindex(3, 3)
            if 0 <= y + a - 1 < H and 0 <= x + b - 1 < W and not known[n, 0, y + a - 1, x + b - 1]
        }
        for y, x in region:
            for below in ((y + 1, x), (y, x + 1)):
                if below in region:
                    total += np.abs(comp[n, :, *below] - comp[n, :, y, x]).sum()
    assert loss_terms(*batch)["variation"].item() == pytest.approx(total / comp.size, rel=1e-5)


def test_perceptual_is_l1_of_features_of_out_and_comp(batch):
    painted, photos, known = batch
    expected = 0.0
    for made in (painted, composed(painted, photos, known)):
        for a, b in zip(pyramid(made), pyramid(photos), strict=True):
            first, second = as_numpy(a, b)
            expected += sum(abs(first[i] - second[i]) for i in np.ndindex(first.shape)) / first.size
    assert loss_terms(*batch, pyramid)["perceptual"].item() == pytest.approx(expected, rel=1e-5)


def by_loop_gram(maps):
    channels, height, width = maps.shape
    result = np.zeros((channels, channels))
    for a, b, y, x in np.ndindex(channels, channels, height, width):
        result[a, b] += maps[a, y, x] * maps[b, y, x] / (channels * height * width)
    return result


def test_style_is_l1_of_the_channels_correlations(batch):
    painted, photos, known = batch
    expected = 0.0
    for made in (painted, composed(painted, photos, known)):
        for a, b in zip(pyramid(made), pyramid(photos), strict=True):
            pairs = zip(*as_numpy(a, b), strict=True)
            shares = [np.abs(by_loop_gram(m) - by_loop_gram(t)).mean() for m, t in pairs]
            expected += np.mean(shares)
    assert loss_terms(*batch, pyramid)["style"].item() == pytest.approx(expected, rel=1e-5)


def test_gram_of_one_channel_is_its_mean_square():
    maps = torch.randn(3, 1, 4, 5)
    torch.testing.assert_close(gram(maps).flatten(), maps.square().mean(dim=(1, 2, 3)))


def test_the_weights_are_the_papers_and_settings(batch):
    assert LossWeights() == LossWeights(1.0, 6.0, 0.05, 120.0, 0.1)
    terms = loss_terms(*batch, pyramid)
    by_hand = sum(
        weight * terms[name].item()
        for name, weight in (
            ("valid", 1), ("hole", 6), ("perceptual", 0.05), ("style", 120), ("variation", 0.1)
        )
    )  # fmt: skip
    assert total_loss(terms, LossWeights()).item() == pytest.approx(by_hand, rel=1e-5)
    only = LossWeights(0, 2, 0, 0, 0)
    assert total_loss(terms, only).item() == pytest.approx(2 * terms["hole"].item(), rel=1e-5)
    with pytest.raises(ValueError, match="must not be negative"):
        LossWeights(style=-1)


def test_a_perfect_painting_costs_nothing_but_the_photos_own_variation(batch):
    _, photos, known = batch
    terms = loss_terms(photos.clone().requires_grad_(), photos, known, pyramid)
    assert [terms[k].item() for k in ("valid", "hole", "perceptual", "style")] == [0] * 4


def test_without_a_hole_there_is_no_hole_loss_and_gradients_are_finite(batch):
    painted, photos, _ = batch
    terms = loss_terms(painted, photos, torch.ones(B, 1, H, W), pyramid)
    assert terms["hole"].item() == terms["variation"].item() == 0
    total_loss(terms, LossWeights()).backward()
    assert torch.isfinite(painted.grad).all()


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_features_of_the_houses_networks_have_the_papers_three_sizes(name):
    features = FeaturePyramid(name, pretrained=False).train()
    photos = torch.rand(1, 3, 48, 64, requires_grad=True)
    maps = features(photos)
    assert [tuple(m.shape[2:]) for m in maps] == [(24, 32), (12, 16), (6, 8)]
    sum(m.abs().mean() for m in maps).backward()
    assert photos.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in features.parameters())
    assert not any(module.training for module in features.modules())


def test_vgg16s_features_are_the_papers_three_poolings(monkeypatch):
    """Against timm's VGG16 with the same weights; what is not looked at is not drawn either."""
    for layer in (nn.Linear, nn.Conv2d):
        monkeypatch.setattr(layer, "reset_parameters", lambda self: None)
    monkeypatch.setattr(nn.init, "normal_", lambda weight, *_: weight)
    features = FeaturePyramid("vgg16", pretrained=False)
    photos = torch.rand(1, 3, 37, 64)
    with torch.no_grad():
        found = features(photos)
    assert [tuple(maps.shape[1:]) for maps in found] == [(64, 18, 32), (128, 9, 16), (256, 4, 8)]
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda weight, **_: weight)
    other = timm.create_model("vgg16", mlp_ratio=0.001).features[:17]
    other.load_state_dict(features.extractor.network.state_dict())
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    normal = (photos - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    for maps, end in zip(found, (5, 10, 17), strict=True):
        with torch.no_grad():
            torch.testing.assert_close(maps, other[:end](normal))


def test_networks_without_such_maps_are_refused():
    with pytest.raises(ValueError, match=r"no maps at 1/2.*leave the features out"):
        FeaturePyramid("vit_tiny_patch16_224", pretrained=False)
