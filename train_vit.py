"""Train a geocell model from shards.

    python train_vit.py --data DIR --out runs/NAME

DIR holds shards in DIR/train and DIR/val (made by `python -m setup.build_shards`) and may hold
cells.parquet; without one, the partition is cut from the training photos. What comes out in
runs/NAME is a model bundle (models/bundles/bundle.py), checkpoints to resume from, and the curves
(TensorBoard and metrics.csv). `--recipe NAME` takes a named run's settings
(models/training/recipes.py), `--resume` goes on where a run was stopped, `--fast` tries the
machinery: two steps on synthetic pictures. On several GPUs, and on several nodes
    (docs/slurm/train.sbatch):

    torchrun --nproc_per_node 8 --max-restarts 3 train_vit.py --data DIR --out runs/NAME
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from models.training.recipe import Recipe
from models.training.recipe_flags import parse_recipe

if TYPE_CHECKING:
    from models.training.geocell_task import GeocellTask
    from models.training.photo_module import PhotoModule


def train(recipe: Recipe) -> Path:
    """Run one training; return the bundle's directory.

    Raises:
        ValueError, OSError: what the user gave cannot be trained on; the message says why.
        FloatingPointError: the loss became NaN; the message names the photos.
    """
    import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
    import pytorch_lightning as pl
    import torch

    from models.embeddings import embed_once
    from models.training.progress import quiet
    from models.training.run_parts import build_photos, build_task, finished_model
    from models.training.trainer import build_trainer

    quiet()
    pl.seed_everything(recipe.seed, workers=True, verbose=False)
    out = Path(recipe.out)
    check_settings(recipe)
    checkpoint = checkpoint_to_resume(recipe, out)
    recipe = recipe.made_fast() if recipe.fast else recipe
    photos = build_photos(recipe, out)
    say(photos.describe())
    task = build_task(recipe, photos)
    parameters = sum(p.numel() for p in task.model.parameters()) / 1e6
    say(f"model: {recipe.backbone}, inputs {recipe.inputs}, {parameters:.2f} M parameters")
    trainer, keeper = build_trainer(recipe, out)
    device = trainer.strategy.root_device
    encoder = None
    if recipe.embed_once:
        encoder = embed_once(task.model, photos, out / "embeddings", device)
    elif recipe.compile:
        task.compile_model()
    if device.type == "cuda":  # what convolutions on a GPU work in
        task.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer.fit(task, datamodule=photos, ckpt_path=checkpoint)
    report_undecodable(photos)
    if trainer.is_global_zero:
        weights, chosen = keeper.chosen_weights(recipe.select, task)
        task.model = finished_model(recipe, task.model, weights, encoder).to(device)
        write_bundle(recipe, out, photos, task, chosen)
    return out


def write_bundle(
    recipe: Recipe, out: Path, photos: PhotoModule, task: GeocellTask, chosen: str
) -> None:
    """Calibrate the trained model and write it; `chosen` says which weights it has."""
    from models.evaluation.calibrate import calibrate
    from models.evaluation.training_photos import authors_of_shards
    from models.export import save_bundle

    photos.open_val_stream()  # the photos themselves, though the heads may have trained without
    calibration = calibrate(task, photos.whole_val_dataloader())
    origin = {
        "name": out.name,
        "training photos": photos.num_train,
        "validation photos": photos.num_val,
        "scene labels": photos.num_scenes,
        "undecodable photos": len(photos.undecodable),
        "chosen weights": chosen,
        "commit": commit(),
        "settings": asdict(recipe),
    }
    stream = photos.train_stream
    authors = authors_of_shards(stream.index, stream.rows)  # hashes: for author-disjoint testing
    bundle = save_bundle(task.model, photos.partition, calibration, out, origin, authors=authors)
    print(f"weights: {chosen}")
    print(f"model bundle: {bundle.path} (test it: python test_vit.py --model {bundle.path} ...)")


def check_settings(recipe: Recipe) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ValueError: they do.
    """
    if recipe.embed_once and not (recipe.freeze_backbone and recipe.retrieval_loss == "none"):
        raise ValueError(
            "--embed_once trains the heads on a frozen encoder's summaries: give "
            "--freeze_backbone and no --retrieval_loss"
        )
    if recipe.light_heads and (recipe.consistency or recipe.strategy == "fsdp"):
        raise ValueError("--light_heads go with neither --consistency nor --strategy fsdp")
    if recipe.lora_rank and recipe.freeze_backbone:
        raise ValueError("--lora_rank trains the backbone and --freeze_backbone does not: take one")
    if recipe.select == "ema" and not recipe.ema:
        raise ValueError("--select ema: there is no running average; give --ema 0.9998")


def checkpoint_to_resume(recipe: Recipe, out: Path) -> str | None:
    """The newest whole checkpoint, for --resume or where torchrun has restarted; else None.

    Raises:
        FileNotFoundError: --resume, and there is none.
        FileExistsError: there is one, and the run would overwrite it.
        ValueError: none can be read.
    """
    from models.training.checkpoint import checkpoints_in, newest_readable
    from models.training.trainer import restarts

    checkpoints = out / "checkpoints"
    if recipe.resume or (restarts() and not recipe.fast):
        newest = newest_readable(checkpoints)
        if newest is None and recipe.resume:
            raise FileNotFoundError(
                f"--resume: no checkpoint in {checkpoints}; leave out --resume to start"
            )
        return str(newest) if newest else None
    if checkpoints_in(checkpoints) and not recipe.fast:
        raise FileExistsError(
            f"{out} holds a run: go on with it by --resume, or take another --out"
        )
    return None


def say(text: str) -> None:
    """Print, on the first of several processes."""
    from models.training.trainer import rank

    if rank() == 0:
        print(text)


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
