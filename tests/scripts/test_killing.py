"""Runs killed with SIGKILL and resumed: the same bits as a run that nobody disturbed.

Runs are forked from this process, which has imported all they need.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import train_vit as training
from models.training.checkpoint import checkpoints_in

ROOT = Path(training.__file__).parent
DROPOUT = "patch_size=8,embed_dim=24,depth=2,num_heads=2,drop_rate=0.3,drop_path_rate=0.2"
FLAGS = (
    "--backbone vit_tiny_patch16_224 --no-pretrained --img_size 32 --batch_size 8 --workers 0 "
    "--device cpu --t_coarse 2 40 --t_middle 2 20 --t_fine 2 10 --scene_weight 0.5 --epochs 2 "
    f"--backbone_args {DROPOUT} --ema 0.9 --checkpoint_every_steps 3"
)
STEPS = 24  # of one process: 96 photos, batches of 8, twice


def final_state(out):
    """All that the last checkpoint holds and a resumed run could have lost."""
    state = torch.load(checkpoints_in(out / "checkpoints")[0], weights_only=True)
    weights = dict(state["state_dict"])
    for number, moments in state["optimizer_states"][0]["state"].items():
        weights |= {f"{name} of {number}": value for name, value in moments.items()}
    (keeper,) = (v for k, v in state["callbacks"].items() if "CheckpointKeeper" in k)
    rates = [group["lr"] for group in state["optimizer_states"][0]["param_groups"]]
    return weights, (state["global_step"], state["epoch"], keeper, rates, state["lr_schedulers"])


def assert_same_run(one, other):
    (weights, rest), (weights_again, rest_again) = final_state(one), final_state(other)
    assert rest == rest_again
    assert weights.keys() == weights_again.keys()
    different = [name for name in weights if not torch.equal(weights[name], weights_again[name])]
    assert different == []
    for file in ("model.safetensors", "calibration.json", "cells.parquet"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


@pytest.fixture(scope="session")
def undisturbed(run, shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(shards, out, FLAGS) == [0]
    return out


def test_killed_within_an_epoch_and_resumed_it_is_the_same_run(run, shards, tmp_path, undisturbed):
    """Killed twice, at random: once in the first epoch, once in the second."""
    out = tmp_path / "run"
    places = random.Random()
    first, second = places.randrange(4, 12), places.randrange(12, STEPS)
    assert run(shards, out, FLAGS, kill_at=first) == [-signal.SIGKILL]
    newest = checkpoints_in(out / "checkpoints")[0].name
    assert newest == f"step{first // 3 * 3:09d}.ckpt"
    assert run(shards, out, FLAGS + " --resume", kill_at=second) == [-signal.SIGKILL]
    assert run(shards, out, FLAGS + " --resume") == [0]
    assert_same_run(undisturbed, out)


@pytest.mark.parametrize("flags", ["", pytest.param(" --strategy fsdp", marks=pytest.mark.slow)])
def test_two_ranks_restarted_after_a_kill_are_the_same_run(run, two_ranks, shards, tmp_path, flags):
    """As `torchrun --max-restarts` does it: the same command again, no --resume."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert run(shards, whole, FLAGS + flags, environments=two_ranks()) == [0, 0]
    kill_at = random.Random().randrange(4, STEPS // 2)
    codes = run(shards, halves, FLAGS + flags, kill_at=kill_at, environments=two_ranks())
    assert codes[0] == -signal.SIGKILL
    assert run(shards, halves, FLAGS + flags, environments=two_ranks(restarts=1)) == [0, 0]
    assert_same_run(whole, halves)


def children_of(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_torchrun_restarts_what_was_killed(shards, tmp_path):
    """The real torchrun; one of its workers killed at a random moment. Run by `make slow`."""
    outs = [tmp_path / "whole", tmp_path / "halves"]
    for out in outs:
        command = "-m torch.distributed.run --standalone --nproc_per_node 2 --max-restarts 2 "
        command += f"train_vit.py --data {shards} --out {out} {FLAGS} --epochs 6"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen(
            [sys.executable, *command.split()], cwd=ROOT, env=environment, stderr=subprocess.PIPE
        )
        if out.name == "halves":
            while not checkpoints_in(out / "checkpoints"):
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.02)
            time.sleep(random.Random().uniform(0, 0.5))
            os.kill(random.Random().choice(children_of(process.pid)), signal.SIGKILL)
        _, error = process.communicate(timeout=250)
        assert process.returncode == 0, error
    weights, rest = final_state(outs[0])
    assert rest[0] == 36
    again, rest_again = final_state(outs[1])
    assert rest == rest_again
    assert [name for name in weights if not torch.equal(weights[name], again[name])] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_kills_at_random_moments_of_the_clock(run, shards, tmp_path, undisturbed):
    """Whatever it is doing: starting, training, validating, saving. Run by `make slow`."""
    out, moments, kills = tmp_path / "run", random.Random(), 0
    while kills < 25:
        flags = FLAGS + (" --resume" if checkpoints_in(out / "checkpoints") else "")
        codes = run(shards, out, flags, limit_s=moments.uniform(0.2, 2.5))
        if codes == [0]:
            break
        assert codes == [-signal.SIGKILL]
        kills += 1
    assert run(shards, out, FLAGS + " --resume") == [0]
    assert_same_run(undisturbed, out)
