"""The settings of one training of inpainting, and the command line of them.

Steps, batch, learning rates and losses are those of Liu et al., 2018
(https://arxiv.org/abs/1804.07723), but for fewer steps and a smaller network, which a single GPU
trains in hours; the features come from a network whose weights need no model hub.
"""

import argparse
from dataclasses import asdict, dataclass, fields
from typing import Any

from models.inpainting.losses import LossWeights
from models.inpainting.unet import UNetSettings
from models.training.recipe import setting

FEATURES_OFF = "none"


@dataclass(frozen=True)
class InpaintingRecipe:
    """One training run."""

    photos: str = setting("", "folder of photos; those in folders in it count too", free=True)
    out: str = setting("", "directory of the run; the model is written here", free=True)
    # The network and what it sees
    width: int = setting(32, "channels of the first stage; the paper's are 64", least=1)
    depth: int = setting(6, "stages; a hole is filled 2^depth px deep", least=1)
    size: int = setting(256, "side of the squares that are cut out of photos, px", least=8)
    hole_share: tuple[float, float] = setting((0.05, 0.4), "least and greatest share of holes")
    # What it learns on
    valid: float = setting(1.0, "weight of the known pixels", least=0)
    hole: float = setting(6.0, "weight of the hole's pixels", least=0)
    perceptual: float = setting(0.05, "weight of feature maps", least=0)
    style: float = setting(120.0, "weight of the features' correlations", least=0)
    variation: float = setting(0.1, "weight of the total variation at the hole", least=0)
    features: str = setting(
        "efficientnet_lite0",
        "network that photos are compared by, or none; vgg16 is the paper's, whose weights "
        "--perceptual and --style have",
    )
    pretrained: bool = setting(True, "that network has its ImageNet weights")
    # How it learns
    steps: int = setting(20_000, "of the first phase", least=0)
    frozen_steps: int = setting(5_000, "of the second, the encoder's batch norms fixed", least=0)
    lr: float = setting(2e-4, "learning rate of the first phase", least=0)
    frozen_lr: float = setting(5e-5, "of the second", least=0)
    batch: int = setting(6, "photos a step", least=1)
    held_out: int = setting(32, "photos to judge by, at most a fifth of all", least=1)
    seed: int = setting(0, "of everything drawn at random")
    # Where and how it runs
    save_every: int = setting(500, "steps from one checkpoint to the next", least=1, free=True)
    minutes: float = setting(0.0, "stop after so many, to go on by --resume; 0 = never", least=0,
                             free=True)  # fmt: skip
    resume: bool = setting(False, "go on with a run that was stopped", free=True)
    device: str = setting("auto", "cpu, cuda, or auto: the GPU where there is one", free=True)
    workers: int = setting(2, "threads that decode photos", least=0, free=True)

    @property
    def unet(self) -> UNetSettings:
        """Size of the network."""
        return UNetSettings(self.width, self.depth)

    @property
    def weights(self) -> LossWeights:
        """Of the losses."""
        return LossWeights(self.valid, self.hole, self.perceptual, self.style, self.variation)

    @property
    def total(self) -> int:
        """Steps of both phases."""
        return self.steps + self.frozen_steps

    @property
    def binding(self) -> dict[str, Any]:
        """What a resumed run must have alike; plain types."""
        plain = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        return {e.name: plain[e.name] for e in fields(self) if not e.metadata["free"]}


def parse_recipe(description: str, arguments: list[str] | None = None) -> InpaintingRecipe:
    """Read the command line; a wrong one ends the program with usage and reason."""
    parser = argparse.ArgumentParser(
        prog="python -m models.inpainting.train",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    for entry in fields(InpaintingRecipe):
        parser.add_argument(f"--{entry.name}", **_argument(entry))
    values = vars(parser.parse_args(arguments))
    for entry in fields(InpaintingRecipe):
        least = entry.metadata["least"]
        if least is not None and not values[entry.name] >= least:
            parser.error(f"--{entry.name} must be at least {least}, got {values[entry.name]}")
    low, high = values["hole_share"] = tuple(values["hole_share"])
    if not 0 < low <= high < 1:
        parser.error("--hole_share takes two numbers, 0 < least <= greatest < 1")
    return InpaintingRecipe(**values)


def _argument(entry: Any) -> dict[str, Any]:
    """What argparse is told of one setting."""
    default = entry.default
    options: dict[str, Any] = {"help": entry.metadata["help"], "default": default}
    if isinstance(default, bool):
        return options | {"action": argparse.BooleanOptionalAction if default else "store_true"}
    if isinstance(default, tuple):
        return options | {"type": float, "nargs": 2}
    if entry.name in ("photos", "out"):
        options |= {"metavar": "DIR", "required": True}
    return options | {"type": type(default)}
