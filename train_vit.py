"""Train a geocell model from shards.

    python train_vit.py --data DIR --out runs/NAME

DIR holds shards in DIR/train and DIR/val (made by `python -m setup.build_shards`) and may hold
cells.parquet; without one, the partition is cut from the training photos. What comes out in
runs/NAME is a model bundle (models/bundle.py), checkpoints to resume from, and the curves
(TensorBoard and metrics.csv). `--fast` tries the machinery: two
steps on synthetic pictures.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.recipe import LEVEL_NAMES, Recipe, parse_backbone_args, parse_recipe

if TYPE_CHECKING:
    from models.geocell_task import GeocellTask
    from models.photo_module import PhotoModule


def train(recipe: Recipe) -> Path:
    """Run one training; return the bundle's directory.

    Raises:
        ValueError, OSError: what the user gave cannot be trained on; the message says why.
        FloatingPointError: the loss became NaN; the message names the photos.
    """
    import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
    import pytorch_lightning as pl

    from models.calibrate import calibrate
    from models.export import save_bundle
    from models.progress import quiet

    quiet()
    pl.seed_everything(recipe.seed, workers=True, verbose=False)
    out = Path(recipe.out)
    checkpoint = checkpoint_to_resume(recipe, out)
    recipe = recipe.made_fast() if recipe.fast else recipe
    photos = build_photos(recipe, out)
    print(photos.describe())
    task = build_task(recipe, photos)
    parameters = sum(p.numel() for p in task.model.parameters()) / 1e6
    print(f"model: {recipe.backbone}, inputs {recipe.inputs}, {parameters:.2f} M parameters")

    trainer = build_trainer(recipe, out)
    trainer.fit(task, datamodule=photos, ckpt_path=checkpoint)
    report_undecodable(photos)
    if not trainer.is_global_zero:
        return out

    calibration = calibrate(task, photos.whole_val_dataloader())
    origin = {
        "name": out.name,
        "training photos": photos.num_train,
        "validation photos": photos.num_val,
        "scene labels": photos.num_scenes,
        "undecodable photos": len(photos.undecodable),
        "commit": commit(),
        "settings": asdict(recipe),
    }
    bundle = save_bundle(task.model, photos.partition, calibration, out, origin)
    print(f"model bundle: {bundle.path} (test it: python test_vit.py --model {bundle.path} ...)")
    return bundle.path


def build_photos(recipe: Recipe, out: Path) -> PhotoModule:
    """Open the training and validation shards.

    Raises:
        ValueError: they cannot be trained on, see `PhotoModule.setup`.
    """
    from data.synthetic import write_synthetic_shards
    from models.photo_module import PhotoModule

    photos = PhotoModule(
        write_synthetic_shards(out / "synthetic") if recipe.fast else Path(recipe.data),
        thresholds=recipe.thresholds,
        img_size=recipe.img_size,
        batch_size=recipe.batch_size,
        scene_of_interest=recipe.scene_of_interest,
        min_scale=recipe.min_scale,
        use_seg=recipe.inputs != "rgb",
        workers=recipe.workers,
        seed=recipe.seed,
    )
    photos.setup("fit")
    if recipe.inputs == "seg" and not photos.num_maps:
        raise ValueError(f"--inputs seg: no photo in {photos.data}/train has a segmentation map")
    return photos


def build_task(recipe: Recipe, photos: PhotoModule) -> GeocellTask:
    """Build the model over the partition's cells, and its training."""
    from models.geocell_task import GeocellTask
    from models.geocell_vit import Architecture, GeocellViT

    cells = photos.partition.levels
    architecture = Architecture(
        num_cells={level: len(cells[level]) for level in recipe.levels},
        backbone=recipe.backbone,
        backbone_args=parse_backbone_args(recipe.backbone_args),
        inputs=recipe.inputs,
        img_size=recipe.img_size,
        seg_channels=recipe.seg_channels,
        descriptor_dim=recipe.descriptor_dim,
    )
    return GeocellTask(
        GeocellViT(architecture, pretrained=recipe.pretrained),
        photos.partition,
        level_weights=dict(zip(LEVEL_NAMES, recipe.level_weights, strict=True)),
        scene_weight=recipe.scene_weight,
        learning_rate=recipe.lr,
        weight_decay=recipe.weight_decay,
        freeze_backbone=recipe.freeze_backbone,
        seed=recipe.seed,
        settings={**recipe.binding, "cells": photos.partition.fingerprint[:12]},
    )


