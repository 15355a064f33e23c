"""The settings of UNIT, day to night and back, and their flags; imports nothing heavy.

Liu et al., "Unsupervised Image-to-Image Translation Networks", 2017,
https://arxiv.org/abs/1703.00848; defaults are those of the authors' later code, UNIT's trainer in
https://github.com/NVlabs/MUNIT: least-squares GAN, 4 residual blocks, 64 channels, weights gan 1,
recon 10, KL 0.01, cycle 10, cycle KL 0.01, perceptual 1, Adam with 1e-4, betas 0.5, 0.999. This is
not its run, for these differ:

- features are compared by EfficientNet-Lite0, whose weights are installed, with the same weight 1;
  there by VGG16 with Caffe's weights, after relu5_3 and without its fourth pooling.
  `--perceptual_backbone vgg16` is near it: torchvision's weights, conv5_3 before its ReLU, all
  four poolings;
- `--steps` is 100,000, there 1,000,000: with these the learning rate never drops;
- day and night have the encoders' last residual block in common, and the decoders' first
  (`--shared_blocks`), as in the paper; there each side has its own;
- the discriminators see the translations that the translator then learns from; there they are
  made anew, with other noise;
- gains of the decoders' norms start at 1, there at random between 0 and 1.
"""

import argparse
from dataclasses import asdict, dataclass, fields
from typing import Any

from models.training.recipe import setting


@dataclass(frozen=True)
class UnitSettings:
    """One training of a translator."""

    # Its networks
    dim: int = setting(64, "channels after the first convolution", least=1)
    downsamplings: int = setting(2, "halvings of the size on the way to the code", least=1)
    residual_blocks: int = setting(4, "of each encoder and each decoder", least=1)
    shared_blocks: int = setting(1, "of those, next to the code, common to day and night", least=0)
    discriminator_dim: int = setting(64, "channels of the discriminators' first layer", least=1)
    discriminator_layers: int = setting(4, "of each discriminator, each halves the size", least=1)
    scales: int = setting(
        3, "sizes at which pictures are judged, each half the one before", least=1
    )
    # What it learns
    gan_weight: float = setting(
        1.0,
        "that translations look like photos of their side; of the discriminators' loss too",
        least=0,
    )
    recon_weight: float = setting(10.0, "that a photo comes back through its own side", least=0)
    kl_weight: float = setting(0.01, "that codes are near a normal distribution", least=0)
    cycle_weight: float = setting(10.0, "that a photo comes back through the other side", least=0)
    cycle_kl_weight: float = setting(0.01, "likewise of the translations' codes", least=0)
    perceptual_weight: float = setting(
        1.0, "that features stay, seen by a trained backbone; 0 needs none", least=0
    )
    perceptual_backbone: str = setting("efficientnet_lite0", "that backbone, with its weights")
    # How it learns
    lr: float = setting(1e-4, "learning rate of Adam", least=0)
    beta1: float = setting(0.5, "of Adam", least=0)
    beta2: float = setting(0.999, "of Adam", least=0)
    weight_decay: float = setting(1e-4, "of Adam", least=0)
    lr_step: int = setting(100_000, "steps after which the learning rate drops", least=1)
    lr_drop: float = setting(0.5, "factor of each such drop", least=0)
    batch: int = setting(1, "photos of each side a step", least=1)
    seed: int = setting(0, "of everything drawn at random", least=0)
    # What it sees
    short_side: int = setting(256, "photos are resized to this short side, px", least=8)
    crop: int = setting(256, "and a square of this side is cut out at random, px", least=8)

    def __post_init__(self) -> None:
        if self.shared_blocks > self.residual_blocks:
            raise ValueError(
                f"--shared_blocks {self.shared_blocks}: there are {self.residual_blocks} residual "
                "blocks"
            )
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError("--beta1 and --beta2 must lie in 0..1, 1 excluded")
        smallest = 2 ** max(self.discriminator_layers + self.scales - 1, self.downsamplings + 1)
        if self.crop > self.short_side or self.crop < smallest or self.crop % self.multiple:
            raise ValueError(
                f"--crop {self.crop}: must be a multiple of {self.multiple}, at most --short_side "
                f"{self.short_side}, and at least {smallest}, which {self.discriminator_layers} "
                f"layers at {self.scales} scales halve to nothing otherwise; take fewer of those"
            )

    @property
    def multiple(self) -> int:
        """What height and width must be multiples of, px."""
        return 2**self.downsamplings

    def plain(self) -> dict[str, Any]:
        """As a dict for JSON and checkpoints."""
        return asdict(self)


def add_unit_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each setting."""
    for entry in fields(UnitSettings):
        parser.add_argument(
            f"--{entry.name}", type=type(entry.default), default=entry.default,
            help=entry.metadata["help"],
        )  # fmt: skip


def unit_settings_of(parser: argparse.ArgumentParser, values: dict[str, Any]) -> UnitSettings:
    """Settings of parsed flags; a wrong one ends the program with usage and reason."""
    given = {entry.name: values[entry.name] for entry in fields(UnitSettings)}
    for entry in fields(UnitSettings):
        least = entry.metadata["least"]
        if least is not None and not given[entry.name] >= least:
            parser.error(f"--{entry.name} must be at least {least}, got {given[entry.name]}")
    try:
        return UnitSettings(**given)
    except ValueError as error:
        parser.error(str(error))
