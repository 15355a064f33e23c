"""The settings of one training of place recognition, and the command line of them.

Defaults are those of Berton et al., "Deep Visual Geo-localization Benchmark", 2022, but for the
backbone, whose weights need no model hub; runs worth a name are in retrieval/training/recipes.py.
Imports nothing heavy.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from models.training.recipe import setting

if TYPE_CHECKING:
    from models.places.embedder import EmbedderSettings

SIZE = (224, 224)


@dataclass(frozen=True)
class PlaceRecipe:
    """One training run."""

    data: str = setting("", "set of places: images/{train,val,test}/{database,queries}", free=True)
    out: str = setting("", "directory of the run; the model is written here", free=True)
    recipe: str = setting(
        "default", "named run whose settings are the defaults of all other flags", free=True
    )
    # The model
    backbone: str = setting(
        "efficientnet_lite0",
        "alexnet, vgg16, resnet18, resnet50, resnet101, efficientnet_lite0, efficientnet_lite1 or "
        "any name timm knows",
    )
    cut: str = setting("conv4", "where ResNet and EfficientNet-Lite end", ("conv4", "conv5"))
    aggregation: str = setting("netvlad", "mac spoc gem rmac netvlad crn rrm cls seqpool")
    attention: str = setting("none", "on the feature map", ("none", "cbam", "non_local"))
    l2: str = setting("before", "what gets length 1", ("before", "after", "none"))
    fc_dim: int = setting(0, "length of the descriptor after a projection; 0 = none", least=0)
    clusters: int = setting(64, "of netvlad and crn", least=1)
    pretrained: bool = setting(True, "start from ImageNet weights")
    freeze_backbone: bool = setting(False, "train all but the backbone")
    trained_blocks: int = setting(
        0, "train only the last so many blocks of the backbone; 0 = all", least=0
    )
    freeze_norms: bool = setting(True, "batch norms keep the statistics they came with")
    img_size: tuple[int, ...] = setting(SIZE, "photos' height and width, px; or one side", least=16)
    # What it learns from
    loss: str = setting(
        "triplet",
        "how query, positive and negatives are compared",
        ("triplet", "sare_independent", "sare_joint", "second_order", "quadruplet"),
    )
    margin: float = setting(0.1, "of triplet, second_order and quadruplet")
    autoencoder_weight: float = setting(
        0.0, "of the L2 loss of a decoder from the backbone's map to the photo; 0 = none", least=0
    )
    mining: str = setting(
        "partial", "how negatives are found", ("full", "partial", "random", "msls_weighted")
    )
    queries_per_epoch: int = setting(5000, "queries between two validations", least=1)
    cache_refresh_rate: int = setting(1000, "queries between two minings", least=1)
    negatives: int = setting(10, "of each query", least=1)
    negatives_pool: int = setting(1000, "photos to choose negatives from", least=1)
    train_positives_dist_threshold: float = setting(10.0, "a positive is as near, m", least=0)
    val_positives_dist_threshold: float = setting(25.0, "likewise, in validation, m", least=0)
    extra_data: str = setting("", "another set whose training photos are added, night for instance")
    extra_to: str = setting(
        "queries", "what the photos of --extra_data become", ("queries", "database", "both")
    )
    # How photos of queries are changed
    brightness: float = setting(0.0, "factors from 1 - x to 1 + x", least=0)
    contrast: float = setting(0.0, "likewise", least=0)
    saturation: float = setting(0.0, "likewise", least=0)
    hue: float = setting(0.0, "turned by up to so many circles, 0 to 0.5", least=0)
    perspective: float = setting(0.0, "distortion, 0 to 1", least=0)
    perspective_p: float = setting(0.5, "probability of that", least=0)
    perspective_edges: str = setting(
        "crop",
        "what a perspective change leaves open: cropped, or filled with black",
        ("crop", "fill"),
    )
    resized_crop: float = setting(0.0, "least area of a random crop; 0 = no crop", least=0)
    rotation_deg: float = setting(0.0, "turned by up to so many degrees", least=0)
    flip: float = setting(0.0, "probability of mirroring left and right", least=0)
    erasing: float = setting(0.0, "probability that something stands in the way", least=0)
    night_augmentation: str = setting(
        "none", "how a photo turns night (data/night.py)", ("none", "smart", "physical")
    )
    night_p: float = setting(0.5, "probability of that, where there is a night", least=0)
    # How it learns
    optimizer: str = setting("adam", "adam, or sgd with momentum 0.9", ("adam", "sgd"))
    lr: float = setting(1e-5, "learning rate", least=0)
    weight_decay: float = setting(0.0, "1e-3 is usual with sgd", least=0)
    lr_step: int = setting(0, "epochs after which the learning rate drops; 0 = never", least=0)
    lr_drop: float = setting(0.1, "factor of each such drop", least=0)
    epochs: int = setting(1000, "at most", least=1, free=True)
    patience: int = setting(3, "stop after so many epochs without better R@5", least=1, free=True)
    reclusterings: int = setting(
        0, "times that netvlad is clustered anew, by its backbone, in place of stopping", least=0
    )
    train_batch: int = setting(4, "queries a step, in each process", least=1)
    infer_batch: int = setting(16, "photos described at a time", least=1, free=True)
    seed: int = setting(0, "of everything drawn at random")
    # Where it runs
    resume: bool = setting(False, "go on from the last mining of a run that was stopped", free=True)
    fast: bool = setting(False, "try the machinery on a made-up town", free=True)
    device: str = setting("auto", "where to train", ("auto", "cpu", "cuda"), free=True)
    precision: str = setting(
        "auto", "auto: bf16-mixed on a GPU", ("auto", "32-true", "bf16-mixed"), free=True
    )
    workers: int = setting(2, "threads that decode photos", least=0, free=True)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the photos, px."""
        return self.img_size[0], self.img_size[-1]

    @property
    def rounds_per_epoch(self) -> int:
        """How often photos are mined between two validations."""
        return -(-self.queries_per_epoch // self.cache_refresh_rate)

    @property
    def binding(self) -> dict[str, Any]:
        """What a resumed run must have alike; plain types."""
        return {
            entry.name: list(value) if isinstance(value, tuple) else value
            for entry in fields(self)
            if not entry.metadata["free"]
            for value in [getattr(self, entry.name)]
        }

    def lr_of(self, round_: int) -> float:
        """The learning rate of a round, counted from 0."""
        drops = round_ // self.rounds_per_epoch // self.lr_step if self.lr_step else 0
        return self.lr * self.lr_drop**drops

    def embedder_settings(self) -> "EmbedderSettings":
        """The model's parts."""
        from models.places.embedder import EmbedderSettings

        return EmbedderSettings(
            self.backbone, self.aggregation, self.cut, self.attention, self.l2, self.fc_dim,
            min(self.size), self.clusters,
        )  # fmt: skip

    def made_fast(self) -> "PlaceRecipe":
        """Two minings of a few queries, small photos."""
        return replace(
            self, queries_per_epoch=8, cache_refresh_rate=4, negatives=2, negatives_pool=20,
            epochs=1, img_size=(48, 64), clusters=min(self.clusters, 8), train_batch=2,
        )  # fmt: skip


def add_flags(
    parser: argparse.ArgumentParser,
    names: Iterable[str] | None = None,
    defaults: PlaceRecipe = PlaceRecipe(),
) -> None:
    """Add one flag for each setting but --recipe, or for those named."""
    for entry in fields(PlaceRecipe):
        if entry.name in names if names is not None else entry.name != "recipe":
            default = getattr(defaults, entry.name)
            parser.add_argument(f"--{entry.name}", **_argument(entry, default))


def recipe_of(parser: argparse.ArgumentParser, values: dict[str, Any]) -> PlaceRecipe:
    """Settings of parsed flags; a wrong one ends the program with usage and reason."""
    known = {entry.name: entry for entry in fields(PlaceRecipe)}
    given = {name: value for name, value in values.items() if name in known}
    for name, value in given.items():
        least = known[name].metadata["least"]
        lowest = min(value) if isinstance(value, (list, tuple)) else value
        if least is not None and lowest < least:
            parser.error(f"--{name} must be at least {least}, got {lowest}")
    if "img_size" in given:
        given["img_size"] = tuple(given["img_size"])
        if len(given["img_size"]) > 2:
            parser.error("--img_size takes height and width, or one side")
    return PlaceRecipe(**given)


def _argument(entry: Any, default: Any) -> dict[str, Any]:
    """What argparse is told of one setting."""
    options: dict[str, Any] = {"help": entry.metadata["help"], "default": default}
    if isinstance(default, bool):
        action = argparse.BooleanOptionalAction if default else "store_true"
        return options | {"action": action}
    if isinstance(default, tuple):
        return options | {"type": type(default[0]), "nargs": "+"}
    if entry.name in ("data", "out", "extra_data"):
        options["metavar"] = "DIR"
    return options | {"type": type(default), "choices": entry.metadata["choices"]}