def build_trainer(recipe: Recipe, out: Path) -> Any:
    """Lightning's trainer with our checkpoints, both loggers and a progress bar."""
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

    from models.checkpoint import AtomicCheckpointIO
    from models.progress import Progress

    checkpoints = ModelCheckpoint(
        out / "checkpoints",
        filename="epoch{epoch:03d}",
        monitor="val/loss",
        save_top_k=1,
        save_last=True,
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )
    loggers = [
        TensorBoardLogger(out, name="", version="tensorboard"),
        CSVLogger(out, name="", version=free_name(out, "csv")),
    ]
    return pl.Trainer(
        **accelerator(recipe),
        max_epochs=1 if recipe.fast else recipe.epochs,
        limit_train_batches=2 if recipe.fast else None,
        precision=recipe.precision,  # type: ignore[arg-type]
        callbacks=[checkpoints, LearningRateMonitor(), Progress()],
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        gradient_clip_val=1.0,
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
    )


def free_name(folder: Path, name: str) -> str:
    """The first of name, name-2, name-3 ... that is not there: a CSVLogger deletes what is."""
    names = (f"{name}-{number}" if number > 1 else name for number in count(1))
    return next(name for name in names if not (folder / name).exists())


def accelerator(recipe: Recipe) -> dict[str, Any]:
    """Lightning's device settings for the flags.

    Raises:
        ValueError: a GPU is asked for and there is none, or it is not named cuda:N.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if recipe.device == "cuda" and not has_gpu:
        raise ValueError("--device cuda: no GPU is visible; use --device cpu or auto")
    if recipe.device == "cpu" or not has_gpu:
        return {"accelerator": "cpu", "devices": 1}
    kind, _, number = recipe.cuda_base.partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        raise ValueError(f"--cuda_base {recipe.cuda_base!r} is not of the form cuda:0")
    is_listed = recipe.device_ids != Recipe.device_ids
    devices = list(recipe.device_ids) if is_listed else [int(number or 0)]
    if max(devices) >= torch.cuda.device_count():
        raise ValueError(f"GPU {max(devices)} is not visible, {torch.cuda.device_count()} are")
    return {"accelerator": "gpu", "devices": devices}


def checkpoint_to_resume(recipe: Recipe, out: Path) -> str | None:
    """The checkpoint that --resume goes on from; None without it.

    Raises:
        FileNotFoundError: there is none.
        FileExistsError: there is one, and the run would overwrite it.
    """
    last = out / "checkpoints" / "last.ckpt"
    if recipe.resume and not last.is_file():
        raise FileNotFoundError(f"--resume: no checkpoint {last}; leave out --resume to start")
    if last.is_file() and not (recipe.resume or recipe.fast):
        raise FileExistsError(
            f"{out} holds a run: go on with it by --resume, or take another --out"
        )
    return str(last) if recipe.resume else None


def report_undecodable(photos: PhotoModule) -> None:
    """List the training photos that could not be decoded."""
    if photos.undecodable:
        print(f"{len(photos.undecodable)} training photos could not be decoded:")
        for reason in list(photos.undecodable.values())[:10]:
            print(f"  {reason}")


def commit() -> str:
    """The commit this program runs from, "unknown" outside a checkout."""
    root = Path(__file__).parent
    command = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return "unknown"
    return answer.stdout.strip() or "unknown"


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line."""
    recipe = parse_recipe("Train a geocell model from shards.", arguments)
    try:
        train(recipe)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
