"""A light network that tells the share of buildings in a photo, and its directory.

    model.safetensors   weights
    config.json         backbone, size of the photos, how it was trained
    README.md           model card

ResNet18 (He et al., 2016, https://arxiv.org/abs/1512.03385) or any backbone of models/backbones.py,
one output. It sees the whole photo squeezed into a small square: a share survives that, and most of
the time goes. Trained by models/building_share.py to say what a segmentation network would.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data.place_sets.photos import PlacePhotos
from data.transforms import normalize
from models.backbones import build_backbone
from models.building.sources import Measured
from models.devices import pick_device
from models.model_folder import CONFIG, read_config
from models.weights import sha256_of
from partitioning.atomic_file import atomic_path

WEIGHTS, CARD = "model.safetensors", "README.md"
KIND = "groundfix building share"
NORM_MOMENTUM = 0.1  # EfficientNet's own, 0.01, takes hundreds of steps to see where it is
_CARD_TEXT = """# {name}

A Groundfix model that tells from a small photo how much of it is buildings: a fast stand-in for a
segmentation network when large sets are cleaned. It is as right as the network that it learned
from, and less so on photos unlike those that it was trained on.

| | |
|---|---|
| backbone | {backbone}, photos squeezed to {size} x {size} px |
| weights | sha256 {sha} |

## How it came about

{origin}
"""


class ShareRegressor(nn.Module):
    """Photos uint8 `(B, 3, S, S)` to logits `(B,)` of the share of buildings.

    Args:
        backbone: A name that `models.backbones.build_backbone` takes.
        size: S.
        pretrained: Load its ImageNet weights.

    Raises:
        ValueError: as `build_backbone`.
    """

    def __init__(self, backbone: str, size: int, pretrained: bool = False) -> None:
        super().__init__()
        self.name, self.size, self.keeps_norms = backbone, size, pretrained
        self.backbone = build_backbone(backbone, size, pretrained=pretrained)
        self.head = nn.Linear(self.backbone.width, 1)
        nn.init.zeros_(self.head.weight)
        for norm in self._norms():
            norm.momentum = NORM_MOMENTUM

    def forward(self, photos: Tensor) -> Tensor:
        """Judge `(B, 3, S, S)`."""
        images = normalize(photos, self.backbone.mean, self.backbone.std)
        return self.head(self.backbone(images).summary)[:, 0]

    def train(self, mode: bool = True) -> "ShareRegressor":
        """Batch norms that came with weights keep their statistics: a few steps make no better."""
        super().train(mode)
        if self.keeps_norms:
            for norm in self._norms():
                norm.eval()
        return self

    def _norms(self) -> list[nn.BatchNorm2d]:
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]


class ModelShares:
    """Shares by a trained regressor.

    Args:
        model: In evaluation mode.
        source: What it is, for records.
        batch: Photos at a time.
        workers: Threads that decode photos.
    """

    def __init__(
        self, model: ShareRegressor, source: str = "", batch: int = 32, workers: int = 2
    ) -> None:
        self.model, self.source, self.batch, self.workers = model.eval(), source, batch, workers

    @torch.inference_mode()
    def measure(self, paths: Sequence[Path]) -> Iterator[Measured]:
        """The share of each photo, in order."""
        device = self.model.head.weight.device
        photos = PlacePhotos(paths, (self.model.size, self.model.size))
        for rows, pictures in photos.batches(range(len(paths)), self.batch, self.workers):
            shares = self.model(pictures.to(device)).sigmoid().tolist()
            for row, share in zip(rows, shares, strict=True):
                error = photos.refused.get(str(paths[row]), "")
                yield Measured(paths[row], None if error else share, error)


def save_share_model(directory: Path, model: ShareRegressor, origin: dict[str, Any]) -> None:
    """Write a model; each file is whole or not there.

    Args:
        directory: Made where it is missing.
        model: To save.
        origin: Plain types: settings, figures.
    """
    with atomic_path(directory / WEIGHTS) as temporary:
        save_file({k: v.cpu().contiguous() for k, v in model.state_dict().items()}, temporary)
    sha256 = sha256_of(directory / WEIGHTS)
    facts = {"backbone": model.name, "size": model.size}
    config = {"kind": KIND, **facts, "model_sha256": sha256, "origin": origin}
    listed = "\n".join(f"- {key}: {value}" for key, value in origin.items())
    card = _CARD_TEXT.format(name=directory.name, **facts, sha=sha256, origin=listed)
    for name, text in ((CONFIG, json.dumps(config, indent=2) + "\n"), (CARD, card)):
        with atomic_path(directory / name) as temporary:
            temporary.write_text(text)


def load_share_model(
    directory: Path, device: str = "auto", batch: int = 32, workers: int = 2
) -> ModelShares:
    """Read what `save_share_model` wrote.

    Raises:
        ValueError: a file is missing or damaged, it is another kind of model, or there is no such
            device.
    """
    chosen = pick_device(device)
    config = read_config(directory, KIND, "such a model", "models.building_share train")
    try:
        model = ShareRegressor(config["backbone"], int(config["size"]))
        sha256 = sha256_of(directory / WEIGHTS)
        if sha256 != config["model_sha256"]:
            raise ValueError(f"{WEIGHTS} is not the file that {CONFIG} was written with")
        model.load_state_dict(load_file(directory / WEIGHTS))
    except (KeyError, TypeError, ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{directory}: no whole model: {error}") from None
    source = f"{config['backbone']} regressor sha256:{sha256[:16]}"
    return ModelShares(model.to(chosen), source, batch, workers)
