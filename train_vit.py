"""Train a geocell model from shards.

    python train_vit.py --data DIR --out runs/NAME

DIR holds shards in DIR/train and DIR/val (made by `python -m setup.build_shards`) and may hold
cells.parquet; without one, the partition is cut from the training photos. What comes out in
runs/NAME is a model bundle (see models/bundle.py), checkpoints to resume from, and the curves
(TensorBoard and metrics.csv). `--fast` trains two steps on synthetic
pictures, to try the machinery.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

LEVEL_NAMES = ("coarse", "middle", "fine")


@dataclass(frozen=True)
class Config:
    """One training run. Defaults: ViT-B/16 on photo and segmentation map, as TransLocator."""

    data: str = ""
    out: str = ""
    s2_cells: str = "fine"
    scene_of_interest: int = 3
    inputs: str = "both"
    seg_channels: int = 3
    backbone: str = "vit_base_patch16_224"
    backbone_args: str = ""
    pretrained: bool = True
    freeze_backbone: bool = False
    img_size: int = 224
    descriptor_dim: int = 0
    epochs: int = 25
    batch_size: int = 64
    lr: float = 3e-4
    weight_decay: float = 0.05
    level_weights: tuple[float, ...] = (0.5, 0.3, 0.2)
    scene_weight: float = 0.5
    min_scale: float = 0.3
    t_coarse: tuple[int, ...] = (50, 5000)
    t_middle: tuple[int, ...] = (50, 2000)
    t_fine: tuple[int, ...] = (50, 1000)
    workers: int = 2
    device: str = "auto"
    cuda_base: str = "cuda:0"
    device_ids: tuple[int, ...] = (0,)
    precision: str = "32-true"
    seed: int = 0
    resume: bool = False
    fast: bool = False


HELP = {
    "data": "directory with shards in train/ and val/, and perhaps cells.parquet",
    "out": "directory of the run; the model bundle is written here",
    "s2_cells": "finest level of cells to predict; coarser ones are trained with it",
    "scene_of_interest": "train on indoor (0), natural (1), urban (2) or all photos (3)",
    "inputs": "what the model sees: the photo, its segmentation map, or both",
    "seg_channels": "3: the map as colours; another number: that many one-hot classes",
    "backbone": "efficientnet_lite0, efficientnet_lite1 or any name timm knows",
    "backbone_args": "further arguments of a timm backbone, e.g. patch_size=8,depth=6",
    "pretrained": "start from trained weights",
    "freeze_backbone": "train the heads only",
    "img_size": "side of the model's square input, px",
    "descriptor_dim": "length of the retrieval descriptor; 0 = the backbone's width",
    "epochs": "passes over the training photos",
    "batch_size": "photos in a batch",
    "lr": "peak learning rate (AdamW)",
    "weight_decay": "AdamW's weight decay",
    "level_weights": "weights of the coarse, middle and fine loss",
    "scene_weight": "weight of the scene loss",
    "min_scale": "smallest share of a photo's area that a random training crop keeps",
    "t_coarse": "least and most photos of a coarse cell, where the partition is cut here",
    "t_middle": "least and most photos of a middle cell",
    "t_fine": "least and most photos of a fine cell",
    "workers": "processes that load photos; 0 = none beside the main one",
    "device": "auto, cpu or cuda; auto takes the GPU of --cuda_base where there is one",
    "cuda_base": "the first GPU",
    "device_ids": "GPUs to train on",
    "precision": "Lightning's precision, e.g. 32-true or bf16-mixed",
    "seed": "seed of weights, order and augmentation",
    "resume": "go on from the last checkpoint in --out",
    "fast": "two steps on synthetic pictures, CPU",
}
FAST: dict[str, Any] = {
    "backbone": "vit_tiny_patch16_224",
    "backbone_args": "patch_size=8,embed_dim=24,depth=2,num_heads=2",
    "pretrained": False,
    "img_size": 32,
    "batch_size": 16,
    "workers": 0,
    "device": "cpu",
    "t_coarse": (2, 40),
    "t_middle": (2, 20),
    "t_fine": (2, 10),
}
CHOICES = {
    "s2_cells": LEVEL_NAMES,
    "scene_of_interest": (0, 1, 2, 3),
    "inputs": ("rgb", "seg", "both"),
    "device": ("auto", "cpu", "cuda"),
}


def parse_config(arguments: list[str] | None = None) -> Config:
    """Read the command line into a `Config`."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for entry in fields(Config):
        default: Any = entry.default
        options: dict[str, Any] = {"help": HELP[entry.name], "default": default}
        if isinstance(default, bool):
            options["action"] = argparse.BooleanOptionalAction if default else "store_true"
        elif isinstance(default, tuple):
            options |= {"type": type(default[0]), "nargs": "+"}
        else:
            options |= {"type": type(default), "choices": CHOICES.get(entry.name)}
        if entry.name in ("data", "out"):
            options["metavar"] = "DIR"
        parser.add_argument(f"--{entry.name}", **options)
    values = vars(parser.parse_args(arguments))
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    config = Config(**values)
    if not config.out or not (config.data or config.fast):
        parser.error("--data and --out are needed (or --fast and --out)")
    return config


