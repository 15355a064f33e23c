"""What every pixel of the made-up town's photographs shows, exactly: sky, road, building, object.

SYNTHETIC truth for what else only a segmentation network could tell: the share of buildings, and
where people and cars hide them. A set with its maps, the photos byte for byte those of
`data.toy.city.make_toy_city`:

    make_mapped_city(Path("toy"), Path("toy-maps"), CityShape(queries=100))
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from data.seg_maps.classes import SegClasses
from data.seg_maps.png import encode_seg
from data.seg_maps.stored_maps import write_classes
from data.toy.camera import EYE_M, FARTHEST_M, Light, Pose, cast, photograph, stand_in_the_way
from data.toy.city import DISTRICTS, QUALITY, district, shots
from data.toy.town import Town
from partitioning.atomic_file import atomic_path

SKY, ROAD, BUILDING, PASSER_BY = range(4)
CLASSES = SegClasses(
    ("sky", "road", "building", "passer-by"),
    ((70, 130, 180), (128, 64, 128), (70, 70, 70), (220, 20, 60)),
    "data/toy/truth.py: exact, of synthetic photos",
)


class CityShape(NamedTuple):
    """How large a set is, as `data.toy.city.make_toy_city`'s arguments, and how busy.

    Attributes:
        blocks: Of each district.
        step_m: Between the places of the database.
        queries: In each split.
        size: Height and width of the photos, pixels.
        night_share: Of the queries that are taken by night.
        seed: Of town and photos.
        passers_by: People and cars in each photo; 0 leaves the streets empty.
    """

    blocks: tuple[int, int] = (3, 3)
    step_m: float = 10.0
    queries: int = 300
    size: tuple[int, int] = (160, 224)
    night_share: float = 0.0
    seed: int = 0
    passers_by: int = 4


def label(
    town: Town,
    pose: Pose,
    size: tuple[int, int] = (160, 224),
    hfov_deg: float = 80.0,
    passers_by: int = 4,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """The map of the photo that `data.toy.camera.photograph` takes with the same arguments.

    Returns:
        uint8 `(height, width)`: numbers of `CLASSES`; "passer-by" is people and cars.
    """
    height, width = size
    focal_px = width / 2 / math.tan(math.radians(hfov_deg) / 2)
    across = (np.arange(width, dtype=np.float64) + 0.5 - width / 2) / focal_px
    up = (height / 2 - 0.5 - np.arange(height, dtype=np.float64))[:, None] / focal_px
    front, _, depth_m = cast(town.facades, pose, across)
    level_m = EYE_M + up * depth_m
    is_wall = (level_m >= 0) & (level_m <= town.facades.height[front]) & (depth_m < FARTHEST_M)
    seg = np.where(is_wall, BUILDING, np.where(up > 0, SKY, ROAD)).astype(np.uint8)
    # The camera's own brush on a canvas of nothing: what it touches is hidden.
    canvas, random = np.full((height, width, 3), np.nan), np.random.default_rng(seed)
    for _ in range(passers_by):
        stand_in_the_way(canvas, across, up, depth_m, Light(), random)
    seg[~np.isnan(canvas[..., 0])] = PASSER_BY
    return seg


def make_mapped_city(
    output: Path,
    maps: Path,
    shape: CityShape,
    splits: tuple[str, ...] = tuple(DISTRICTS),
) -> int:
    """Write a set of places and its maps; what is there already is not made again.

    Args:
        output: Folder of the photos.
        maps: Folder of the maps.
        shape: Of the set.
        splits: Which of train, val and test.

    Returns:
        Number of photos.
    """
    write_classes(maps, CLASSES)
    console, count = Console(stderr=True), 0
    size, passers_by = shape.size, shape.passers_by
    for split in splits:
        town = district(split, shape.blocks, shape.seed)
        photos = shots(town, split, shape.step_m, shape.queries, shape.night_share, shape.seed)
        for path, pose, light, seed in track(photos, split, console=console):
            photo, seg_png = output / path, (maps / path).with_suffix(".png")
            if not photo.is_file():
                rgb = photograph(town, pose, size, light=light, passers_by=passers_by, seed=seed)
                _write(photo, simplejpeg.encode_jpeg(rgb, quality=QUALITY))
            if not seg_png.is_file():
                seg = label(town, pose, size, passers_by=passers_by, seed=seed)
                _write(seg_png, encode_seg(seg, CLASSES))
        count += len(photos)
    return count


def _write(path: Path, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
