"""A trained GeoWarp as a directory, and the weights of the public GeoWarp repository.

    model.safetensors   weights of extractor and regression
    config.json         which extractor, size of the photos, how it was trained

Plain types and safetensors only: nothing in it can run code. The files of the public repository,
https://github.com/gmberton/geo_warp, are torch files: a regression's `conv.*` and `linear.*`, an
extractor's `encoder.*`; they are read as weights only.
"""

import json
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.geowarp import GeoWarp
from models.model_folder import CONFIG, read_config
from models.places.local_features import build_extractor
from models.weights import load_weights, misfit, sha256_of
from partitioning.atomic_file import atomic_path

WEIGHTS = "model.safetensors"
KIND = "groundfix geowarp"


@dataclass(frozen=True)
class ExtractorParts:
    """What an extractor is built of, as arguments of `local_features.build_extractor`."""

    backbone: str
    cut: str
    img_size: int


@dataclass(frozen=True)
class WarpModel:
    """A GeoWarp and what is known of it.

    Attributes:
        model: In evaluation mode.
        parts: Of its extractor.
        size: Height and width of the photos it was trained on, px.
        origin: How it came about.
    """

    model: GeoWarp
    parts: ExtractorParts
    size: tuple[int, int]
    origin: dict[str, Any]


def save_geowarp(directory: str | Path, warp: WarpModel) -> None:
    """Write a model; each file is whole or not there."""
    directory = Path(directory)
    weights = {name: value.contiguous() for name, value in warp.model.state_dict().items()}
    with atomic_path(directory / WEIGHTS) as temporary:
        save_file(weights, temporary)
    config = {
        "kind": KIND,
        "extractor": asdict(warp.parts),
        "size": list(warp.size),
        "model_sha256": sha256_of(directory / WEIGHTS),
        "origin": warp.origin,
    }
    with atomic_path(directory / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n")


def load_geowarp(directory: str | Path) -> WarpModel:
    """Read what `save_geowarp` wrote.

    Raises:
        ValueError: a file is missing, damaged, or does not belong to the others.
    """
    directory = Path(directory)
    config = read_config(directory, KIND, "a GeoWarp model", "retrieval.train_geowarp")
    try:
        parts = ExtractorParts(**config["extractor"])
        height, width = (int(side) for side in config["size"])
        model = GeoWarp(build_extractor(parts.backbone, parts.img_size, parts.cut, False))
        load_weights(model, directory / WEIGHTS, config["model_sha256"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{directory}: no whole GeoWarp model: {error}") from None
    return WarpModel(model.eval(), parts, (height, width), config.get("origin", {}))


def load_public_regression(path: str | Path, model: GeoWarp) -> None:
    """Load the regression's weights from a file of the public repository.

    Raises:
        ValueError: it cannot be read, or is no such file.
    """
    _load(path, model.regression, lambda name: name.removeprefix("homography_regression."))


def load_public_extractor(path: str | Path, model: GeoWarp) -> None:
    """Load the extractor's weights from a file of the public repository, its pooling left aside.

    Args:
        path: The file.
        model: With an extractor of the same network: alexnet, vgg16, or resnet50 cut at conv4.

    Raises:
        ValueError: it cannot be read, or is of another network.
    """

    def own(name: str) -> str:
        inner = name.removeprefix("features_extractor.")
        return "" if inner.startswith("pool.") else inner.replace("encoder.", "network.", 1)

    _load(path, model.extractor, own)


def _load(path: str | Path, module: nn.Module, own: Any) -> None:
    """Fill a module with a file's weights, each under the name that `own` makes of its name."""
    found = {own(name): value for name, value in _weights(path).items()}
    found.pop("", None)
    if problem := misfit(module.state_dict(), found):
        raise ValueError(f"{path}: {problem}: not of this network")
    module.load_state_dict(found)


def _weights(path: str | Path) -> dict[str, Tensor]:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: cannot be read as weights: {what}") from None
    if not isinstance(held, dict) or not all(isinstance(v, Tensor) for v in held.values()):
        raise ValueError(f"{path}: holds no dictionary of weights")
    return {name.removeprefix("module."): value for name, value in held.items()}
