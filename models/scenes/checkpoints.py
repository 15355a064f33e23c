"""Classifiers of the 365 Places scenes as they are stored: by name, a folder, or a file of weights.

- timm's format: a name, `hf-hub:OWNER/NAME`, or a folder whose config.json has "architecture";
- the hub's: `OWNER/NAME`, or a folder whose config.json has "model_type";
- a file of weights of a ResNet: `.safetensors`, or `.pth`, `.pth.tar` as Places published its own
  (https://github.com/CSAILVision/places365), "wideresnet18" among them: a ResNet-18 without its
  first pooling. `module.` before the names, which DataParallel writes, is taken off.

Weights are read as data only, and code that comes with a model is never run.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import models.torchvision_cure  # noqa: F401  isort: skip  (timm imports torchvision)
import timm
import torch
from safetensors.torch import load_file
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from data.images import IMAGENET_MEAN, IMAGENET_STD
from data.places365 import NUM_PLACES, place_names, plain_name

WEIGHTS = (".safetensors", ".pth", ".pt", ".tar", ".bin", ".ckpt")
# Blocks of the four stages, and whether they are bottlenecks.
RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
WAY_OUT = "give a folder or a file, or fill the hub's cache where there is a connection"


class Input(NamedTuple):
    """What a network takes.

    Attributes:
        size: side of its square, px.
        resize: what the short side of a photo becomes before the square is cut out, px.
        mean, std: of the pixels in 0..1 that it was trained with.
    """

    size: int = 224
    resize: int = 256
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


class Checkpoint(NamedTuple):
    """A classifier.

    Attributes:
        network: normalised images `(B, 3, S, S)` to scores `(B, 365)`, in the order of Places.
        input: what it takes.
    """

    network: nn.Module
    input: Input


def read_checkpoint(name: str) -> Checkpoint:
    """Read a classifier.

    Raises:
        ValueError: it cannot be had, its files are damaged, it holds other things than weights, or
            it does not tell 365 scenes of Places.
    """
    path = Path(name)
    if path.is_file():
        return _of_file(path)
    if path.is_dir():
        return _of_folder(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.endswith(WEIGHTS):
        raise ValueError(f"no folder or file {name}")
    if "/" in name and ":" not in name:
        return _of_transformers(name)
    return _of_timm(name)


def _of_folder(folder: Path) -> Checkpoint:
    config = _config(folder)
    if "architecture" in config:
        return _of_timm(f"local-dir:{folder}")
    if config:
        return _of_transformers(str(folder))
    files = [path for path in sorted(folder.iterdir()) if path.suffix in WEIGHTS]
    if len(files) != 1:
        raise ValueError(
            f"{folder}: no config.json and {len(files)} files of weights; give a folder with all "
            f"files of a model, or one file ({', '.join(WEIGHTS)})"
        )
    return _of_file(files[0])


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict) or not config:
            raise ValueError("no object")
        return config
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not the configuration of a model ({error})") from None


def _of_timm(name: str) -> Checkpoint:
    network = _tried(name, lambda: timm.create_model(name, pretrained=True).eval())
    wanted = resolve_model_data_config(network)
    size = wanted["input_size"][-1]
    resize = round(size / (wanted["crop_pct"] or 1))
    labels = network.pretrained_cfg.get("label_names") or []
    order = _order(name, network.num_classes, list(labels))
    put_in = Input(size, resize, tuple(wanted["mean"]), tuple(wanted["std"]))
    return Checkpoint(_ordered(network, order), put_in)


def _of_transformers(name: str) -> Checkpoint:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    options: dict[str, Any] = {"trust_remote_code": False}
    data_only = {"weights_only": True, "dtype": torch.float32, "output_loading_info": True}
    read = AutoModelForImageClassification.from_pretrained
    network, loading = _tried(name, lambda: read(name, **data_only, **options))
    if lacking := sorted(loading["missing_keys"]):  # they would be random
        raise ValueError(f"{name}: its weights lack {len(lacking)}, such as {lacking[0]}")
    settings = _tried(name, lambda: AutoImageProcessor.from_pretrained(name, **options)).to_dict()
    labels = network.config.id2label
    order = _order(name, len(labels), [str(labels[i]) for i in sorted(labels)])
    return Checkpoint(_ordered(_Scores(network.eval()), order), _input_of(settings))


def _input_of(settings: dict[str, Any]) -> Input:
    """What the hub's processor is set to: it squashes to `size`, or cuts `crop_size` out of it."""
    sizes = [settings.get("crop_size") or {}, settings.get("size") or {}]
    size, resize = (
        next((int(s[key]) for s in order for key in ("shortest_edge", "height") if key in s), 224)
        for order in (sizes, sizes[::-1])
    )
    if settings.get("do_normalize") is False:
        return Input(size, resize, (0.0,) * 3, (1.0,) * 3)
    mean = settings.get("image_mean") or IMAGENET_MEAN
    std = settings.get("image_std") or IMAGENET_STD
    return Input(size, resize, tuple(mean), tuple(std))


