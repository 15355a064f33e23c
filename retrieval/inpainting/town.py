"""A SYNTHETIC busy town for `retrieval.inpainting_report`: as it is, painted over, and empty.

Exact maps of people and cars (data/toy/truth.py) stand in for a segmentation network, so that what
is compared is what to do about them, not how well they are found. A folder holds one town: its
settings lie beside it, in town.json, and others are refused.
"""

import json
from pathlib import Path
from typing import NamedTuple

import simplejpeg
from rich.console import Console
from rich.progress import track

from data.images import read_rgb
from data.seg_maps.stored_maps import StoredMaps
from data.toy.truth import CityShape, make_mapped_city
from models.inpainting.inpainter import Inpainter, load_inpainter
from models.inpainting.objects import moving_classes, object_hole
from models.inpainting.recipe import InpaintingRecipe
from partitioning.atomic_file import atomic_path

QUALITY, SETTINGS = 95, "town.json"


class Town(NamedTuple):
    """Folders of one town.

    Attributes:
        plain: Its photos, with people and cars.
        maps: Where those stand.
        painted: The photos, painted over.
        empty: The photos that an empty town would give: what painting can reach at best.
    """

    plain: Path
    maps: Path
    painted: Path
    empty: Path


class TownSettings(NamedTuple):
    """What it is like.

    Attributes:
        busy: Its photos as they are.
        steps: How long painting is learned in its training district.
    """

    busy: CityShape = CityShape((2, 2), 15.0, 400, (96, 128), passers_by=12)
    steps: int = 600


def make_town(folder: Path, settings: TownSettings) -> Town:
    """Make the town, learn painting on its training district, paint the test district.

    What is there already is not made again.

    Args:
        folder: For all of it.
        settings: Of the town.

    Raises:
        ValueError, OSError: it cannot be made, or the folder holds a town of other settings.
    """
    open_town(folder, settings)
    town = Town(*(folder / name for name in ("plain", "maps", "painted", "empty")))
    busy, empty = settings.busy, settings.busy._replace(passers_by=0)
    make_mapped_city(town.plain, town.maps, busy, splits=("train", "test"))
    make_mapped_city(town.empty, folder / "empty-maps", empty, splits=("test",))
    photos = town.plain / "images" / "train"
    inpainter = _learned(folder / "inpainter", photos, settings.steps, busy.seed)
    paint(town, inpainter)
    return town


def open_town(folder: Path, settings: TownSettings) -> None:
    """Remember what town a folder holds.

    Raises:
        ValueError: it holds one of other settings, or of settings that nobody knows.
    """
    path, shape = folder / SETTINGS, settings.busy._asdict()
    ours = {**json.loads(json.dumps(shape)), "steps": settings.steps}
    try:
        before = json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        raise ValueError(f"{path} cannot be read; take another --out") from None
    if not path.is_file() and (folder / "plain").exists():
        raise ValueError(f"{folder} holds a town and no {SETTINGS}; take another --out")
    if before and before != ours:
        was = before if isinstance(before, dict) else {}
        shown = ", ".join(f"{k}: {was.get(k)}, now {v}" for k, v in ours.items() if was.get(k) != v)
        raise ValueError(f"{folder} holds a town of other settings ({shown}); take another --out")
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(ours, indent=2) + "\n")


def paint(town: Town, inpainter: Inpainter) -> None:
    """Paint the photos of the test district."""
    maps = StoredMaps(town.maps, town.plain)
    numbers = moving_classes(maps.classes.names)
    photos = sorted((town.plain / "images" / "test").rglob("*.jpg"))
    for path in track(photos, "painting", console=Console(stderr=True)):
        place = town.painted / path.relative_to(town.plain)
        if place.is_file():
            continue
        rgb = read_rgb(path)
        hole = object_hole(maps.of(path, (rgb.shape[0], rgb.shape[1])), numbers)
        filled = rgb if hole.all() else inpainter.fill(rgb, hole)
        with atomic_path(place) as temporary:
            temporary.write_bytes(simplejpeg.encode_jpeg(filled, quality=QUALITY))


def _learned(out: Path, photos: Path, steps: int, seed: int) -> Inpainter:
    from models.inpainting.train import train

    if (out / "model.safetensors").is_file():
        return load_inpainter(out)
    recipe = InpaintingRecipe(
        photos=str(photos), out=str(out), width=16, depth=5, size=96, batch=8, features="none",
        steps=steps, frozen_steps=steps // 5, lr=2e-3, frozen_lr=5e-4, seed=seed,
        resume=any((out / "checkpoints").glob("step*.ckpt")),
    )  # fmt: skip
    return train(recipe)