def parse_backbone_args(text: str) -> dict[str, Any]:
    """Read `name=value,name=value`; values are numbers, true, false or words.

    Raises:
        ValueError: a part is not of that form.
    """
    arguments: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, separator, value = part.partition("=")
        if not separator:
            raise ValueError(f"--backbone_args: {part!r} is not name=value")
        try:
            arguments[name] = json.loads(value)
        except json.JSONDecodeError:
            arguments[name] = value
    return arguments


def accelerator(config: Config) -> dict[str, Any]:
    """Lightning's device settings for the flags.

    Raises:
        ValueError: a GPU is asked for and there is none.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise ValueError("--device cuda: no GPU is visible; use --device cpu or auto")
    if config.device == "cpu" or not has_gpu:
        return {"accelerator": "cpu", "devices": 1}
    first = int(config.cuda_base.partition(":")[2] or 0)
    ids = config.device_ids if len(config.device_ids) > 1 else (first,)
    return {"accelerator": "gpu", "devices": list(ids)}


def train(config: Config) -> Path:
    """Run one training; return the bundle's directory.

    Raises:
        ValueError, OSError: what the user gave cannot be trained on; the message says why.
    """
    import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
    import pytorch_lightning as pl

    from data.synthetic import write_synthetic_shards
    from models.calibrate import calibrate
    from models.export import save_bundle
    from models.geocell_task import GeocellTask
    from models.geocell_vit import Architecture, GeocellViT
    from models.photo_module import PhotoModule
    from models.progress import quiet

    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    quiet()
    pl.seed_everything(config.seed, workers=True, verbose=False)

    # ---- data ----
    if config.fast:
        config = replace(config, **FAST)
    data = write_synthetic_shards(out / "synthetic") if config.fast else Path(config.data)
    levels = LEVEL_NAMES[: LEVEL_NAMES.index(config.s2_cells) + 1]
    module = PhotoModule(
        data,
        thresholds={
            "coarse": config.t_coarse,
            "middle": config.t_middle,
            "fine": config.t_fine,
        },
        img_size=config.img_size,
        batch_size=config.batch_size,
        scene_of_interest=config.scene_of_interest,
        min_scale=config.min_scale,
        use_seg=config.inputs != "rgb",
        workers=config.workers,
        seed=config.seed,
    )
    module.setup("fit")
    print(module.describe())

    # ---- model ----
    architecture = Architecture(
        num_cells={level: len(module.partition.levels[level]) for level in levels},
        backbone=config.backbone,
        backbone_args=parse_backbone_args(config.backbone_args),
        inputs=config.inputs,
        img_size=config.img_size,
        seg_channels=config.seg_channels,
        descriptor_dim=config.descriptor_dim,
    )
    model = GeocellViT(architecture, pretrained=config.pretrained)
    task = GeocellTask(
        model,
        module.partition,
        level_weights=dict(zip(LEVEL_NAMES, config.level_weights, strict=True)),
        scene_weight=config.scene_weight,
        learning_rate=config.lr,
        weight_decay=config.weight_decay,
        freeze_backbone=config.freeze_backbone,
    )
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"model: {config.backbone}, inputs {config.inputs}, {parameters:.2f} M parameters")

    # ---- training ----
    trainer = build_trainer(config, out)
    last = out / "checkpoints" / "last.ckpt"
    if config.resume and not last.is_file():
        raise FileNotFoundError(f"--resume: no checkpoint {last}; leave out --resume to start")
    trainer.fit(task, datamodule=module, ckpt_path=str(last) if config.resume else None)

    # ---- bundle ----
    calibration = calibrate(task, module.val_dataloader())
    origin = {
        "name": out.name,
        "training photos": module.num_train,
        "validation photos": module.num_val,
        "scene labels": module.num_scenes,
        "undecodable photos": len(module.undecodable),
        "commit": commit(),
        "settings": asdict(config),
    }
    bundle = save_bundle(model, module.partition, calibration, out, origin)
    print(f"model bundle: {bundle.path} (test it: python test_vit.py --model {bundle.path} ...)")
    return bundle.path


def build_trainer(config: Config, out: Path) -> Any:
    """Lightning's trainer with our checkpoints, both loggers and a progress bar."""
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

    from models.checkpoint import AtomicCheckpointIO
    from models.progress import Progress

    checkpoints = ModelCheckpoint(
        out / "checkpoints", filename="epoch{epoch:03d}", monitor="val/loss", save_top_k=1,
        save_last=True, auto_insert_metric_name=False,
    )  # fmt: skip
    loggers = [
        TensorBoardLogger(out, name="", version="tensorboard"),
        CSVLogger(out, name="", version="csv"),
    ]
    return pl.Trainer(
        **accelerator(config),
        max_epochs=1 if config.fast else config.epochs,
        limit_train_batches=2 if config.fast else None,
        precision=config.precision,  # type: ignore[arg-type]
        callbacks=[checkpoints, LearningRateMonitor(), Progress()],
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        gradient_clip_val=1.0,
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
    )


def commit() -> str:
    """The commit this program runs from, "unknown" outside a checkout."""
    answer = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    return answer.stdout.strip() or "unknown"


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line."""
    config = parse_config(arguments)
    try:
        train(config)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
