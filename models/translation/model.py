"""A trained translator as a directory, and pictures of what it makes.

    model.safetensors   weights of the translator
    config.json         its settings, how far it was trained
    README.md           model card

Plain types and safetensors only: nothing in it can run code.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file

from models.model_folder import CONFIG, read_config
from models.translation.losses import OTHER, Pair
from models.translation.networks import SIDES, Translator
from models.translation.settings import UnitSettings
from models.weights import load_weights, sha256_of
from partitioning.atomic_file import atomic_path

WEIGHTS, CARD = "model.safetensors", "README.md"
KIND = "groundfix day-night translator"
_CARD_TEXT = """# {name}

A Groundfix translator (UNIT, https://arxiv.org/abs/1703.00848): day photos to night and back.
What it makes is SYNTHETIC: lit windows, lamps and shadows in it were never there.

| | |
|---|---|
| trained | {step:,} steps on {day:,} day and {night:,} night photos |
| photos | short side {short_side} px, squares of {crop} px |
| weights | sha256 {sha} |

## Intended use

Night copies of one's own sets of places, to train place recognition with:
`python -m models.unit translate --model DIR --data PLACES --output PLACES_night`.

## Out of scope

Passing its pictures off as photographs; testing how well places are recognised by night.
"""


class UnitModel(NamedTuple):
    """A translator and what is known of it.

    Attributes:
        translator: In evaluation mode.
        origin: How it came about.
        sha256: Of the weights' file.
    """

    translator: Translator
    origin: dict[str, Any]
    sha256: str


def save_unit(directory: Path, translator: Translator, origin: dict[str, Any]) -> UnitModel:
    """Write a translator; each file is whole or not there.

    Args:
        directory: Made where it is missing.
        translator: To save.
        origin: Plain types; `step`, `day` and `night`, the numbers of photos, are in the card.
    """
    weights = {n: v.detach().cpu().contiguous() for n, v in translator.state_dict().items()}
    with atomic_path(directory / WEIGHTS) as temporary:
        save_file(weights, temporary)
    sha256, settings = sha256_of(directory / WEIGHTS), translator.settings.plain()
    config = {"kind": KIND, "settings": settings, "model_sha256": sha256, "origin": origin}
    card = _CARD_TEXT.format(name=directory.name, sha=sha256, **settings, **origin)
    for name, text in ((CONFIG, json.dumps(config, indent=2) + "\n"), (CARD, card)):
        with atomic_path(directory / name) as temporary:
            temporary.write_text(text)
    return UnitModel(translator, origin, sha256)


def load_unit(directory: Path) -> UnitModel:
    """Read what `save_unit` wrote.

    Raises:
        ValueError: a file is missing, damaged, or does not belong to the others.
    """
    config = read_config(directory, KIND, "a translator", "models.unit train")
    try:
        known = {entry.name for entry in fields(UnitSettings)}
        settings = UnitSettings(**{k: v for k, v in config["settings"].items() if k in known})
        translator = Translator(settings)
        load_weights(translator, directory / WEIGHTS, config["model_sha256"])
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise ValueError(f"{directory}: no whole translator: {error}") from None
    return UnitModel(translator.eval(), config.get("origin", {}), config["model_sha256"])


@torch.inference_mode()
def write_samples(path: Path, translator: Translator, photos: Pair) -> None:
    """Draw a grid, PNG: each line a photo, itself again, as the other side, and back from there.

    Args:
        path: To write.
        translator: On the photos' device.
        photos: side -> `(B, 3, H, W)` in -1..1.
    """
    from PIL import Image

    lines: list[torch.Tensor] = []
    for side in SIDES:
        code = translator.encode(photos[side], side)
        other = translator.decode(code, OTHER[side])
        back = translator.decode(translator.encode(other, OTHER[side]), side)
        shown = (photos[side], translator.decode(code, side), other, back)
        lines += torch.cat(shown, dim=3).unbind()
    grid = (torch.cat(lines, dim=1) + 1) * 127.5
    pixels = grid.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")
