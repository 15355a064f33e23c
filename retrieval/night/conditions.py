"""Which queries were taken by night: what their names say, else how bright they are.

A night copy that the report makes itself is neither: its condition is `COPIED`.
A timestamp in a name is not asked: when it gets dark depends on season and place, and most sets
keep the month only.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from data.images import ImageError, read_rgb
from data.linear_light import to_linear
from data.place_sets.names import PlaceName
from data.transforms import LUMA

WAYS = ("auto", "note", "luminance")
CONDITIONS = ("day", "night")
COPIED = "SYNTHETIC night"  # a query by day, turned night
NIGHT_BELOW = 0.08  # mean linear luminance; white is 1
PROVENANCE = "provenance.json"  # of models/translation/translate.py, setup/make_night.py


class Conditions(NamedTuple):
    """When queries were taken.

    Attributes:
        names: `(Q,)`, day, night, or "" where it cannot be told.
        how: How it was told, in words.
        synthetic: What of the photos is synthetic, in words; "" where nothing says so.
    """

    names: NDArray[np.str_]
    how: str
    synthetic: str


def conditions_of(
    queries: Sequence[Path], data: Path, way: str = "auto", night_below: float = NIGHT_BELOW
) -> Conditions:
    """Tell day from night.

    Args:
        queries: Files, named as data/place_sets/names.py.
        data: The set; a night copy says its light in provenance.json.
        way: note: day or night must be a word of each name's note; luminance: measured; auto: the
            set's provenance, else the notes where all have one, else measured.
        night_below: Mean linear luminance from which down a photo counts as night.

    Raises:
        ValueError: an unknown way, a threshold outside of 0..1, or notes that do not say.
    """
    if way not in WAYS or not 0 < night_below < 1:
        raise ValueError(
            f"--by must be one of {', '.join(WAYS)}, --night_below in 0..1, got {way!r} and "
            f"{night_below:g}"
        )
    copied, mark = _light_of_copy(data)
    synthetic = "; ".join(said for said in (mark, _made_up(queries)) if said)
    if copied and way == "auto":
        names = np.full(len(queries), copied)
        return Conditions(names, f"all are {copied}, says {PROVENANCE}", synthetic)
    noted = np.array([_noted(path) for path in queries])
    if way == "note" or (way == "auto" and (noted != "").all()):
        lacking = [path.name for path, name in zip(queries, noted, strict=True) if not name]
        if lacking:
            raise ValueError(
                f"{len(lacking):,} of {len(queries):,} queries have neither day nor night in their "
                f"name's note, {lacking[0]} for instance; use --by luminance"
            )
        return Conditions(noted, "by the note in their names", synthetic)
    names = np.array([_measured(path, night_below) for path in queries])
    how = f"by brightness, a guess: night has a mean linear luminance below {night_below:g}"
    return Conditions(names, how, synthetic)


def luminance(rgb: NDArray[np.uint8]) -> float:
    """Mean linear luminance of uint8 `(H, W, 3)`, 0 for black to 1 for white."""
    linear = to_linear(torch.from_numpy(rgb).float() / 255)
    return float((linear @ torch.tensor(LUMA)).mean())


def _measured(path: Path, night_below: float) -> str:
    try:
        return "night" if luminance(read_rgb(path, min_side=64)) < night_below else "day"
    except ImageError:
        return ""


def _noted(path: Path) -> str:
    try:
        words = PlaceName.parse(path.name).note.split("_")
    except ValueError:  # photos of named places have no positions in their names
        return ""
    return next((name for name in CONDITIONS if name in words), "")


def _light_of_copy(data: Path) -> tuple[str, str]:
    """Light of a night copy and what is synthetic about it; "" twice where it is none."""
    try:
        facts = json.loads((data / PROVENANCE).read_text())
    except (OSError, ValueError):
        return "", ""
    if not isinstance(facts, dict):
        return "", ""
    made = facts["done"] if isinstance(facts.get("done"), dict) else facts
    light = made.get("light")
    if light not in CONDITIONS:
        return "", ""
    if made.get("made_by") == "setup.make_night":
        return light, f"the queries are by {facts.get('mark', 'SYNTHETIC night')}"
    return light, f"the photos are a translated, SYNTHETIC {light}"


def _made_up(queries: Sequence[Path]) -> str:
    is_toy = all(_pano_id(path).startswith("toy") for path in queries)
    return "the town is made up: SYNTHETIC photos" if is_toy else ""


def _pano_id(path: Path) -> str:
    try:
        return PlaceName.parse(path.name).pano_id
    except ValueError:
        return ""
