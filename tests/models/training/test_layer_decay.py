"""Parameter groups: what decays, which layer learns how fast."""

import pytest
import torch

from models.training.layer_decay import layer_of, number_of_blocks, parameter_groups

EVA = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


def rates_and_decays(model, **settings):
    """Name -> (learning rate, weight decay)."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = parameter_groups(model, 1.0, 0.1, **settings)
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in groups
        for p in group["params"]
    }


@pytest.mark.parametrize("inputs", ["rgb", "both"])
def test_every_parameter_is_in_one_group_and_vectors_do_not_decay(build, inputs):
    model = build(inputs)
    found = rates_and_decays(model)
    assert found.keys() == dict(model.named_parameters()).keys()
    assert sum(len(g["params"]) for g in parameter_groups(model, 1, 1)) == len(found)
    for name, parameter in model.named_parameters():
        assert found[name] == (1.0, 0.1 if parameter.ndim > 1 else 0.0), name


@pytest.mark.parametrize(
    ("backbone", "args"), [("vit_tiny_patch16_224", EVA), ("eva02_tiny_patch14_224", EVA)]
)
@pytest.mark.parametrize("inputs", ["rgb", "both"])
def test_rates_fall_towards_the_pixels(build, backbone, args, inputs):
    """By a table written by hand: stem d^3, block 0 d^2, block 1 d^1, norm and heads 1."""
    found = rates_and_decays(build(inputs, backbone, args), layer_decay=0.5)
    expected = {
        "patch_embed": 0.125,
        "cls_token": 0.125,
        "pos_embed": 0.125,
        "blocks.0.": 0.25,
        "fusion.0.": 0.25,
        "blocks.1.": 0.5,
        "fusion.1.": 0.5,
        "vit.norm.": 1.0,
        "vit.fc_norm.": 1.0,
        "cell_heads": 1.0,
        "scene_head": 1.0,
        "descriptor_head": 1.0,
    }
    for name, (rate, _) in found.items():
        (share,) = (value for part, value in expected.items() if part in name)
        assert rate == pytest.approx(share), name


def test_frozen_parameters_are_left_out(build):
    model = build("rgb")
    model.encoder.requires_grad_(False)
    assert all("encoder" not in name for name in rates_and_decays(model))


def test_networks_without_blocks_have_no_layers(build):
    model = build("rgb", "resnet18", {})
    assert number_of_blocks(model) == 0
    assert {rate for rate, _ in rates_and_decays(model).values()} == {1.0}
    with pytest.raises(ValueError, match="--layer_decay needs a vision transformer"):
        parameter_groups(model, 1.0, 0.1, 0.75)


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.1])
def test_a_decay_out_of_range_is_refused(build, decay):
    with pytest.raises(ValueError, match="--layer_decay must lie in"):
        parameter_groups(build("rgb"), 1.0, 0.1, decay)


def test_names_of_layers():
    assert layer_of("encoder.backbone.vit.blocks.11.mlp.fc1.weight", 12) == 12
    assert layer_of("encoder.branches.1.vit.reg_token", 12) == 0
    assert layer_of("0.cell_heads.fine.weight", 12) == 13


def test_the_groups_train(build, photos):
    model = build("both")
    optimizer = torch.optim.AdamW(parameter_groups(model, 1e-2, 0.1, 0.5))
    before = {n: p.clone() for n, p in model.named_parameters()}
    model(*photos).cells["fine"].square().mean().backward()
    optimizer.step()
    moved = {n: float((p - before[n]).abs().max().detach()) for n, p in model.named_parameters()}
    stem, head = "encoder.branches.0.vit.cls_token", "cell_heads.fine.bias"
    assert moved[stem] == pytest.approx(1e-2 / 8, rel=0.1)
    assert moved[head] == pytest.approx(1e-2, rel=0.1)
