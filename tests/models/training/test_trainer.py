"""Devices, nodes and processes from flags and from what torchrun sets; the sbatch example."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy

from models.training import trainer
from models.training.recipe import Recipe
from models.training.recipe_flags import parse_recipe

CPU = Recipe(data="d", out="o", device="cpu")


@pytest.fixture
def torchrun(monkeypatch):
    """`torchrun(nodes, processes)` sets what it sets in the environment."""

    def start(nodes, processes, rank=0):
        values = {"WORLD_SIZE": nodes * processes, "LOCAL_WORLD_SIZE": processes, "RANK": rank}
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    return start


def test_one_process_by_default():
    machine = trainer.accelerator(CPU)
    assert machine == {"accelerator": "cpu", "devices": 1, "num_nodes": 1}
    assert trainer.strategy(CPU, machine) == "auto"
    assert (trainer.rank(), trainer.restarts()) == (0, 0)


@pytest.mark.parametrize(("nodes", "processes"), [(1, 2), (3, 4)])
def test_torchruns_processes_are_counted(torchrun, nodes, processes):
    torchrun(nodes, processes, rank=1)
    machine = trainer.accelerator(CPU)
    assert (machine["devices"], machine["num_nodes"]) == (processes, nodes)
    assert trainer.rank() == 1
    assert isinstance(trainer.strategy(CPU, machine), DDPStrategy)
    sharded = trainer.strategy(replace(CPU, strategy="fsdp"), machine)
    assert isinstance(sharded, ModelParallelStrategy)
    assert sharded._data_parallel_size == nodes * processes


def test_torchrun_gives_each_process_its_gpu(torchrun, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    torchrun(1, 4)
    machine = trainer.accelerator(replace(CPU, device="auto"))
    assert machine == {"accelerator": "gpu", "devices": [0, 1, 2, 3], "num_nodes": 1}
    torchrun(1, 5)
    with pytest.raises(ValueError, match="GPU 4 is not visible, 4 are"):
        trainer.accelerator(replace(CPU, device="auto"))


def test_contradictions_are_refused(torchrun):
    with pytest.raises(ValueError, match="fsdp spreads the model over several processes"):
        trainer.strategy(replace(CPU, strategy="fsdp"), trainer.accelerator(CPU))
    torchrun(2, 2)
    with pytest.raises(ValueError, match="--num_nodes 3: torchrun started 2"):
        trainer.accelerator(replace(CPU, num_nodes=3))
    with pytest.raises(ValueError, match="--embed_once runs in one process"):
        trainer.strategy(replace(CPU, embed_once=True), trainer.accelerator(CPU))


def test_restarts_of_torchrun_and_slurm_are_counted(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert trainer.restarts() == 3


def test_free_names(tmp_path):
    assert trainer.free_name(tmp_path, "csv") == "csv"
    for name in ("csv", "csv-2"):
        (tmp_path / name).mkdir()
    assert trainer.free_name(tmp_path, "csv") == "csv-3"


def test_the_sbatch_examples_flags_are_ours():
    """What it hands to train_vit.py is a command line that train_vit.py takes."""
    script = (Path(trainer.__file__).parents[2] / "docs/slurm/train.sbatch").read_text()
    command = script.replace("\\\n", " ").rpartition("train_vit.py")[2]
    command = command.replace('"$data"', "d").replace('"$out"', "o").replace('"$@"', "")
    recipe = parse_recipe("", command.replace('"${resume[@]}"', "--resume").split())
    assert (recipe.data, recipe.out, recipe.compile, recipe.resume) == ("d", "o", True, True)
