"""Floating-point operations of a training step, and how many a machine does at its best.

Model FLOPs utilisation (MFU) is the share of a processor's peak that a run's forward and backward
passes make use of (Chowdhery et al., "PaLM", 2022, https://arxiv.org/abs/2204.02311, appendix B).
"""

import time
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

# Dense, without sparsity: FLOP/s in bfloat16 on tensor cores, as the makers' data sheets say.
GPU_PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "4090": 165e12,
}


def step_flops(model: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Operations of a forward and a backward pass; a multiplication and an addition are two.

    Attention is taken apart for it: the fused kernels are not counted on every device.
    """
    from timm.layers import set_fused_attn

    set_fused_attn(False)
    try:
        with FlopCounterMode(display=False) as counter:
            out = model(*inputs)
            logits = [*out.cells.values(), out.scene] if hasattr(out, "cells") else [out]
            sum(part.float().sum() for part in logits).backward()
    finally:
        set_fused_attn(True)
        model.zero_grad()
    return counter.get_total_flops()


def peak_flops(device: torch.device) -> tuple[float, str]:
    """FLOP/s at best, and where the figure is from: a table of GPUs, or a product measured here."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for part, peak in GPU_PEAKS.items():
            if part in name:
                return peak, f"{name}, bfloat16 dense, data sheet"
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return _best_product(device, dtype), f"{dtype} product of 2048 x 2048, measured"


def _best_product(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    a = torch.randn(size, size, device=device, dtype=dtype)
    best = 0.0
    for _ in range(6):
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best
