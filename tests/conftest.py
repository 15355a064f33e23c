"""A tiny partition and a tiny bundle, made once: the ONNX export alone takes seconds."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # an unreachable hub answers at once
# Tiny networks gain nothing from threads, and on a busy machine threads that wait for each other
# make a test take ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from models.calibration import Calibration
from partitioning.partition import build_partition


@pytest.fixture(scope="session")
def partition():
    """Three nested levels over 3,000 clustered positions."""
    rng = np.random.default_rng(0)
    lat = np.clip(rng.choice([-30, 10, 45, 52], 3000) + rng.normal(0, 4, 3000), -89, 89)
    lon = rng.choice([-100, 5, 12, 110], 3000) + rng.normal(0, 4, 3000)
    t = {"coarse": (10, 800), "middle": (10, 200), "fine": (10, 60)}
    return build_partition(lat, lon, t)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory, partition):
    """A two-branch ViT with random weights; tests that change its files copy it first."""
    import torch

    from models.export import save_bundle
    from models.geocell_vit import Architecture, GeocellViT

    torch.manual_seed(0)
    args = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
    cells = {level: len(cells) for level, cells in partition.levels.items()}
    shape = Architecture(cells, "vit_tiny_patch16_224", args, img_size=32)
    model = GeocellViT(shape, pretrained=False)
    calibration = Calibration(1.5, ((0.9, 0.97),), 0.1, 50)
    directory = tmp_path_factory.mktemp("run") / "bundle"
    return save_bundle(model, partition, calibration, directory, {"name": "tiny"})
