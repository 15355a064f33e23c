"""A trained inpainting network as a directory, and what it is for: filling holes in photos.

    model.safetensors   weights
    config.json         size of the network, how it was trained
    README.md           model card

Plain types and safetensors only: nothing in it can run code.

    inpainter = load_inpainter("runs/inpainting")
    filled = inpainter.fill(photo, hole)
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from models.devices import pick_device
from models.inpainting.unet import PartialConvUNet, UNetSettings
from models.model_folder import CONFIG, read_config
from models.weights import sha256_of
from partitioning.atomic_file import atomic_path

WEIGHTS, CARD = "model.safetensors", "README.md"
KIND = "groundfix inpainter"
MOST_PX = 512  # long side that the network sees; the paper trains at 512
_CARD_TEXT = """# {name}

A Groundfix inpainter: it paints over holes in photos, such as where people and cars stood, with
what looks likely there. What it paints is made up: it is no record of the place, and must not be
used as evidence of what stood there.

| | |
|---|---|
| network | U-Net of partial convolutions, width {width}, depth {depth} |
| weights | sha256 {sha} |

## How it came about

{origin}
"""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Inpainter:
    """A network that fills holes.

    Attributes:
        network: In evaluation mode.
        sha256: Of the weights' file; "" of one that was never saved.
        most_px: A photo whose long side is longer is filled at this size, and what was painted
            enlarged: a hole is filled from all of the photo, with less detail.
    """

    network: PartialConvUNet
    sha256: str = ""
    most_px: int = MOST_PX

    def fill(self, photo: Pixels, hole: NDArray[np.bool_]) -> Pixels:
        """Fill the hole of a photo of any size.

        Args:
            photo: uint8 `(H, W, 3)`.
            hole: bool `(H, W)`, True where it is to be filled.

        Returns:
            uint8 `(H, W, 3)`; outside of the hole exactly the photo's pixels. What lies too deep
            in the hole for the network gets the mean colour of the known pixels.

        Raises:
            ValueError: shapes or types do not fit, or the hole leaves nothing to go by.
        """
        _check(photo, hole)
        if not hole.any():
            return photo.copy()
        device = next(self.network.parameters()).device
        rgb = torch.tensor(photo, device=device).permute(2, 0, 1)[None].float() / 255
        known = torch.tensor(~hole, device=device)[None, None].float()
        painted = self._painted(rgb, known)[0].permute(1, 2, 0).cpu().numpy()
        result = photo.copy()
        result[hole] = (np.clip(painted[hole], 0, 1) * 255 + 0.5).astype(np.uint8)
        return result

    @torch.inference_mode()
    def _painted(self, rgb: Tensor, known: Tensor) -> Tensor:
        """`(1, 3, H, W)`, from the photo at the size that the network sees."""
        height, width = rgb.shape[2:]
        scale = self.most_px / max(height, width)
        seen, seen_known = rgb, known
        if scale < 1:
            size = (max(1, round(height * scale)), max(1, round(width * scale)))
            seen, seen_known = _shrunk(rgb, known, size)
        painted, reached = self.network(seen, seen_known)
        mean = (rgb * known).sum(dim=(2, 3), keepdim=True) / known.sum()
        painted = torch.where(reached > 0, painted, mean)
        return (
            painted
            if scale >= 1
            else functional.interpolate(painted, (height, width), mode="bilinear")
        )


def _shrunk(rgb: Tensor, known: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Means over known pixels only, so that nothing of the hole runs into them."""
    share = functional.adaptive_avg_pool2d(known, size)
    colours = functional.adaptive_avg_pool2d(rgb * known, size) / share.clamp(min=1e-6)
    return colours, (share > 0.5).float() if (share > 0.5).any() else (share > 0).float()


def _check(photo: Pixels, hole: NDArray[np.bool_]) -> None:
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ValueError(f"a photo is uint8 (H, W, 3), not {photo.dtype} {photo.shape}")
    if hole.shape != photo.shape[:2] or hole.dtype != np.bool_:
        raise ValueError(f"a hole is bool {photo.shape[:2]}, not {hole.dtype} {hole.shape}")
    if hole.size and hole.all():
        raise ValueError("the hole is the whole photo: nothing is known that it could be filled by")


def save_inpainter(
    directory: str | Path, network: PartialConvUNet, origin: dict[str, Any]
) -> Inpainter:
    """Write a network; each file is whole or not there.

    Args:
        directory: Made where it is missing.
        network: To save.
        origin: Plain types: settings, figures.
    """
    directory = Path(directory)
    with atomic_path(directory / WEIGHTS) as temporary:
        save_file({k: v.cpu().contiguous() for k, v in network.state_dict().items()}, temporary)
    sha256 = sha256_of(directory / WEIGHTS)
    settings = network.settings.plain()
    config = {"kind": KIND, "unet": settings, "model_sha256": sha256, "origin": origin}
    listed = "\n".join(f"- {key}: {value}" for key, value in origin.items())
    card = _CARD_TEXT.format(name=directory.name, **settings, sha=sha256, origin=listed)
    for name, text in ((CONFIG, json.dumps(config, indent=2) + "\n"), (CARD, card)):
        with atomic_path(directory / name) as temporary:
            temporary.write_text(text)
    return Inpainter(network.eval(), sha256)


def load_inpainter(directory: str | Path, device: str = "cpu") -> Inpainter:
    """Read what `save_inpainter` wrote.

    Raises:
        ValueError: a file is missing or damaged, it is another kind of model, or there is no such
            device.
    """
    directory, chosen = Path(directory), pick_device(device)
    config = read_config(directory, KIND, "an inpainter", "models.inpainting.train")
    try:
        known = {entry.name for entry in fields(UNetSettings)}
        settings = UNetSettings(**{k: v for k, v in config["unet"].items() if k in known})
        network = PartialConvUNet(settings)
        if sha256_of(directory / WEIGHTS) != config["model_sha256"]:
            raise ValueError(f"{WEIGHTS} is not the file that {CONFIG} was written with")
        network.load_state_dict(load_file(directory / WEIGHTS))
    except (KeyError, TypeError, ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{directory}: no whole inpainter: {error}") from None
    return Inpainter(network.eval().to(chosen), config["model_sha256"])
