"""The geocell model: branches, masks, shapes, export-ready behaviour."""

import pytest
import torch

from models.geocell_vit import Architecture, GeocellViT


def assert_same(one, other, rows=slice(None), atol=1e-5):
    for level in one.cells:
        torch.testing.assert_close(one.cells[level][rows], other.cells[level], atol=atol, rtol=1e-4)
    torch.testing.assert_close(one.scene[rows], other.scene, atol=atol, rtol=1e-4)
    torch.testing.assert_close(one.descriptor[rows], other.descriptor, atol=atol, rtol=1e-4)


@pytest.mark.parametrize("inputs", ["rgb", "seg", "both"])
@pytest.mark.parametrize("seg_channels", [3, 6])
def test_shapes_and_unit_descriptor(build, photos, partition, inputs, seg_channels):
    out = build(inputs, seg_channels=seg_channels, descriptor_dim=10)(*photos)
    assert {k: v.shape for k, v in out.cells.items()} == {
        level: (8, len(cells)) for level, cells in partition.levels.items()
    }
    assert out.scene.shape == (8, 3)
    torch.testing.assert_close(out.descriptor.norm(dim=1), torch.ones(8))


@pytest.mark.parametrize("inputs", ["rgb", "seg", "both"])
def test_one_photo_is_a_row_of_its_batch(build, photos, inputs):
    model = build(inputs)
    whole = model(*photos)
    for i in (0, 1):
        assert_same(whole, model(*(x[i : i + 1] for x in photos)), slice(i, i + 1))


@pytest.mark.parametrize("fusion", ["blocks", "late"])
def test_a_missing_map_has_no_influence(build, photos, fusion):
    rgb, seg, has_seg = photos
    model = build("both", fusion=fusion)
    with torch.no_grad():  # away from the identity start, where a leak could hide
        for parameter in model.encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    changed = torch.where(has_seg[:, None, None], seg, (seg + 3) % 6)
    assert_same(model(rgb, seg, has_seg), model(rgb, changed, has_seg))
    present = torch.ones_like(has_seg)
    one, other = model(rgb, seg, present), model(rgb, changed, present)
    assert (one.cells["fine"] - other.cells["fine"])[~has_seg].abs().max() > 1e-4


def test_fusion_runs_after_every_block_as_in_a_plain_loop(build, photos):
    rgb, seg, has_seg = photos
    model = build("both")
    with torch.no_grad():
        for parameter in model.encoder.fusion.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    encoder = model.encoder
    vits = [branch.vit for branch in encoder.branches]
    images = ((rgb / 255 - 0.5) / 0.5, encoder.seg_input(seg))  # this ViT's mean and deviation
    states = [
        vit.norm_pre(vit._pos_embed(vit.patch_embed(x)))
        for vit, x in zip(vits, images, strict=True)
    ]
    for depth in range(2):
        states = [vit.blocks[depth](x) for vit, x in zip(vits, states, strict=True)]
        layer = model.encoder.fusion[depth]
        for photo in range(8):
            said = [layer.project[0](states[0][photo, 0])]
            if has_seg[photo]:
                said.append(layer.project[1](states[1][photo, 0]))
            shared = sum(said) / len(said)
            for i in range(2):
                states[i] = states[i].clone()
                states[i][photo, 0] = layer.back_project[i](shared)
    summary = torch.cat([vit.norm(x)[:, 0] for vit, x in zip(vits, states, strict=True)], dim=1)
    torch.testing.assert_close(model(*photos).cells["fine"], model.cell_heads["fine"](summary))


def test_photo_only_model_ignores_maps_and_map_only_model_photos(build, photos):
    rgb, seg, has_seg = photos
    noise = torch.randint_like(rgb, 256)
    assert_same(build("rgb")(rgb, seg, has_seg), build("rgb")(rgb, seg * 0, ~has_seg))
    assert_same(build("seg")(rgb, seg, has_seg), build("seg")(noise, seg, has_seg))


@pytest.mark.parametrize(
    ("backbone", "args"),
    [
        ("efficientnet_lite0", {}),
        ("resnet18", {}),
        ("eva02_tiny_patch14_224", {"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}),
    ],
)
def test_other_backbones_are_like_any_other(build, photos, backbone, args):
    out = build("rgb", backbone, args)(*photos)
    assert out.cells["fine"].isfinite().all()


def test_gradient_is_finite_everywhere(build, photos):
    model = build("both").train()
    out = model(*photos)
    (sum(v.square().mean() for v in out.cells.values()) + out.scene.square().mean()).backward()
    out = model(*photos)
    out.descriptor.square().mean().backward()
    missing = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert missing == []


def test_refusals_tell_the_way_out():
    cells = {"fine": 4}
    with pytest.raises(ValueError, match="rgb, seg, both"):
        GeocellViT(Architecture(cells, inputs="depth"), pretrained=False)
    with pytest.raises(ValueError, match="blocks, late"):
        GeocellViT(Architecture(cells, fusion="early"), pretrained=False)
    with pytest.raises(ValueError, match="--inputs rgb"):
        GeocellViT(Architecture(cells, backbone="resnet18", img_size=32), pretrained=False)
    with pytest.raises(ValueError, match="at least one cell"):
        GeocellViT(Architecture({"fine": 0}, inputs="rgb"), pretrained=False)
