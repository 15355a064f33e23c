"""Lightning's trainer for a recipe: devices, processes, precision, loggers, checkpoints.

One process by default. Under `torchrun` (one or many nodes; docs/slurm/train.sbatch) the processes
are counted from what it sets in the environment.
"""

import os
from itertools import count
from pathlib import Path
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy

from models.training.checkpoint import AtomicCheckpointIO
from models.training.checkpoint_keeper import CheckpointKeeper
from models.training.progress import Progress
from models.training.recipe import Recipe


def build_trainer(recipe: Recipe, out: Path) -> tuple[pl.Trainer, CheckpointKeeper]:
    """The trainer and what keeps its checkpoints, in `out`/checkpoints.

    Raises:
        ValueError: the devices or processes that the flags name cannot be had.
    """
    machine = accelerator(recipe)
    keeper = CheckpointKeeper(out / "checkpoints", recipe.checkpoint_every_steps)
    loggers = [
        TensorBoardLogger(out, name="", version="tensorboard"),
        CSVLogger(out, name="", version=free_name(out, "csv")),
    ]
    trainer = pl.Trainer(
        **machine,
        strategy=strategy(recipe, machine),
        max_epochs=1 if recipe.fast else recipe.epochs,
        limit_train_batches=2 if recipe.fast else None,
        precision=recipe.precision,  # type: ignore[arg-type]
        accumulate_grad_batches=recipe.accumulate,
        callbacks=[LearningRateMonitor(), Progress(), keeper],
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        gradient_clip_val=recipe.clip or None,
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_checkpointing=False,  # Lightning's own; ours is among the callbacks
    )
    return trainer, keeper


def free_name(folder: Path, name: str) -> str:
    """The first of name, name-2, name-3 ... that is not there: a CSVLogger deletes what is."""
    names = (f"{name}-{number}" if number > 1 else name for number in count(1))
    return next(name for name in names if not (folder / name).exists())


def rank() -> int:
    """This process's number, before Lightning knows it; 0 where there is one process."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0)))


def restarts() -> int:
    """How often torchrun or SLURM has started this run again."""
    names = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return sum(int(os.environ.get(name, 0)) for name in names)


def accelerator(recipe: Recipe) -> dict[str, Any]:
    """Lightning's settings of devices and nodes for the flags.

    Raises:
        ValueError: a GPU is asked for and there is none, or it is not named cuda:N; or torchrun
            started another number of nodes.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 0))  # processes of this node under torchrun
    nodes = int(os.environ["WORLD_SIZE"]) // local if local else recipe.num_nodes
    if recipe.num_nodes not in (1, nodes):
        raise ValueError(f"--num_nodes {recipe.num_nodes}: torchrun started {nodes}; leave it out")
    has_gpu = torch.cuda.is_available()
    if recipe.device == "cuda" and not has_gpu:
        raise ValueError("--device cuda: no GPU is visible; use --device cpu or auto")
    if recipe.device == "cpu" or not has_gpu:
        return {"accelerator": "cpu", "devices": local or 1, "num_nodes": nodes}
    devices = list(range(local)) if local else _listed_gpus(recipe)
    if max(devices) >= torch.cuda.device_count():
        raise ValueError(f"GPU {max(devices)} is not visible, {torch.cuda.device_count()} are")
    return {"accelerator": "gpu", "devices": devices, "num_nodes": nodes}


def _listed_gpus(recipe: Recipe) -> list[int]:
    kind, _, number = recipe.cuda_base.partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        raise ValueError(f"--cuda_base {recipe.cuda_base!r} is not of the form cuda:0")
    is_listed = recipe.device_ids != Recipe.device_ids
    return list(recipe.device_ids) if is_listed else [int(number or 0)]


def strategy(recipe: Recipe, machine: dict[str, Any]) -> Any:
    """How several processes share the work; Lightning's choice where there is one.

    Raises:
        ValueError: fsdp with one process.
    """
    devices = machine["devices"]
    world = machine["num_nodes"] * (devices if isinstance(devices, int) else len(devices))
    if recipe.embed_once and world > 1:
        raise ValueError("--embed_once runs in one process: leave out torchrun and --device_ids")
    if recipe.strategy == "fsdp":
        if world == 1:
            raise ValueError(
                "--strategy fsdp spreads the model over several processes and there is one: start "
                "it by torchrun --nproc_per_node N, or leave it out"
            )
        return ModelParallelStrategy(
            data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    return DDPStrategy(gradient_as_bucket_view=True) if world > 1 else "auto"
