"""Tiny models, made in a second."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # an unreachable hub answers at once

import pytest
import torch

from models.geocell_vit import Architecture, GeocellViT

TINY_VIT = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


@pytest.fixture
def build(partition):
    """Build a tiny model: `build(inputs="both", backbone=..., ...)`."""

    def make(inputs="both", backbone="vit_tiny_patch16_224", args=TINY_VIT, **fields):
        torch.manual_seed(0)
        cells = {level: len(cells) for level, cells in partition.levels.items()}
        shape = {"num_cells": cells, "img_size": 32, **fields}
        architecture = Architecture(backbone=backbone, backbone_args=args, inputs=inputs, **shape)
        return GeocellViT(architecture, pretrained=False).eval()

    return make


@pytest.fixture
def photos():
    """Eight random photos: rgb, seg, has_seg (every other one)."""
    generator = torch.Generator().manual_seed(1)
    rgb = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=generator)
    seg = torch.randint(0, 6, (8, 32, 32), dtype=torch.uint8, generator=generator)
    return rgb, seg, torch.arange(8) % 2 == 0
