"""Encoders: normalisation inside, what each kind reads."""

import numpy as np
import pytest
import torch

from models.backbones import build_backbone
from models.encoders import FusedEncoder, LateEncoder, MapEncoder, Normalize, PhotoEncoder

TINY = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


def backbone(channels=3, **changes):
    torch.manual_seed(channels)
    arguments = {**TINY, **changes}
    return build_backbone("vit_tiny_patch16_224", 32, channels, False, arguments).eval()


def test_normalize_is_mean_and_deviation_of_its_backbone(photos):
    rgb = photos[0]
    reader = backbone()
    found = Normalize(reader)(rgb).numpy()
    for channel in range(3):
        pixels = rgb[:, channel].numpy().astype(np.float64) / 255
        expected = (pixels - reader.mean[channel]) / reader.std[channel]
        np.testing.assert_allclose(found[:, channel], expected, atol=1e-6)


def test_one_branch_reads_its_input_only(photos):
    rgb, seg, has_seg = photos
    photo, seg_map = PhotoEncoder(backbone()), MapEncoder(backbone(6), 6)
    assert (photo.needs_map, seg_map.needs_map) == (False, True)
    for encoder, own, other in ((photo, 0, 1), (seg_map, 1, 0)):
        first = encoder(rgb, seg, has_seg)
        inputs = [rgb, seg]
        inputs[other] = torch.zeros_like(inputs[other])
        assert torch.equal(encoder(*inputs, ~has_seg).summary, first.summary)
        inputs[own] = torch.zeros_like(inputs[own])
        assert not torch.equal(encoder(*inputs, has_seg).summary, first.summary)


def test_widths(photos):
    encoders = (PhotoEncoder(backbone()), FusedEncoder(backbone(), backbone(4), 4))
    for encoder, branches in zip(encoders, (1, 2), strict=True):
        summary, patches = encoder.eval()(*photos)
        assert summary.shape == (8, encoder.width) == (8, branches * 24)
        assert patches.shape == (8, 16, encoder.patch_width)
    assert not FusedEncoder.needs_map


def test_fusing_needs_class_tokens_and_equal_depth():
    tokens_without = backbone(class_token=False, global_pool="avg")
    lite = build_backbone("efficientnet_lite0", 32, 3, False, {})
    for other in (tokens_without, lite):
        for pair in ((backbone(), other), (other, backbone())):
            with pytest.raises(ValueError, match="class token, or --fusion late, or --inputs rgb"):
                FusedEncoder(*pair, 3)
    for other in (backbone(depth=3), backbone(embed_dim=48)):
        with pytest.raises(ValueError, match=r"width 24 and 2 blocks, the map's .*--fusion late"):
            FusedEncoder(backbone(), other, 3)


def test_any_pair_of_one_width_and_depth_is_fused(photos):
    """Another patch size, register tokens, rotary positions: only class tokens are exchanged."""
    registers = backbone(reg_tokens=4, patch_size=16)
    arguments = {**TINY, "patch_size": 16}
    rotary = build_backbone("eva02_tiny_patch14_224", 32, 4, False, arguments).eval()
    for photo, seg_map, channels in ((backbone(), registers, 3), (registers, rotary, 4)):
        encoder = FusedEncoder(photo, seg_map, channels).eval()
        whole = encoder(*photos)
        assert whole.summary.shape == (8, 48)
        one = encoder(*(x[2:3] for x in photos))
        torch.testing.assert_close(one.summary, whole.summary[2:3], atol=1e-5, rtol=1e-4)


def test_late_fusion_is_two_networks_side_by_side(photos):
    """Of any kind; a photo without a map has the learned vector."""
    rgb, seg, has_seg = photos
    lite = build_backbone("efficientnet_lite0", 32, 3, False, {}).eval()
    encoder = LateEncoder(backbone(), lite, 3).eval()
    with torch.no_grad():
        encoder.without_map.fill_(0.5)
        summary, patches = encoder(rgb, seg, has_seg)
        of_photo = PhotoEncoder(encoder.branches[0])(rgb, seg, has_seg)
        of_map = MapEncoder(lite, 3)(rgb, seg, has_seg).summary
    assert encoder.width == 24 + lite.width
    assert torch.equal(patches, of_photo.patches)
    for photo in range(8):
        expected = of_map[photo] if has_seg[photo] else torch.full((lite.width,), 0.5)
        assert torch.equal(summary[photo], torch.cat([of_photo.summary[photo], expected]))
