"""Parameter groups of the optimiser: what decays, and slower learning the nearer to the pixels.

Biases, norms and other vectors are not decayed. With a layer decay d < 1, block i of n (0, 1, ...)
learns at d^(n - i) times the heads' rate, what comes before the blocks at d^(n + 1): pretrained
early layers need the least change (BEiT, Bao et al., 2022, https://arxiv.org/abs/2106.08254).
"""

import re
from typing import Any

from torch import nn

_BLOCK = re.compile(r"(?:^|\.)(?:blocks|fusion)\.(\d+)\.")
_STEM = re.compile(r"patch_embed|pos_embed|cls_token|reg_token|norm_pre|rope")


def parameter_groups(
    model: nn.Module, learning_rate: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Return groups for AdamW, in an order that depends on the model alone.

    Args:
        model: a `GeocellViT`; only what requires a gradient is taken.
        learning_rate: of the heads.
        weight_decay: of matrices.
        layer_decay: factor from one layer to the one before it; 1 = none.

    Raises:
        ValueError: a layer decay for a network without transformer blocks, or out of range.
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"--layer_decay must lie in (0, 1], got {layer_decay}")
    blocks = number_of_blocks(model)
    if layer_decay < 1 and not blocks:
        raise ValueError("--layer_decay needs a vision transformer; leave it out for this backbone")
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = layer_of(name, blocks) if layer_decay < 1 else blocks + 1
        decays = parameter.ndim > 1
        start = {
            "params": [],
            "lr": learning_rate * layer_decay ** (blocks + 1 - layer),
            "weight_decay": weight_decay if decays else 0.0,
        }
        groups.setdefault((layer, decays), start)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def number_of_blocks(model: nn.Module) -> int:
    """Transformer blocks of the deepest branch; 0 for other networks."""
    if not any(".vit." in f".{name}" for name, _ in model.named_modules()):
        return 0
    found = (_BLOCK.search(name) for name, _ in model.named_parameters())
    return max((int(match[1]) + 1 for match in found if match), default=0)


def layer_of(name: str, blocks: int) -> int:
    """0 = before the blocks, i + 1 = block i and its fusion, blocks + 1 = last norm and heads."""
    match = _BLOCK.search(name)
    if match:
        return int(match[1]) + 1
    return 0 if _STEM.search(name) else blocks + 1
