"""What a photo table's row says of a sample, in the plain types of its `.json` member.

Scenes come as three columns of probabilities (`Prob_indoor, Prob_natural, Prob_urban`), as a list
in one column, or as a label (`S3_Label`: 0 indoor, 1 natural, 2 urban), which becomes a list that
is certain. Labels of 16 and 365 scenes stay what they are.
"""

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pandas as pd

from data.sample import NUM_SCENES

SCENE_COLUMNS = ("prob_indoor", "prob_natural", "prob_urban")


def with_scene_column(photos: pd.DataFrame) -> pd.DataFrame:
    """Bring three columns of scene probabilities into s3, in place of labels where there are."""
    names = {column.strip().lower(): column for column in photos.columns}
    if not all(name in names for name in SCENE_COLUMNS):
        return photos
    given = photos[[names[name] for name in SCENE_COLUMNS]]
    scenes = given.apply(pd.to_numeric, errors="coerce").to_numpy(float).tolist()
    is_given = given.notna().any(axis=1)
    labels = photos["s3"] if "s3" in photos else [None] * len(photos)
    lists = [
        scene if there else label
        for scene, there, label in zip(scenes, is_given, labels, strict=True)
    ]
    return photos.assign(s3=pd.Series(lists, photos.index, dtype=object))


def metadata(row: dict[str, Any], unreadable: Counter[str]) -> dict[str, Any]:
    """Metadata of one sample; values that the table lacks are left out.

    Args:
        row: lat, lon, and any of `READERS`.
        unreadable: counts, by column, the values that could not be read and are left out.
    """
    found: dict[str, Any] = {"lat": float(row["lat"]), "lon": float(row["lon"])}
    for name, read in READERS.items():
        value = row.get(name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        try:
            found[name] = read(value)
        except (ValueError, TypeError, RecursionError):  # a hostile list nests until the stack ends
            unreadable[name] += 1
    return found


def _text(value: Any) -> str:
    # A gap in a column of numbers makes pandas read author 7 as 7.0.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not finite")
    return number


def _label(value: Any) -> int | list[float]:
    """A class index, or a list of probabilities."""
    parsed = json.loads(value) if isinstance(value, str) else value
    if isinstance(parsed, list):
        return [_number(item) for item in parsed]
    number = _number(parsed)
    if number < 0 or not number.is_integer():
        raise ValueError(f"{value} is no class index")
    return int(number)


def _scene(value: Any) -> list[float]:
    scene = _label(value)
    if isinstance(scene, int):
        scene = [float(scene == number) for number in range(NUM_SCENES)]
    if len(scene) != NUM_SCENES or min(scene) < 0 or sum(scene) <= 0:
        raise ValueError(f"{value} tells none of {NUM_SCENES} scenes")
    return scene


READERS: dict[str, Callable[[Any], Any]] = {
    "author": _text,
    "licence": _text,
    "url": _text,
    "captured_at": _text,
    "heading": _number,
    "s3": _scene,
    "s16": _label,
    "s365": _label,
}
