"""A trained embedder of places as a directory.

    model.safetensors   weights
    config.json         parts (EmbedderSettings), size of the photos, how it was trained
    README.md           model card

Plain types and safetensors only: nothing in it can run code.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.model_folder import CONFIG, read_config
from models.places.embedder import Embedder, EmbedderSettings
from models.weights import sha256_of
from partitioning.atomic_file import atomic_path

WEIGHTS, CARD = "model.safetensors", "README.md"
KIND = "groundfix place model"
_CARD_TEXT = """# {name}

A Groundfix place model: from a photo it makes a descriptor; photos of one place have similar ones.

| | |
|---|---|
| backbone | {backbone}, cut {cut}, photos of {height} x {width} px |
| aggregation | {aggregation}, {dim} numbers, attention {attention}, L2 {l2} |
| weights | sha256 {sha} |

## How it came about

{origin}

## Intended use

Finding the place of one's own photos among photos of known position, such as a town's archive.

## Out of scope

Locating people without their consent, surveillance, deciding anything about a person.
See RESPONSIBLE_USE.md of Groundfix.
"""


@dataclass(frozen=True)
class PlaceModel:
    """An embedder and what is known of it.

    Attributes:
        embedder: In evaluation mode.
        size: Height and width of the photos it was trained on, px.
        origin: How it came about.
        sha256: Of the weights' file; "" of a model that was never saved.
    """

    embedder: Embedder
    size: tuple[int, int]
    origin: dict[str, Any]
    sha256: str = ""


def save_place_model(
    directory: str | Path,
    embedder: Embedder,
    size: tuple[int, int],
    origin: dict[str, Any],
) -> PlaceModel:
    """Write a model; each file is whole or not there.

    Args:
        directory: Made where it is missing.
        embedder: To save.
        size: Height and width of its photos, px.
        origin: Plain types: settings, commit, figures.
    """
    directory = Path(directory)
    weights = {name: value.contiguous() for name, value in embedder.state_dict().items()}
    with atomic_path(directory / WEIGHTS) as temporary:
        save_file(weights, temporary)
    sha256 = sha256_of(directory / WEIGHTS)
    config = {
        "kind": KIND,
        "embedder": embedder.settings.plain(),
        "size": list(size),
        "model_sha256": sha256,
        "origin": origin,
    }
    _write(directory / CONFIG, json.dumps(config, indent=2) + "\n")
    _write(directory / CARD, _card(directory.name, embedder, size, sha256, origin))
    return PlaceModel(embedder.eval(), size, origin, sha256)


def load_place_model(directory: str | Path) -> PlaceModel:
    """Read what `save_place_model` wrote.

    Raises:
        ValueError: a file is missing, damaged, or does not belong to the others.
    """
    directory = Path(directory)
    config = read_config(directory, KIND, "a place model", "retrieval.train")
    try:
        known = {field.name for field in fields(EmbedderSettings)}
        settings = EmbedderSettings(**{k: v for k, v in config["embedder"].items() if k in known})
        height, width = (int(side) for side in config["size"])
        embedder = Embedder(settings, pretrained=False)
        if sha256_of(directory / WEIGHTS) != config["model_sha256"]:
            raise ValueError(f"{WEIGHTS} is not the file that {CONFIG} was written with")
        embedder.load_state_dict(load_file(directory / WEIGHTS))
    except (KeyError, TypeError, ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{directory}: no whole place model: {error}") from None
    origin = config.get("origin", {})
    return PlaceModel(embedder.eval(), (height, width), origin, config["model_sha256"])


def _card(
    name: str,
    embedder: Embedder,
    size: tuple[int, int],
    sha256: str,
    origin: dict[str, Any],
) -> str:
    parts = embedder.settings.plain()
    listed = "\n".join(f"- {key}: {value}" for key, value in origin.items())
    return _CARD_TEXT.format(
        name=name, dim=embedder.dim, height=size[0], width=size[1], sha=sha256, origin=listed,
        **{key: parts[key] for key in ("backbone", "cut", "aggregation", "attention", "l2")},
    )  # fmt: skip


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)
