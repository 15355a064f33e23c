"""The sets of places that `retrieval.compare` trains and tests on; by default SYNTHETIC ones.

Made once: a town photographed by day and by night (data/toy/city.py), its exact segmentation maps
(data/toy/truth.py), and cuts out of panoramas of the same streets (data/toy/panorama.py). A set is
whole or not there.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from data.toy.city import make_toy_city
from data.toy.panorama import PLAIN, UNDISTORTED, make_toy_panoramas
from data.toy.truth import CityShape, make_mapped_city

CITY, MAPS, PANORAMAS = "city", "maps", "panoramas"
TOWN: dict[str, Any] = {"blocks": (3, 3), "step_m": 10.0, "size": (120, 160), "seed": 2}
QUERIES: dict[str, Any] = {"queries": 400, "night_share": 0.3}
FAST_TOWN: dict[str, Any] = {"blocks": (1, 1), "step_m": 35.0, "size": (32, 48), "seed": 2}
FAST_QUERIES: dict[str, Any] = {"queries": 8, "night_share": 0.5}


class Sets(NamedTuple):
    """Folders of sets of places; None where there is none.

    Attributes:
        city: What most rows are trained and tested on.
        plain: The same places cut plainly out of panoramas.
        undistorted: Likewise, undistorted.
        maps: Segmentation maps of the city's photos.
    """

    city: Path
    plain: Path | None = None
    undistorted: Path | None = None
    maps: Path | None = None


def make_toy_sets(out: Path, is_fast: bool, wanted: set[str]) -> Sets:
    """Make what is missing of the synthetic sets.

    Args:
        out: Folder that holds them.
        is_fast: Tiny ones, to try the machinery.
        wanted: Names of `Sets` besides the city.
    """
    town, queries = (FAST_TOWN, FAST_QUERIES) if is_fast else (TOWN, QUERIES)
    sets = Sets(out / CITY)
    _made_whole(sets.city, lambda folder: make_toy_city(folder, **town, **queries))
    if "maps" in wanted:
        # The photos are there: only their maps are made.
        sets = sets._replace(maps=out / MAPS)
        _made_whole(
            out / MAPS,
            lambda folder: make_mapped_city(sets.city, folder, CityShape(**town, **queries)),
        )
    if {"plain", "undistorted"} & wanted:
        folder = out / PANORAMAS
        _made_whole(folder, lambda part: make_toy_panoramas(part, sets.city, **town))
        sets = sets._replace(plain=folder / PLAIN, undistorted=folder / UNDISTORTED)
    return sets


def _made_whole(folder: Path, make: Callable[[Path], object]) -> None:
    """Make a folder under another name first: one that was stopped is made anew."""
    if folder.is_dir():
        return
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    make(part)
    part.rename(folder)
