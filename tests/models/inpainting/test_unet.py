"""The partial-convolution U-Net: any size, holes that do not matter, norms that stand still."""

import pytest
import torch
from torch import nn

from models.inpainting.unet import PartialConvUNet, UNetSettings


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PartialConvUNet(UNetSettings(width=4, depth=3)).eval()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (8, 9), (1, 1), (17, 64)])
def test_any_size_comes_out_as_it_went_in(network, size):
    known = torch.ones(2, 1, *size)
    known[..., : size[0] // 2, : size[1] // 2] = 0
    painted, reached = network(torch.rand(2, 3, *size), known)
    assert painted.shape == (2, 3, *size)
    assert reached.shape == (2, 1, *size)
    assert torch.isfinite(painted).all()


def test_what_the_hole_hides_does_not_matter(network):
    photos, known = torch.rand(1, 3, 33, 40), torch.ones(1, 1, 33, 40)
    known[..., 8:20, 9:30] = 0
    painted, _ = network(photos, known)
    other, _ = network(photos + 50 * (1 - known), known)
    torch.testing.assert_close(other, painted)


def test_padding_is_unknown(network):
    """As if the photo lay in the corner of a larger one of which no more is known."""
    photo = torch.rand(1, 3, 21, 27)
    small, _ = network(photo, torch.ones(1, 1, 21, 27))
    large, known = torch.rand(1, 3, 24, 32), torch.zeros(1, 1, 24, 32)
    large[..., :21, :27], known[..., :21, :27] = photo, 1
    painted, _ = network(large, known)
    torch.testing.assert_close(painted[..., :21, :27], small)


def test_what_is_out_of_reach_is_grey_and_said_so(network):
    known = torch.zeros(1, 1, 128, 128)
    known[..., :4, :4] = 1
    painted, reached = network(torch.rand(1, 3, 128, 128), known)
    assert reached[..., :4, :4].all()
    assert not reached[..., -1, -1].any()
    assert (painted[0, :, -1, -1] == 0.5).all()


def test_the_second_phase_stops_the_encoders_norms_only():
    network = PartialConvUNet(UNetSettings(width=4, depth=3)).train()
    network.freeze_encoder_norms()
    encoder, decoder = (
        [m for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
        for part in (network.encoder, network.decoder)
    )
    assert encoder
    assert decoder
    before = [norm.running_mean.clone() for norm in (*encoder, *decoder)]
    network(torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16))[0].sum().backward()
    after = [norm.running_mean for norm in (*encoder, *decoder)]
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert moved == [False] * len(encoder) + [True] * len(decoder)
    assert all(norm.weight.grad is None for norm in encoder)
    assert all(norm.weight.grad is not None for norm in decoder)


def test_norms_stand_where_the_paper_has_them():
    network = PartialConvUNet(UNetSettings(width=4, depth=4))
    has_norm = [
        [isinstance(stage.norm, nn.BatchNorm2d) for stage in part]
        for part in (network.encoder, network.decoder)
    ]
    assert has_norm == [[False, True, True, True], [True, True, True, False]]
    assert [stage.conv.conv.kernel_size[0] for stage in network.encoder] == [7, 5, 5, 3]
    assert UNetSettings(64, 7).widths == [64, 128, 256, 512, 512, 512, 512]


@pytest.mark.parametrize("fields", [{"width": 0}, {"depth": 0}, {"depth": 13}])
def test_impossible_networks_are_refused(fields):
    with pytest.raises(ValueError, match="depth"):
        UNetSettings(**fields)