def _of_file(path: Path) -> Checkpoint:
    weights, architecture = _weights(path)
    stages = tuple(
        len({name.split(".")[1] for name in weights if name.startswith(f"layer{stage}.")})
        for stage in (1, 2, 3, 4)
    )
    resnet = RESNETS.get((stages, "layer1.0.conv3.weight" in weights), "")
    if not resnet:
        raise ValueError(
            f"{path}: not the weights of a ResNet-18, 34, 50, 101 or 152; of another network give "
            "the folder with its config.json"
        )
    _order(str(path), len(weights.get("fc.bias", ())), [])
    network = timm.create_model(resnet, num_classes=NUM_PLACES)
    if re.search("wide_?resnet", f"{architecture} {path.name}", re.IGNORECASE):
        network.maxpool = nn.Identity()
    _tried(str(path), lambda: network.load_state_dict(weights))
    return Checkpoint(network.eval(), Input())


def _weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Weights by name, and the architecture that the file says it is of."""
    if path.suffix == ".safetensors":
        found = _tried(str(path), lambda: load_file(path))
    else:
        found = _tried(str(path), lambda: torch.load(path, map_location="cpu", weights_only=True))
    architecture = str(found.get("arch", "")) if isinstance(found, dict) else ""
    for wrapped in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(wrapped), dict):
            found = found[wrapped]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ValueError(f"{path}: it holds no weights by name; save a network's state_dict")
    return {str(name).removeprefix("module."): value for name, value in found.items()}, architecture


def _order(name: str, classes: int, labels: list[str]) -> list[int]:
    """Which output is which scene of Places; by number where the labels are no names."""
    if classes != NUM_PLACES:
        raise ValueError(f"{name}: {classes} classes; a classifier of Places has {NUM_PLACES}")
    given = [plain_name(label) for label in labels]
    if not set(given) & set(place_names()):
        return list(range(NUM_PLACES))
    if strangers := sorted(set(place_names()).symmetric_difference(given)):
        raise ValueError(f"{name}: its classes are not those of Places: {', '.join(strangers[:5])}")
    return [given.index(scene) for scene in place_names()]


def _ordered(network: nn.Module, order: list[int]) -> nn.Module:
    return network if order == list(range(NUM_PLACES)) else nn.Sequential(network, _Picked(order))


class _Picked(nn.Module):
    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.register_buffer("order", torch.tensor(order))

    def forward(self, scores: Tensor) -> Tensor:
        return scores[:, self.get_buffer("order")]


class _Scores(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(pixel_values=images).logits


def _tried(name: str, read: Callable[[], Any]) -> Any:
    """What `read` gives, its errors as ValueError."""
    try:
        return read()
    except Exception as error:  # damaged files make the libraries raise nearly anything
        told = (str(error).strip().splitlines() or [""])[0][:200]
        raise ValueError(
            f"{name}: cannot be read as a classifier ({type(error).__name__}: {told}); {WAY_OUT}"
        ) from error
