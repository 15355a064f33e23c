"""The settings of one training run of train_vit.py: a frozen dataclass and its command line.

Each setting has its default and its help in one place. Defaults are the seed's run: ViT-B/16 on
photo and segmentation map, three levels, scenes. Imports nothing heavy.
"""

import argparse
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

LEVEL_NAMES = ("coarse", "middle", "fine")
# Where and how long to run: a resumed run may have others.
_FREE = {"data", "out", "epochs", "workers", "device", "cuda_base", "device_ids", "resume", "fast"}


def setting(
    default: Any, help_text: str, choices: tuple | None = None, least: int | None = None
) -> Any:
    """A field with its help and, where they are few, its values, or the least of them."""
    return field(default=default, metadata={"help": help_text, "choices": choices, "least": least})


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    data: str = setting("", "directory with shards in train/ and val/, and perhaps cells.parquet")
    out: str = setting("", "directory of the run; the model bundle is written here")
    s2_cells: str = setting(
        "fine", "finest level of cells to predict; coarser ones are trained with it", LEVEL_NAMES
    )
    scene_of_interest: int = setting(
        3, "train on indoor (0), natural (1), urban (2) or all photos (3)", (0, 1, 2, 3)
    )
    inputs: str = setting(
        "both", "what the model sees: photo, segmentation map, or both", ("rgb", "seg", "both")
    )
    seg_channels: int = setting(3, "3: the map as colours; another number: so many one-hot classes")
    backbone: str = setting(
        "vit_base_patch16_224", "efficientnet_lite0, efficientnet_lite1 or any name timm knows"
    )
    backbone_args: str = setting("", "further arguments of a timm backbone: patch_size=8,depth=6")
    pretrained: bool = setting(True, "start from trained weights")
    freeze_backbone: bool = setting(False, "train the heads only")
    img_size: int = setting(224, "side of the model's square input, px")
    descriptor_dim: int = setting(
        0, "length of the retrieval descriptor; 0 = the backbone's width", least=0
    )
    epochs: int = setting(25, "passes over the training photos", least=1)
    batch_size: int = setting(64, "photos in a batch", least=1)
    lr: float = setting(3e-4, "peak learning rate (AdamW)")
    weight_decay: float = setting(0.05, "AdamW's weight decay")
    level_weights: tuple[float, ...] = setting(
        (0.5, 0.3, 0.2), "weights of the coarse, middle and fine loss"
    )
    scene_weight: float = setting(0.5, "weight of the scene loss")
    min_scale: float = setting(0.3, "least share of a photo's area that a training crop keeps")
    t_coarse: tuple[int, ...] = setting(
        (50, 5000), "least and most photos of a coarse cell, where the partition is cut here"
    )
    t_middle: tuple[int, ...] = setting((50, 2000), "least and most photos of a middle cell")
    t_fine: tuple[int, ...] = setting((50, 1000), "least and most photos of a fine cell")
    workers: int = setting(2, "processes that load photos; 0 = none beside the main one", least=0)
    device: str = setting(
        "auto", "auto takes the GPU of --cuda_base where there is one", ("auto", "cpu", "cuda")
    )
    cuda_base: str = setting("cuda:0", "the GPU to train on")
    device_ids: tuple[int, ...] = setting((0,), "GPUs to train on, instead of --cuda_base")
    precision: str = setting("32-true", "Lightning's precision, e.g. 32-true or bf16-mixed")
    seed: int = setting(0, "seed of weights, order and augmentation", least=0)
    resume: bool = setting(False, "go on from the last checkpoint in --out")
    fast: bool = setting(False, "two steps of a tiny model on synthetic pictures, CPU")

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels to train, coarse to fine."""
        return LEVEL_NAMES[: LEVEL_NAMES.index(self.s2_cells) + 1]

    @property
    def thresholds(self) -> dict[str, tuple[int, ...]]:
        """(t_min, t_max) of each level."""
        return dict(zip(LEVEL_NAMES, (self.t_coarse, self.t_middle, self.t_fine), strict=True))

    @property
    def binding(self) -> dict[str, Any]:
        """The settings that a resumed run must share."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE}

    def made_fast(self) -> "Recipe":
        """The same run in the small."""
        return replace(
            self,
            backbone="vit_tiny_patch16_224",
            backbone_args="patch_size=8,embed_dim=24,depth=2,num_heads=2",
            pretrained=False,
            img_size=32,
            batch_size=16,
            workers=0,
            device="cpu",
            t_coarse=(2, 40),
            t_middle=(2, 20),
            t_fine=(2, 10),
        )


def parse_recipe(description: str, arguments: list[str] | None = None) -> Recipe:
    """Read the command line; a wrong one ends the program with usage and reason."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for entry in fields(Recipe):
        parser.add_argument(
            f"--{entry.name}", **_argument(entry.name, entry.default, entry.metadata)
        )
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(parser.parse_args(arguments)).items()
    }
    for entry in fields(Recipe):
        least = entry.metadata["least"]
        if least is not None and values[entry.name] < least:
            parser.error(f"--{entry.name} must be at least {least}, got {values[entry.name]}")
    recipe = Recipe(**values)
    if not recipe.out or not (recipe.data or recipe.fast):
        parser.error("--data and --out are needed (or --fast and --out)")
    return recipe


def _argument(name: str, default: Any, metadata: Any) -> dict[str, Any]:
    """What argparse is told of one setting."""
    options: dict[str, Any] = {"help": metadata["help"], "default": default}
    if isinstance(default, bool):
        action = argparse.BooleanOptionalAction if default else "store_true"
        return options | {"action": action}
    if isinstance(default, tuple):
        return options | {"type": type(default[0]), "nargs": len(default) if default[1:] else "+"}
    if name in ("data", "out"):
        options["metavar"] = "DIR"
    return options | {"type": type(default), "choices": metadata["choices"]}


def parse_backbone_args(text: str) -> dict[str, Any]:
    """Read `name=value,name=value`; values are numbers, true, false or words.

    Raises:
        ValueError: a part is not of that form.
    """
    arguments: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, separator, value = part.partition("=")
        if not (name and separator):
            raise ValueError(f"--backbone_args: {part!r} is not name=value")
        try:
            arguments[name] = json.loads(value)
        except json.JSONDecodeError:
            arguments[name] = value
    return arguments
