"""SYNTHETIC panoramas of the made-up town, and the two sets of places cut out of them.

A panorama is put together from four photographs of 90 degrees (data/toy/camera.py), as a camera car
stitches its own; people and cars may be cut at a seam. Beyond 35 degrees up or down there is
nothing but the photographs' edges. Two sets come of them, with the positions, headings and fields
of view of the city's own photos (data/toy/city.py) and with its queries:

- `plain`: rectangles of the stored panorama, bent lines and all (data/panoramas/cut.py);
- `undistorted`: pinhole pictures (data/panorama.py).
"""

import shutil
from itertools import groupby
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from data.panorama import undistort, vertical_fov_deg
from data.panoramas.cut import plain_cut
from data.toy.camera import Pose, photograph
from data.toy.city import DISTRICTS, HEADINGS_DEG, QUALITY, Shot, district, shots
from data.toy.town import Town
from partitioning.atomic_file import atomic_path

PLAIN, UNDISTORTED = "plain", "undistorted"
HFOV_DEG = 80.0  # of the city's own photos
FACE_DEG = 90.0


def panorama(town: Town, x: float, y: float, height: int = 256, seed: int = 0) -> NDArray[np.uint8]:
    """Take a panorama by day; its middle column looks north.

    Args:
        town: What stands there.
        x: Where the camera is, metres east.
        y: Likewise, north.
        height: Of the panorama, px.
        seed: Of people, cars and noise.

    Returns:
        uint8 `(height, 2 height, 3)`.
    """
    square, poses = (height, height), [Pose(x, y, heading) for heading in HEADINGS_DEG]
    faces = np.stack(
        [photograph(town, p, square, FACE_DEG, seed=4 * seed + i) for i, p in enumerate(poses)]
    )
    longitude = ((np.arange(2 * height) + 0.5) / height - 1) * np.pi
    latitude = (0.5 - (np.arange(height)[:, None] + 0.5) / height) * np.pi
    face = np.round(longitude / (np.pi / 2)).astype(np.int64)
    aside = longitude - face * (np.pi / 2)
    across = np.broadcast_to(np.tan(aside), (height, 2 * height))
    up = np.tan(latitude) / np.cos(aside)
    columns = _pixel((across + 1) / 2, height)
    rows = _pixel((1 - np.clip(up, -1, 1)) / 2, height)
    found: NDArray[np.uint8] = faces[face % 4, rows, columns]
    return found


def make_toy_panoramas(
    output: Path,
    city: Path,
    blocks: tuple[int, int] = (3, 3),
    step_m: float = 10.0,
    size: tuple[int, int] = (160, 224),
    seed: int = 0,
    height: int = 256,
) -> dict[str, int]:
    """Write output/plain and output/undistorted; the same arguments give the same files.

    Args:
        output: An empty folder, or one that is not there.
        city: What `data.toy.city.make_toy_city` wrote with the same blocks, step and seed; the
            queries are copied from there.
        blocks: Of each district.
        step_m: Between the panoramas.
        size: Height and width of the pictures, px.
        seed: Of the town.
        height: Of the panoramas, px.

    Returns:
        Panoramas of each split.

    Raises:
        ValueError: `output` is not empty, or there is no city.
    """
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty; give an empty folder")
    counts = {}
    for split in DISTRICTS:
        queries = city / "images" / split / "queries"
        if not queries.is_dir():
            raise ValueError(f"no folder {queries}; make the city first: data/toy/city.py")
        town = district(split, blocks, seed)
        photos = shots(town, split, step_m, queries=0, seed=seed)
        places = [
            list(group) for _, group in groupby(photos, lambda shot: (shot.pose.x, shot.pose.y))
        ]
        console = Console(stderr=True)
        for views in track(places, f"{split}: panoramas", console=console):
            pose = views[0].pose
            taken = panorama(town, pose.x, pose.y, height, views[0].seed)
            for shot in views:
                _write_cuts(output, shot, taken, size)
        for name in (PLAIN, UNDISTORTED):
            shutil.copytree(queries, output / name / "images" / split / "queries")
        counts[split] = len(places)
    return counts


def _write_cuts(output: Path, shot: Shot, taken: NDArray[np.uint8], size: tuple[int, int]) -> None:
    heading, vfov_deg = shot.pose.heading_deg, vertical_fov_deg(HFOV_DEG, size)
    cuts = {
        PLAIN: plain_cut(taken, heading, 0, HFOV_DEG, vfov_deg, size),
        UNDISTORTED: undistort(taken, heading, 0, HFOV_DEG, size),
    }
    for kind, picture in cuts.items():
        with atomic_path(output / kind / shot.path) as temporary:
            temporary.write_bytes(simplejpeg.encode_jpeg(picture, quality=QUALITY))


def _pixel(share: NDArray[np.float64], side: int) -> NDArray[np.int64]:
    """The pixel at a share 0..1 of a side."""
    return np.clip((share * side).astype(np.int64), 0, side - 1)
