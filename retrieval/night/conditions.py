"""Which queries were taken by night: what their names say, else how bright they are.

A night copy, by the report or by setup/make_night.py, is neither: its condition is `COPIED`. Each
query is told by its own name, for a night copy of a set holds the set's real nights as they were.
A timestamp in a name is not asked: when it gets dark depends on season and place, and most sets
keep the month only.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from data.images import ImageError, read_rgb
from data.linear_light import to_linear
from data.place_sets.names import PlaceName
from data.places import QUERIES
from data.transforms import LUMA

WAYS = ("auto", "note", "luminance")
CONDITIONS = ("day", "night")
COPIED = "SYNTHETIC night"  # a query by day, turned night
COPY_WORDS = {"night", "synthetic"}  # of the note in such a copy's name
NIGHT_BELOW = 0.08  # mean linear luminance; white is 1
PROVENANCE = "provenance.json"  # of models/translation/translate.py, setup/places/linked_copy.py
NIGHT_MAKER = "setup.make_night"


class Conditions(NamedTuple):
    """When queries were taken.

    Attributes:
        names: `(Q,)`, day, night, SYNTHETIC night, or "" where it cannot be told.
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
        data: The set; its provenance.json says of what light it was made, and so do those that it
            was copied from.
        way: note: day or night must be a word of each name's note; luminance: measured; auto: the
            light that the set was translated to, else the notes where all have one or the set is
            a night copy, else measured. A query marked as a night copy is one in each way.
        night_below: Mean linear luminance from which down a photo counts as night.

    Raises:
        ValueError: an unknown way, a threshold outside of 0..1, or notes that do not say.
    """
    if way not in WAYS or not 0 < night_below < 1:
        raise ValueError(
            f"--by must be one of {', '.join(WAYS)}, --night_below in 0..1, got {way!r} and "
            f"{night_below:g}"
        )
    lights = _lights_of(data)
    names, how = _told(queries, data, way, night_below, lights[:1])
    said = [*_synthetic(names, lights), _made_up(queries)]
    return Conditions(names, how, "; ".join(filter(None, said)))


def condition_of_note(note: str) -> str:
    """day, night or SYNTHETIC night, as a note says; "" of another note."""
    words = note.split("_")
    if set(words) >= COPY_WORDS:
        return COPIED
    return next((name for name in CONDITIONS if name in words), "")


def luminance(rgb: NDArray[np.uint8]) -> float:
    """Mean linear luminance of uint8 `(H, W, 3)`, 0 for black to 1 for white."""
    linear = to_linear(torch.from_numpy(rgb).float() / 255)
    return float((linear @ torch.tensor(LUMA)).mean())


def _told(
    queries: Sequence[Path], data: Path, way: str, night_below: float, made: list[dict[str, Any]]
) -> tuple[NDArray[np.str_], str]:
    """The condition of each query, and how it was told; `made`: what was last done to the set."""
    is_night_copy = any(_is_night_copy(light) for light in made)
    if made and not is_night_copy and way == "auto":
        light = made[0]["light"]
        return np.full(len(queries), light), f"all are {light}, says {PROVENANCE}"
    noted = np.array([_noted(path) for path in queries])
    if is_night_copy:
        noted = np.where([_is_turned(path, data, made[0]) for path in queries], COPIED, noted)
        if way == "auto":
            return np.where(noted == "", "day", noted), "by the note in their names"
    if way == "note" or (way == "auto" and (noted != "").all()):
        lacking = [path.name for path, name in zip(queries, noted, strict=True) if not name]
        if lacking:
            raise ValueError(
                f"{len(lacking):,} of {len(queries):,} queries have neither day nor night in their "
                f"name's note, {lacking[0]} for instance; use --by luminance"
            )
        return noted, "by the note in their names"
    names = [
        name if name == COPIED else _measured(path, night_below)
        for path, name in zip(queries, noted, strict=True)
    ]
    how = f"by brightness, a guess: night has a mean linear luminance below {night_below:g}"
    return np.array(names), how


def _measured(path: Path, night_below: float) -> str:
    try:
        return "night" if luminance(read_rgb(path, min_side=64)) < night_below else "day"
    except ImageError:
        return ""


def _noted(path: Path) -> str:
    try:
        return condition_of_note(PlaceName.parse(path.name).note)
    except ValueError:  # photos of named places have no positions in their names
        return ""


def _lights_of(data: Path) -> list[dict[str, Any]]:
    """What gave the photos of a set their light, the last first; none of photos as taken."""
    try:
        facts = json.loads((data / PROVENANCE).read_text())
    except (OSError, ValueError, RecursionError):
        return []
    lights = []
    while isinstance(facts, dict):
        done = facts["done"] if isinstance(facts.get("done"), dict) else {}
        if (made := facts | done).get("light") in CONDITIONS:
            lights.append(made)
        facts = facts.get("source_provenance")
    return lights


def _is_night_copy(light: dict[str, Any]) -> bool:
    return light.get("made_by") == NIGHT_MAKER


def _is_turned(path: Path, data: Path, light: dict[str, Any]) -> bool:
    """Whether a photo of a night copy whose name holds no note was turned night there."""
    is_asking = set(path.parts[len(data.parts) : -1]) & set(QUERIES)
    return not path.name.startswith("@") and bool(is_asking or not light.get("queries_only"))


def _synthetic(names: NDArray[np.str_], lights: list[dict[str, Any]]) -> list[str]:
    """What is synthetic about the light of queries, in words."""
    said = []
    if copies := int((names == COPIED).sum()):
        marks = [light.get("mark", COPIED) for light in lights if _is_night_copy(light)]
        mark = marks[0] if marks else f"{COPIED}, says the note in their names"
        said.append(f"{copies:,} of {len(names):,} queries are by {mark}")
    others = [light["light"] for light in lights if not _is_night_copy(light)]
    return said + [f"the photos are a translated, SYNTHETIC {light}" for light in others]


def _made_up(queries: Sequence[Path]) -> str:
    is_toy = all(_pano_id(path).startswith("toy") for path in queries)
    return "the town is made up: SYNTHETIC photos" if is_toy else ""


def _pano_id(path: Path) -> str:
    try:
        return PlaceName.parse(path.name).pano_id
    except ValueError:
        return ""
