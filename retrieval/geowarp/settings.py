"""The settings of one training of GeoWarp, and their flags.

Names and defaults are the source's, https://github.com/gmberton/geo_warp, where it has them.
Imports nothing heavy.
"""

import argparse
from dataclasses import asdict, dataclass, fields
from typing import Any

from models.training.recipe import setting


@dataclass(frozen=True)
class GeoWarpSettings:
    """How GeoWarp learns; what it learns from and where are flags shared with retrieval.train."""

    k: float = setting(0.6, "how far synthetic views differ from their photo, 0 to 1", least=0)
    ss_w: float = setting(1.0, "weight of the self-supervised loss", least=0)
    consistency_w: float = setting(0.1, "weight of the consistency loss", least=0)
    features_wise_w: float = setting(10.0, "weight of the features-wise loss", least=0)
    qp_threshold: float = setting(
        1.2, "squared distance of descriptors below which a right answer is learned from", least=0
    )
    bank: int = setting(
        0, "views of each photo described once and paired in all ways; 0 = new ones", least=0
    )
    optimizer: str = setting("sgd", "sgd with momentum 0.9, or adam", ("sgd", "adam"))
    lr: float = setting(1e-4, "learning rate", least=0)
    schedule: str = setting(
        "constant", "of the learning rate: constant, or cosine down to 0", ("constant", "cosine")
    )
    weight_decay: float = setting(1e-3, "of the regression's weights", least=0)
    epochs: int = setting(100, "a checkpoint is written after each; 0 only converts", least=0)
    iterations_per_epoch: int = setting(500, "optimiser steps of an epoch", least=1)
    train_batch: int = setting(16, "pairs of each loss in a step", least=2)

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, least = getattr(self, entry.name), entry.metadata["least"]
            if least is not None and not value >= least:
                raise ValueError(f"--{entry.name} must be at least {least}, got {value}")
        if self.k >= 1:
            raise ValueError(f"--k must be below 1, got {self.k}: nothing of a view may be left")
        if self.bank == 1:
            raise ValueError("--bank 1 makes no pair; give 2 or more, or 0")
        if not self.needs_pairs and not self.ss_w:
            raise ValueError(
                "--ss_w, --consistency_w and --features_wise_w are 0: nothing to learn"
            )

    @property
    def needs_pairs(self) -> bool:
        """Whether a loss asks for pairs of photos of one place."""
        return self.consistency_w > 0 or self.features_wise_w > 0

    @property
    def shape(self) -> tuple[int, int]:
        """Batches of an epoch, pairs of a batch."""
        return self.iterations_per_epoch, self.train_batch

    def plain(self) -> dict[str, Any]:
        """As a dict for JSON."""
        return asdict(self)


def add_setting_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each setting."""
    for entry in fields(GeoWarpSettings):
        parser.add_argument(
            f"--{entry.name}",
            type=type(entry.default),
            default=entry.default,
            choices=entry.metadata["choices"],
            help=entry.metadata["help"],
        )


def settings_of(parser: argparse.ArgumentParser, values: dict[str, Any]) -> GeoWarpSettings:
    """Settings of parsed flags; a wrong one ends the program with usage and reason."""
    names = {entry.name for entry in fields(GeoWarpSettings)}
    try:
        return GeoWarpSettings(**{k: v for k, v in values.items() if k in names})
    except ValueError as error:
        parser.error(str(error))
