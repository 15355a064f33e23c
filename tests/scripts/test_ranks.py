"""Two processes train what one trains on the same batches, and measure the same."""

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from data.synthetic import write_synthetic_shards

FLAGS = (
    "--backbone vit_tiny_patch16_224 --no-pretrained --img_size 32 --workers 0 --device cpu "
    "--backbone_args patch_size=8,embed_dim=24,depth=2,num_heads=2 --t_coarse 2 40 "
    "--t_middle 2 20 --t_fine 2 10 --epochs 2 --lr 1e-3 --select last --clip 0.5"
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """96 photos to train on and 31 to validate on: two ranks cannot share those evenly."""
    return write_synthetic_shards(tmp_path_factory.mktemp("odd"), val=31)


@pytest.fixture(scope="module")
def alone(run, odd, tmp_path_factory):
    """One process, batches of 16; some photos without cell, scene or map."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert run(odd, out, f"{FLAGS} --batch_size 16 --ema 0.9 --consistency 0.1") == [0]
    return out


def metrics(out):
    """The figures of each epoch."""
    table = pd.read_csv(out / "csv" / "metrics.csv")
    named = [c for c in table.columns if c.startswith(("val/", "train/"))]
    return table.groupby("epoch")[named].mean()


@pytest.mark.parametrize(
    ("flags", "size"),
    [("", 8), pytest.param("--accumulate 1 --strategy fsdp", 8, marks=pytest.mark.slow)],
)
def test_two_ranks_equal_one(run, two_ranks, odd, alone, tmp_path, flags, size):
    """Same photos a step, in halves: the weights agree to rounding, every figure too."""
    out = tmp_path / "run"
    given = f"{FLAGS} --batch_size {size} --ema 0.9 --consistency 0.1 {flags}"
    assert run(odd, out, given, environments=two_ranks()) == [0, 0]
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (alone, out))
    untrained = torch.load(alone / "checkpoints" / "step000000012.ckpt", weights_only=True)
    assert untrained["global_step"] == 12
    for name, weights in ours.items():
        # Adam divides by the gradient's size: rounding of a tiny gradient is not tiny
        torch.testing.assert_close(theirs[name], weights, atol=2e-4, rtol=1e-3, msg=name)
    pd.testing.assert_frame_equal(metrics(out), metrics(alone), atol=1e-3, rtol=1e-3)
