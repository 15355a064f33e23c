"""The decoder beside an embedder: shapes, mirrored widths, loss by hand, gradients."""

import pytest
import torch
from torch import nn

from models.places.autoencoder_branch import AutoencoderBranch, halved, scale_widths, watched_maps
from models.places.local_features import MapExtractor, build_extractor


def convolution(width_in, width_out, stride):
    return nn.Conv2d(width_in, width_out, 3, stride, padding=1)


@pytest.fixture
def extractor():
    """Three halvings: 4 channels at 1/2 and 1/4, 8 at 1/8."""
    torch.manual_seed(0)
    blocks = [convolution(3, 4, 2), nn.ReLU(), convolution(4, 4, 2), convolution(4, 8, 2)]
    return MapExtractor(nn.Sequential(*blocks), 8)


@pytest.fixture
def branch(extractor):
    return AutoencoderBranch(extractor, list(extractor.network), (32, 48))


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (17, 9), (100, 64), (9, 9)])
def test_photos_of_any_size_come_back_at_their_size(extractor, branch, size):
    images = torch.rand(2, 3, *size)
    assert branch(extractor(images).maps, size).shape == images.shape


def test_the_decoder_mirrors_the_encoder(extractor, branch):
    assert scale_widths(extractor, list(extractor.network), (32, 48)) == {1: 4, 2: 4, 3: 8}
    shapes = [(stage.in_channels, stage.out_channels) for stage in branch.stages.values()]
    assert shapes == [(8, 4), (4, 4)]  # at 1/4 and 1/2, as the encoder has them
    assert (branch.paint.in_channels, branch.paint.out_channels) == (4, 3)
    sizes = []
    for stage in branch.stages.values():
        stage.register_forward_hook(lambda m, a, out: sizes.append(tuple(out.shape[2:])))
    branch(extractor(torch.rand(1, 3, 33, 47)).maps, (33, 47))
    with torch.no_grad():
        encoder = [extractor.network[:2](torch.rand(1, 3, 33, 47)).shape[2:]]
    assert sizes == [(9, 12), (17, 24)]
    assert sizes[-1] == tuple(encoder[0])


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("resnet18", {1: 64, 2: 64, 3: 128, 4: 256}),
        pytest.param("vgg16", {0: 64, 1: 128, 2: 256, 3: 512, 4: 512}, marks=pytest.mark.slow),
        ("efficientnet_lite0", {1: 16, 2: 24, 3: 40, 4: 112}),
    ],
)
def test_widths_of_the_thesis_backbones(name, widths):
    """Read off the networks' papers: channels at each halving. VGG16's by `make slow`."""
    from retrieval.training.task import blocks_of

    network = build_extractor(name, 32, pretrained=False)
    assert scale_widths(network, blocks_of(network), (32, 32)) == widths


def test_a_backbone_with_one_scale_is_halved_towards_the_photo():
    network = MapExtractor(nn.Sequential(nn.Conv2d(3, 64, 8, stride=8)), 64)
    branch = AutoencoderBranch(network, list(network.network), (32, 32))
    widths = [stage.out_channels for stage in branch.stages.values()]
    assert widths == [32, 16]
    assert branch(network(torch.rand(1, 3, 32, 32)).maps, (32, 32)).shape == (1, 3, 32, 32)


def test_the_loss_is_the_mean_of_squares(extractor, branch):
    images = torch.rand(2, 3, 16, 24)
    maps = extractor(images).maps
    painted = branch(maps, (16, 24)).detach().tolist()
    total = count = 0
    for photo, truth in zip(painted, images.tolist(), strict=True):
        for channel, wanted in zip(photo, truth, strict=True):
            for line, right in zip(channel, wanted, strict=True):
                for a, b in zip(line, right, strict=True):
                    total, count = total + (a - b) ** 2, count + 1
    assert float(branch.loss(maps, images).detach()) == pytest.approx(total / count, rel=1e-5)


def test_the_gradient_reaches_the_backbone(extractor, branch):
    images = torch.rand(2, 3, 32, 48)
    branch.loss(extractor(images).maps, images).backward()
    for name, weights in [*extractor.named_parameters(), *branch.named_parameters()]:
        assert torch.isfinite(weights.grad).all(), name
        assert weights.grad.abs().sum() > 0, name


def test_no_photo_is_no_loss_with_a_gradient(extractor, branch):
    images = torch.rand(0, 3, 32, 48)
    loss = branch.loss(extractor(images).maps, images)
    assert float(loss.detach()) == 0
    loss.backward()
    assert all(weights.grad is not None for weights in branch.parameters())


def test_it_learns_to_paint(extractor, branch):
    """A flat colour a photo, from its map alone."""
    torch.manual_seed(1)
    images = torch.rand(4, 3, 1, 1).expand(4, 3, 32, 48).contiguous()
    optimizer = torch.optim.Adam([*extractor.parameters(), *branch.parameters()], lr=1e-2)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = branch.loss(extractor(images).maps, images)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.25 * float(images.var())  # a grey answer leaves the variance


def test_maps_are_watched_only_meanwhile(extractor):
    images = torch.rand(1, 3, 16, 16)
    with watched_maps(extractor) as maps:
        found = extractor(images).maps
    extractor(images)
    assert len(maps) == 1
    assert maps[0] is found
    assert halved((33, 48), 2) == (9, 12)
