"""A SYNTHETIC set of places: a made-up town, photographed by day and by night.

DIR/images/{train,val,test}/{database,queries}, the layout of data/places.py, with exact positions
and headings. Each split is a district with houses of its own. The database is taken by day, along
the middle of the streets, looking in four directions; queries stand aside of it, look a little
elsewhere, on another day or by night, with other passers-by. Nobody photographs the empty plain
around a district: such photos would be the same in all of them. By hand: `python -m
setup.make_toy_city`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from data.place_sets.names import PlaceName
from data.toy.camera import FARTHEST_M, Light, Pose, cast, photograph
from data.toy.town import Town, build_town
from partitioning.atomic_file import atomic_path

DISTRICTS = {"train": 0, "val": 1, "test": 2}
DISTRICT_M = 2000.0  # from one district's corner to the next one's
EAST_M, NORTH_M, ZONE, LETTER = 395_000.0, 4_991_000.0, 32, "T"
HEADINGS_DEG = (0.0, 90.0, 180.0, 270.0)
AWAY_M, TURNED_DEG = 4.0, 20.0  # how far a query is from a photo of the database at most
LEAST_HOUSES = 0.2  # of a photo's width
ACROSS = np.linspace(-0.8, 0.8, 81)  # the width of a photo, as tangents
QUALITY = 85


class Shot(NamedTuple):
    """A photo to be taken.

    Attributes:
        path: Where it goes, from the set's folder.
        pose: Of the camera.
        light: Of the photo.
        seed: Of passers-by and noise.
    """

    path: Path
    pose: Pose
    light: Light
    seed: int


def make_toy_city(
    output: Path,
    blocks: tuple[int, int] = (3, 3),
    step_m: float = 10.0,
    queries: int = 300,
    size: tuple[int, int] = (160, 224),
    night_share: float = 0.0,
    seed: int = 0,
) -> dict[str, int]:
    """Write the set; the same arguments give the same files.

    Args:
        output: An empty folder, or one that is not there.
        blocks: Of each district.
        step_m: Between the places of the database.
        queries: In each split.
        size: Height and width of the photos, pixels.
        night_share: Of the queries that are taken by night.
        seed: Of town and photos.

    Returns:
        Number of photos of each split.

    Raises:
        ValueError: `output` is not empty, or an argument is out of range.
    """
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty; give an empty folder")
    if not (0 <= night_share <= 1 and step_m > 0 and queries > 0):
        raise ValueError("night_share must lie in 0..1, step_m and queries must be positive")
    counts, console = {}, Console(stderr=True)
    for split in DISTRICTS:
        town = district(split, blocks, seed)
        photos = shots(town, split, step_m, queries, night_share, seed)
        for shot in track(photos, split, console=console):
            picture = photograph(town, shot.pose, size, light=shot.light, seed=shot.seed)
            with atomic_path(output / shot.path) as temporary:
                temporary.write_bytes(simplejpeg.encode_jpeg(picture, quality=QUALITY))
        counts[split] = len(photos)
    return counts


def district(split: str, blocks: tuple[int, int], seed: int = 0) -> Town:
    """The town of a split."""
    return build_town(seed * len(DISTRICTS) + DISTRICTS[split], blocks)


def shots(
    town: Town, split: str, step_m: float, queries: int, night_share: float = 0.0, seed: int = 0
) -> list[Shot]:
    """The photos of a split, those of the database first; arguments as `make_toy_city`."""
    number_of_district = seed * len(DISTRICTS) + DISTRICTS[split]
    taken = [
        *_database(town, step_m),
        *_queries(town, step_m, queries, night_share, number_of_district),
    ]
    return [
        Shot(
            Path("images", split, folder, _name(pose, light, split, number)),
            pose,
            light,
            number_of_district * 1_000_003 + number,
        )
        for number, (folder, pose, light) in enumerate(taken)
    ]


def _database(town: Town, step_m: float) -> Iterator[tuple[str, Pose, Light]]:
    for x, y in town.street_points(step_m).tolist():
        poses = [Pose(x, y, heading) for heading in HEADINGS_DEG]
        yield from (("database", pose, Light()) for pose in poses if _shows_houses(town, pose))


def _queries(
    town: Town, step_m: float, count: int, night_share: float, seed: int
) -> Iterator[tuple[str, Pose, Light]]:
    random = np.random.default_rng((seed, 1))
    points = town.street_points(step_m)
    for number in range(count):
        pose = _pose_near(points, random)
        while not _shows_houses(town, pose):
            pose = _pose_near(points, random)
        exposure, warmth = random.uniform(0.65, 1.25), random.uniform(-1, 1)
        is_night = number < round(count * night_share)
        yield "queries", pose, Light(is_night, 1.0 if is_night else exposure, warmth)


def _pose_near(points: NDArray[np.float64], random: np.random.Generator) -> Pose:
    x, y = points[random.integers(len(points))] + random.uniform(-AWAY_M, AWAY_M, 2)
    heading = random.choice(HEADINGS_DEG) + random.uniform(-TURNED_DEG, TURNED_DEG)
    return Pose(float(x), float(y), float(heading % 360))


def _shows_houses(town: Town, pose: Pose) -> bool:
    depth_m = cast(town.facades, pose, ACROSS)[2]
    return float((depth_m < FARTHEST_M).mean()) >= LEAST_HOUSES


def _name(pose: Pose, light: Light, split: str, number: int) -> str:
    return str(
        PlaceName(
            EAST_M + DISTRICTS[split] * DISTRICT_M + pose.x,
            NORTH_M + pose.y,
            ZONE,
            LETTER,
            heading=round(pose.heading_deg, 1),
            pano_id=f"toy-{split}-{number}",
            note="night" if light.is_night else "day",
        )
    )
