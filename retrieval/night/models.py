"""The models of a report: trained ones by their folder, untrained ones by their parts."""

import re
from collections.abc import Mapping
from pathlib import Path

from models.places.embedder import Embedder, EmbedderSettings
from models.places.place_model import PlaceModel, load_place_model

UNTRAINED_PX = 320  # as retrieval.untrained
CLUSTERED = ("netvlad", "crn")
UNTRAINED = {"trained": False}


def named_models(parts: list[str]) -> dict[str, str]:
    """Read NAME=DIR and NAME=BACKBONE:AGGREGATION.

    Raises:
        ValueError: not of that form, a name that is no folder's name, or one twice.
    """
    models: dict[str, str] = {}
    for part in parts:
        name, separator, model = part.partition("=")
        if not separator or not model or not re.fullmatch(r"[\w.+-]+", name) or name in (".", ".."):
            raise ValueError(f"--models {part!r} is not of the form NAME=DIR, NAME of letters")
        if name in models:
            raise ValueError(f"--models: {name} is there twice")
        models[name] = model
    return models


def load_models(models: Mapping[str, str]) -> dict[str, PlaceModel]:
    """Load trained models, and make untrained ones with ImageNet weights.

    Raises:
        ValueError: a folder holds no model, or backbone and aggregation do not go together.
    """
    return {
        name: untrained(*model.split(":"))
        if re.fullmatch(r"\w+:\w+", model) and not Path(model).is_dir()
        else load_place_model(model)
        for name, model in models.items()
    }


def untrained(backbone: str, aggregation: str) -> PlaceModel:
    """A model that was never trained on places.

    Raises:
        ValueError: backbone and aggregation do not go together, or the latter needs clusters.
    """
    if aggregation in CLUSTERED:
        raise ValueError(
            f"{backbone}:{aggregation}: {aggregation} starts from clusters of a training set; "
            "give gem, spoc, mac or rmac, or the folder of a trained model"
        )
    settings = EmbedderSettings(backbone, aggregation, img_size=UNTRAINED_PX)
    known = f"untrained {backbone} {aggregation}"
    return PlaceModel(Embedder(settings).eval(), (UNTRAINED_PX, UNTRAINED_PX), UNTRAINED, known)


def known_as(model: PlaceModel) -> str:
    """What a report calls a model by: the hash of its weights, or its parts."""
    return model.sha256 if model.origin == UNTRAINED else model.sha256[:12]
