"""Lightning's trainer for place recognition: an epoch of its is one mining and its triplets.

Imports Lightning, which takes seconds: `retrieval.train` imports this when it trains.
"""

import os
from pathlib import Path

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger

from models.training.checkpoint import AtomicCheckpointIO
from models.training.trainer import free_name
from retrieval.descriptor_cache import Engine
from retrieval.training.recipe import PlaceRecipe
from retrieval.training.step_bar import StepBar


def build_trainer(
    recipe: PlaceRecipe, out: Path, engine: Engine, callbacks: list[pl.Callback]
) -> pl.Trainer:
    """A trainer on the engine's device, or on all of those that torchrun started."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # set by torchrun
    world = int(os.environ.get("WORLD_SIZE", 1))
    return pl.Trainer(
        accelerator="gpu" if engine.device.type == "cuda" else "cpu",
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        max_epochs=recipe.epochs * recipe.rounds_per_epoch,
        reload_dataloaders_every_n_epochs=1,
        precision="bf16-mixed" if engine.is_bf16 else "32-true",
        callbacks=[*callbacks, StepBar()],
        logger=[CSVLogger(out, name="", version=free_name(out, "csv"))],
        plugins=[AtomicCheckpointIO()],
        log_every_n_steps=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_checkpointing=False,
        enable_progress_bar=False,  # mining and validation have bars too: one kind for all
    )
