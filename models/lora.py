"""Low-rank adaptation of vision transformers: train a few small matrices, keep the rest frozen.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021,
https://arxiv.org/abs/2106.09685, section 4.1. A frozen linear layer of weight W `(out, in)` becomes

    y = x W' + x (alpha / r) (up down)',      up (out, r) = 0, down (r, in) random at the start,

so that training starts from the network as it was, and the product can be added to W at the end:
the merged network has the layers, names and speed of the one before.

    add_lora(backbone, rank=16)   # ... train ...
    merge_lora(backbone)
"""

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional

TARGETS = ("qkv", "proj", "mlp")
_QKV = ("qkv", "q_proj", "k_proj", "v_proj")


class LoraLinear(nn.Module):
    """A frozen linear layer and its low-rank update.

    Args:
        base: the layer.
        rank: r of the update.
        alpha: the update counts alpha / r, so that another rank needs no other learning rate.

    Attributes:
        base: the layer, frozen.
        down: `(rank, in)`.
        up: `(out, rank)`.
        scale: alpha / rank.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.scale = alpha / rank
        self.down = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as nn.Linear starts

    @property
    def weight(self) -> Tensor:
        """The weight with its update, for blocks that read it past `forward` (timm's EVA)."""
        return self.base.weight + self.scale * self.up @ self.down

    @property
    def bias(self) -> Tensor | None:
        """The layer's bias."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """Apply to `(..., in)`; the product `up down` is never formed."""
        update = functional.linear(functional.linear(x, self.down), self.up)
        return self.base(x) + self.scale * update

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The plain layer that does the same; this one is of no use afterwards."""
        self.base.weight += self.scale * self.up @ self.down
        return self.base


def add_lora(
    module: nn.Module,
    rank: int = 16,
    alpha: float | None = None,
    targets: Collection[str] = TARGETS,
) -> int:
    """Freeze a module and give the linear layers of its transformer blocks trainable updates.

    Args:
        module: holds one or more of timm's vision transformers; all of its parameters are frozen.
        rank: of the updates.
        alpha: see `LoraLinear`; None takes the rank: the update counts once.
        targets: which layers: "qkv" (attention's input), "proj" (its output), "mlp".

    Returns:
        The number of trainable parameters: rank x (in + out), summed over the layers.

    Raises:
        ValueError: the rank is not positive, a target is unknown, there are updates already, or no
            layer of these kinds; the module is then as it was.
    """
    if rank < 1:
        raise ValueError(f"the rank of LoRA must be at least 1, got {rank}")
    if unknown := sorted(set(targets) - set(TARGETS)):
        raise ValueError(f"LoRA's targets are {', '.join(TARGETS)}, not {', '.join(unknown)}")
    if any(isinstance(part, LoraLinear) for part in module.modules()):
        raise ValueError("there are LoRA updates in it already; merge them first")
    layers = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and _kind(name) in targets
    }
    if not layers:
        raise ValueError(
            f"no {', '.join(targets)} layers in transformer blocks: LoRA needs a vision "
            "transformer of timm; fine-tune or freeze other networks as a whole"
        )
    module.requires_grad_(False)
    for name, layer in layers.items():
        module.set_submodule(name, LoraLinear(layer, rank, rank if alpha is None else alpha))
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def merge_lora(module: nn.Module) -> int:
    """Add all updates to their layers' weights and put the plain layers back, still frozen.

    Returns:
        How many there were.
    """
    layers = {n: layer for n, layer in module.named_modules() if isinstance(layer, LoraLinear)}
    for name, layer in layers.items():
        module.set_submodule(name, layer.merged())
    return len(layers)


def _kind(name: str) -> str:
    """Which of `TARGETS` a layer of this name is; "" for the patch embedding, heads, pooling ..."""
    *path, last = name.split(".")
    if "blocks" not in path:
        return ""
    if "mlp" in path:
        return "mlp"
    if last in _QKV:
        return "qkv"
    return "proj" if last == "proj" and "attn" in path else ""
