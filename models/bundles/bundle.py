"""A model bundle: the directory that is a trained model, read without torch.

    model.safetensors   weights
    model.onnx          the same network for ONNX Runtime
    config.json         architecture and origin, plain types only
    cells.parquet       the partition whose cells the heads predict
    calibration.json    temperature, conformal thresholds, floor
    README.md           model card
    authors.npy         hashes of the training photos' authors, where they are known

Weights that could run code when read (pickles) have no place in it. `models.export` writes it,
`models.bundles.hub` opens one by its name on the model hub.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.decode import IntArray, ancestors
from models.evaluation import author_hashes
from models.evaluation.calibration import Calibration
from partitioning import partition as partition_file
from partitioning.partition import LEVELS, Partition

FORMAT = 1
CONFIG, WEIGHTS, ONNX = "config.json", "model.safetensors", "model.onnx"
CELLS, CALIBRATION, CARD = "cells.parquet", "calibration.json", "README.md"
AUTHORS = author_hashes.FILE
NEEDED = (CONFIG, WEIGHTS, CELLS, CALIBRATION)
PUBLISHED = (*NEEDED, ONNX, AUTHORS, CARD)  # all that belongs to a bundle


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
    def authors(self) -> NDArray[np.uint64] | None:
        """Hashes of the training photos' authors, sorted; None where they are not known.

        Raises:
            ValueError: the file is damaged.
        """
        return author_hashes.read_author_hashes(self.path)

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
                partition than the model, or are not as many as it has classes.
        """
        path = Path(path)
        config = _read_config(path)
        for name in (CELLS, CALIBRATION):
            if not (path / name).is_file():
                raise FileNotFoundError(f"{path} has no {name}: copy the bundle again or retrain")
        partition = partition_file.load(path / "cells.parquet")
        if partition.fingerprint != config["cells_fingerprint"]:
            raise ValueError(
                f"{path}/cells.parquet is another partition ({partition.fingerprint[:12]}) than "
                f"the model was trained on ({config['cells_fingerprint'][:12]}): put the "
                "cells.parquet of the training run back"
            )
        _check_classes(path, config["architecture"]["num_cells"], partition)
        return cls(path, config, partition, Calibration.read(path / CALIBRATION))

    def verify(self) -> None:
        """Compare the files with the hashes in config.json; a bundle of old lists none.

        Raises:
            FileNotFoundError: a listed file is not there.
            ValueError: a file is not the one that was written; all such are named.
        """
        listed = self.config.get("files", {WEIGHTS: self.model_sha256})
        altered = []
        for name, sha256 in listed.items():
            if name not in PUBLISHED:
                raise ValueError(f"{self.path}/{CONFIG} lists {name!r}, which no bundle has")
            if not (self.path / name).is_file():
                raise FileNotFoundError(f"{self.path} has no {name}: copy the bundle again")
            with (self.path / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    altered.append(name)
        if altered:
            raise ValueError(
                f"{self.path}: {', '.join(altered)} not as {CONFIG} says (sha256): damaged on the "
                "way, or changed since; fetch the bundle again"
            )


def _check_classes(path: Path, num_cells: dict[str, int], partition: Partition) -> None:
    for level, count in num_cells.items():
        if level not in LEVELS:
            raise ValueError(f"{path}/{CONFIG}: no level {level!r}: there are {', '.join(LEVELS)}")
        if count != len(partition.levels[level]):
            raise ValueError(
                f"the model {path} has {count} {level} classes and its {CELLS} "
                f"{len(partition.levels[level])} {level} cells: put {CONFIG} and {CELLS} of one "
                "training run together"
            )


def _read_config(path: Path) -> dict[str, Any]:
    file = path / CONFIG
    if not file.is_file():
        raise FileNotFoundError(
            f"no model bundle in {path} (no config.json): train one with "
            f"`python train_vit.py --data DIR --out {path}`, run `make demo`, or name a bundle on "
            "the model hub as owner/name"
        )
    try:
        config = json.loads(file.read_text())
        if kind := config.get("kind"):
            raise ValueError(f"it is a {kind}: those go with a bundle, by a flag of their own")
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']}, this program reads {FORMAT}")
        for key in ("model_sha256", "cells_fingerprint"):
            if not isinstance(config[key], str):
                raise ValueError(f"its {key} is {config[key]!r}")
        config["origin"].get("name")
        for key in ("img_size", "inputs"):
            config["architecture"][key]
        if not dict(config["architecture"]["num_cells"].items()):
            raise ValueError("its model has no cells")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not a model bundle's config ({error!r})") from error
    return config
