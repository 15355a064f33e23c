"""LoRA against its formula, on the attention and MLPs that timm's transformers have."""

import models.torchvision_cure  # noqa: F401  isort: skip
import pytest
import timm
import torch
from torch import nn

from models.lora import LoraLinear, add_lora, merge_lora

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
# Plain, with layer scale and registers, rotary with biases past the layer, rotary SwiGLU, pooling.
VITS = [
    "vit_tiny_patch16_224",
    "vit_small_patch14_reg4_dinov2",
    "eva02_tiny_patch14_224",
    "vit_small_patch16_dinov3",
    "vit_base_patch16_siglip_224",
]


@pytest.fixture
def build():
    def make(name="vit_tiny_patch16_224"):
        torch.manual_seed(0)
        # Four heads' width for the rotary ones, whose rotation turns pairs of pairs.
        shape = SMALL | ({"embed_dim": 32} if "eva" in name or "dinov3" in name else {})
        model = timm.create_model(name, num_classes=0, **shape).eval()
        for parameter in model.parameters():  # timm's start hides the blocks behind near-zeros
            nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
        return model

    return make


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def trained(model):
    """The model with updates as training leaves them: not zero."""
    for part in model.modules():
        if isinstance(part, LoraLinear):
            nn.init.normal_(part.up, std=0.2)
    return model


@pytest.mark.parametrize("name", VITS)
def test_starts_as_the_network_it_is_added_to(build, images, name):
    model = build(name)
    before = model(images)
    add_lora(model, rank=4)
    assert torch.allclose(model(images), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", VITS)
@pytest.mark.parametrize("targets", [("qkv",), ("proj", "mlp"), ("qkv", "proj", "mlp")])
def test_merged_does_what_unmerged_did(build, images, name, targets):
    model = build(name)
    plain, names = model(images), list(model.state_dict())
    add_lora(model, rank=4, alpha=8, targets=targets)
    unmerged = trained(model)(images)
    assert (unmerged - plain).abs().max() > 1e-2  # each update has a say
    assert merge_lora(model) > 0
    assert (model(images) - unmerged).abs().max() <= 1e-5 * unmerged.abs().max().clamp(min=1)
    assert list(model.state_dict()) == names
    assert not any(isinstance(part, LoraLinear) for part in model.modules())


def test_each_kind_of_layer_is_found(build):
    def layers(*targets):
        model = build()
        add_lora(model, rank=1, targets=targets)
        return [name for name, part in model.named_modules() if isinstance(part, LoraLinear)]

    assert layers("qkv") == ["blocks.0.attn.qkv", "blocks.1.attn.qkv"]
    assert layers("proj") == ["blocks.0.attn.proj", "blocks.1.attn.proj"]
    assert layers("mlp") == [f"blocks.{i}.mlp.fc{j}" for i in (0, 1) for j in (1, 2)]


def test_a_layer_by_a_loop_over_the_formula():
    torch.manual_seed(0)
    base = nn.Linear(5, 3)
    layer = LoraLinear(base, rank=2, alpha=6)
    nn.init.normal_(layer.up)
    x = torch.randn(4, 5)
    y = layer(x)
    for n in range(4):
        for o in range(3):
            update = sum(
                layer.up[o, r] * layer.down[r, i] * x[n, i] for r in range(2) for i in range(5)
            )
            assert torch.isclose(y[n, o], base(x[n])[o] + 6 / 2 * update, atol=1e-5)
    assert torch.allclose(nn.functional.linear(x, layer.weight, layer.bias), y, atol=1e-5)


def test_only_the_updates_are_trained_and_they_are_counted(build):
    model = build()
    count = add_lora(model, rank=4)
    wanted = {n for n, p in model.named_parameters() if p.requires_grad}
    assert {name.rpartition(".")[2] for name in wanted} == {"down", "up"}
    width, blocks = 24, 2
    ends = [width + 3 * width, width + width, width + 4 * width, 4 * width + width]
    assert count == 4 * blocks * sum(ends) == sum(p.numel() for p in model.parameters()
                                                 if p.requires_grad)  # fmt: skip


def test_training_moves_the_updates_and_nothing_else(build, images):
    model = build()
    add_lora(model, rank=4)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    target = torch.randn_like(model(images))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    losses = []
    for _ in range(20):
        loss = (model(images) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    for name, p in model.named_parameters():
        moved = not torch.equal(p, before[name])
        assert moved == name.endswith((".up", ".down")), name


def test_the_same_after_saving_and_loading(build, images, tmp_path):
    first, second = build(), build()
    add_lora(first, rank=2)
    trained(first)
    add_lora(second, rank=2)
    torch.save(first.state_dict(), tmp_path / "lora.pt")
    second.load_state_dict(torch.load(tmp_path / "lora.pt", weights_only=True))
    assert torch.equal(first(images), second(images))


def test_merging_nothing_is_nothing(build):
    assert merge_lora(build()) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rank": 0}, "at least 1"), ({"targets": ("qkv", "head")}, "not head")],
)
def test_settings_that_mean_nothing(build, options, message):
    model = build()
    with pytest.raises(ValueError, match=message):
        add_lora(model, **options)
    assert all(p.requires_grad for p in model.parameters())


def test_a_network_without_transformer_blocks():
    network = timm.create_model("resnet10t", num_classes=0)
    with pytest.raises(ValueError, match="needs a vision transformer"):
        add_lora(network)
    assert all(p.requires_grad for p in network.parameters())


def test_adding_twice_is_refused(build):
    model = build()
    add_lora(model)
    with pytest.raises(ValueError, match="merge them first"):
        add_lora(model)
