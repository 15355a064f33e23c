"""What a run is made of, from its recipe: the photos, the task, and at the end the model."""

from pathlib import Path

from torch import Tensor

from data.sharding.index_tables import read_seg_classes
from data.synthetic import write_synthetic_shards
from models.encoders import Encoder
from models.geocell_vit import Architecture, GeocellViT, adapt
from models.lora import merge_lora
from models.losses.settings import LossSettings
from models.training.geocell_task import GeocellTask
from models.training.optimizer import Optimizing
from models.training.photo_module import PhotoModule
from models.training.recipe import Recipe
from models.training.recipe_flags import parse_backbone_args
from models.training.trainer import accelerator, rank

COLOURS = 3  # seg_channels of the colour-coded map


def build_photos(recipe: Recipe, out: Path) -> PhotoModule:
    """Open the training and validation shards.

    Raises:
        ValueError: they cannot be trained on, see `PhotoModule.setup`; or nothing in them is
            labelled for a task that the recipe has.
    """
    photos = PhotoModule(
        write_synthetic_shards(out / f"synthetic{rank() or ''}") if recipe.fast else recipe.data,
        thresholds=recipe.thresholds,
        img_size=recipe.img_size,
        batch_size=recipe.batch_size,
        scene_of_interest=recipe.scene_of_interest,
        min_scale=recipe.min_scale,
        use_seg=recipe.inputs != "rgb",
        workers=recipe.workers,
        seed=recipe.seed,
        pin_memory=accelerator(recipe)["accelerator"] == "gpu",
    )
    photos.setup("fit")
    if recipe.inputs == "seg" and not photos.num_maps:
        raise ValueError(f"--inputs seg: no photo in {photos.data}/train has a segmentation map")
    if recipe.scene_weight and not photos.num_scenes:
        raise ValueError(
            f"no photo in {photos.data}/train has a scene label (s3): train without scenes by "
            "--scene_weight 0, or pack the shards again with scene probabilities"
        )
    return photos


def build_task(recipe: Recipe, photos: PhotoModule) -> GeocellTask:
    """Build the model over the partition's cells, and its training."""
    cells = photos.partition.levels
    architecture = Architecture(
        num_cells={level: len(cells[level]) for level in recipe.levels},
        backbone=recipe.backbone,
        backbone_args=parse_backbone_args(recipe.backbone_args),
        inputs=recipe.inputs,
        img_size=recipe.img_size,
        seg_channels=_seg_channels(recipe, photos),
        descriptor_dim=recipe.descriptor_dim,
        fusion=recipe.fusion,
        seg_backbone=recipe.seg_backbone,
    )
    loss = LossSettings(
        level_weights=recipe.level_weights,
        scene_weight=recipe.scene_weight,
        label_smoothing=recipe.label_smoothing,
        smoothing_km=recipe.smoothing_km or None,
        consistency=recipe.consistency,
        imbalance=recipe.imbalance,
        retrieval=recipe.retrieval_loss,
        retrieval_weight=recipe.retrieval_weight,
    )
    model = GeocellViT(architecture, pretrained=recipe.pretrained)
    if recipe.lora_rank:
        adapt(model, recipe.lora_rank)
    return GeocellTask(
        model,
        photos.partition,
        loss,
        optimizing=Optimizing(
            recipe.lr, recipe.weight_decay, recipe.layer_decay, recipe.schedule, recipe.warmup
        ),
        ema=recipe.ema,
        freeze_backbone=recipe.freeze_backbone,
        light_heads=recipe.light_heads,
        seed=recipe.seed,
        settings={**recipe.binding, "cells": photos.partition.fingerprint[:12]},
    )


def _seg_channels(recipe: Recipe, photos: PhotoModule) -> int:
    """Channels of the map as the model sees it, held against what the shards say of their maps."""
    channels = recipe.seg_channels
    if recipe.inputs == "rgb":
        return channels or COLOURS
    streams = (photos.train_stream, photos.val_stream)
    train, val = (read_seg_classes(stream.index.directory) for stream in streams)
    data = photos.data
    if train and val and train.names != val.names:
        raise ValueError(
            f"the maps of {data}/train and {data}/val have other classes ({train.source} and "
            f"{val.source}): draw them with one network"
        )
    if not channels and not train:
        raise ValueError(
            f"--seg_channels 0: the manifest of {data}/train does not say how many classes its "
            "maps have; give their number, or draw the maps with `python -m setup.segment_images`"
        )
    if train and channels not in (0, COLOURS) and channels < len(train):
        raise ValueError(
            f"--seg_channels {channels}: the maps of {data}/train have {len(train)} classes; those "
            "beyond would be seen as nothing. Give 0 for all, or 3 for colours"
        )
    return channels or len(train or ())


def finished_model(
    recipe: Recipe, trained: GeocellViT, weights: dict[str, Tensor], encoder: Encoder | None
) -> GeocellViT:
    """A plain model with the trained weights; `encoder` where they are the heads' alone."""
    model = GeocellViT(trained.architecture, pretrained=False)
    if recipe.lora_rank:
        adapt(model, recipe.lora_rank)
    if encoder is not None:
        model.encoder = encoder
        weights = {f"encoder.{k}": v for k, v in encoder.state_dict().items()} | weights
    model.load_state_dict(weights)
    merge_lora(model)
    return model
