"""A model bundle: the directory that is a trained model, read without torch.

    model.safetensors   weights
    model.onnx          the same network for ONNX Runtime
    config.json         architecture and origin, plain types only
    cells.parquet       the partition whose cells the heads predict
    calibration.json    temperature, conformal thresholds, floor
    README.md           model card

Weights that could run code when read (pickles) have no place in it. `models.export` writes it.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from models.calibration import Calibration
from models.decode import IntArray, ancestors
from partitioning import partition as partition_file
from partitioning.partition import LEVELS, Partition

FORMAT = 1


@dataclass(frozen=True)
class Bundle:
    """A bundle directory, opened.

    Attributes:
        path: the directory.
        config: config.json.
        partition: cells.parquet.
        calibration: calibration.json.
    """

    path: Path
    config: dict[str, Any]
    partition: Partition
    calibration: Calibration

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels the model predicts, coarse to fine."""
        return tuple(level for level in LEVELS if level in self.config["architecture"]["num_cells"])

    @property
    def model_sha256(self) -> str:
        """Hash of the weights: a gallery remembers by it which model described its photos."""
        return self.config["model_sha256"]

    @property
    def img_size(self) -> int:
        """Side of the model's square input, px."""
        return int(self.config["architecture"]["img_size"])

    @cached_property
    def ancestors(self) -> IntArray:
        """`(C, L)` classes of the finest cells and their ancestors at `levels`."""
        return ancestors(self.partition, self.levels)

    @classmethod
    def open(cls, path: str | Path) -> "Bundle":
        """Open a bundle directory.

        Raises:
            FileNotFoundError: the directory or one of its files is not there.
            ValueError: a file is unreadable, of another version, or the cells belong to another
                partition than the model.
        """
        path = Path(path)
        config = _read_config(path)
        for name in ("cells.parquet", "calibration.json"):
            if not (path / name).is_file():
                raise FileNotFoundError(f"{path} has no {name}: copy the bundle again or retrain")
        partition = partition_file.load(path / "cells.parquet")
        if partition.fingerprint != config["cells_fingerprint"]:
            raise ValueError(
                f"{path}/cells.parquet is another partition ({partition.fingerprint[:12]}) than "
                f"the model was trained on ({config['cells_fingerprint'][:12]}): put the "
                "cells.parquet of the training run back"
            )
        return cls(path, config, partition, Calibration.read(path / "calibration.json"))


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"no model bundle in {path} (no config.json): train one with "
            f"`python train_vit.py --data DIR --out {path}`, or run `make demo`"
        )
    try:
        config = json.loads(file.read_text())
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']}, this program reads {FORMAT}")
        for key in ("model_sha256", "cells_fingerprint"):
            config[key]
        config["origin"].get("name")
        for key in ("num_cells", "img_size", "inputs"):
            config["architecture"][key]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not a model bundle's config ({error!r})") from error
    return config
