"""What a photo table's row says of a sample, in the plain types of its `.json` member.

Scenes come as three columns of probabilities (`Prob_indoor, Prob_natural, Prob_urban`), as a list
in one column, or as a label (`S3_Label`: 0 indoor, 1 natural, 2 urban), which becomes a certain
list. Labels of 16 and 365 scenes stay what they are.
"""

import json
import math
from collections import Counter
from typing import Any

import pandas as pd

from data.sample import NUM_SCENES

TEXTS = ("author", "licence", "url", "captured_at")
SCENE_COLUMNS = ("prob_indoor", "prob_natural", "prob_urban")


def with_scene_column(photos: pd.DataFrame) -> pd.DataFrame:
    """Bring three columns of scene probabilities into s3, in place of labels there."""
    names = {column.strip().lower(): column for column in photos.columns}
    if not all(name in names for name in SCENE_COLUMNS):
        return photos
    columns = [names[name] for name in SCENE_COLUMNS]
    scenes = photos[columns].astype(str).agg(lambda row: f"[{', '.join(row)}]", axis=1)
    given = photos[columns].notna().any(axis=1)
    return photos.drop(columns=columns).assign(s3=scenes.where(given, None))


def metadata(row: dict[str, Any], unreadable: Counter[str]) -> dict[str, Any]:
    """Metadata of one sample; values that the table lacks are left out.

    Args:
        row: of `data.tables.PhotoTable.photos`.
        unreadable: counts, by column, values that could not be read and are left out.
    """
    found: dict[str, Any] = {"lat": float(row["lat"]), "lon": float(row["lon"])}
    readers = {name: _text for name in TEXTS}
    readers |= {"heading": _number, "s3": _scene, "s16": _label, "s365": _label}
    for name, read in readers.items():
        value = row.get(name)
        if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
            continue
        try:
            found[name] = read(value)
        except (ValueError, TypeError):
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
    """A class index, or the list of probabilities that a text holds."""
    parsed = json.loads(value) if isinstance(value, str) else value
    if isinstance(parsed, list):
        return [_number(item) for item in parsed]
    if _number(parsed) < 0 or not float(parsed).is_integer():
        raise ValueError(f"{value} is no class index")
    return int(parsed)


def _scene(value: Any) -> list[float]:
    label = _label(value)
    if isinstance(label, int):
        scene = [0.0] * NUM_SCENES
        scene[label] = 1.0  # IndexError's way: a label past the end is refused below
        return scene
    if len(label) != NUM_SCENES or min(label) < 0 or sum(label) <= 0:
        raise ValueError(f"{value} is no list of {NUM_SCENES} probabilities")
    return label
