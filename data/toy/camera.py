"""Photographs of a made-up town, by casting a ray through every column of the picture.

SYNTHETIC; the town: data/toy/town.py. Walls are upright, so all pixels of a column see the same
front: its distance says which height of it each of them sees. Passers-by and cars stand in the way,
different ones in every photo; by night the light comes from lamps and some of the windows.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.toy.town import PATTERN, Facades, Town

EYE_M = 1.7
FARTHEST_M = 400.0
SUN = np.array([0.6, 0.8])  # where the light comes from, seen from above
OUTLINE_M = 0.18  # width of a window's frame
LAMP_STEP_M = 17.0


@dataclass(frozen=True)
class Pose:
    """Where a camera stands and looks.

    Attributes:
        x, y: Metres east and north.
        heading_deg: From north, clockwise.
    """

    x: float
    y: float
    heading_deg: float


@dataclass(frozen=True)
class Light:
    """The light of a photo.

    Attributes:
        is_night: Whether lamps and windows give it.
        exposure: Factor on all brightness.
        warmth: Shift from blue to red, -1 to 1.
    """

    is_night: bool = False
    exposure: float = 1.0
    warmth: float = 0.0


def photograph(
    town: Town,
    pose: Pose,
    size: tuple[int, int] = (160, 224),
    hfov_deg: float = 80.0,
    light: Light | None = None,
    passers_by: int = 4,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Take a photo.

    Args:
        town: What stands there.
        pose: Where the camera is.
        size: Height and width of the photo, pixels.
        hfov_deg: Horizontal field of view.
        light: Of the photo; None is plain day.
        passers_by: People and cars in the way.
        seed: Of those and of the camera's noise.

    Returns:
        uint8 `(height, width, 3)`.
    """
    light = light or Light()
    random = np.random.default_rng(seed)
    height, width = size
    focal_px = width / 2 / math.tan(math.radians(hfov_deg) / 2)
    columns_px, rows_px = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    across = (columns_px + 0.5 - width / 2) / focal_px  # tangent of each column's angle
    front, along_m, depth_m = cast(town.facades, pose, across)
    up = (height / 2 - 0.5 - rows_px)[:, None] / focal_px
    level_m = EYE_M + up * depth_m  # height above ground, (height, width)
    picture = _walls(town.facades, front, along_m, level_m, light, seed)
    is_wall = (level_m >= 0) & (level_m <= town.facades.height[front]) & (depth_m < FARTHEST_M)
    background = np.where((up > 0)[..., None], _sky(up, light), _ground(pose, across, up, light))
    picture = np.where(is_wall[..., None], picture, background)
    for _ in range(passers_by):
        stand_in_the_way(picture, across, up, depth_m, light, random)
    picture = picture * light.exposure * (1 + 0.15 * light.warmth * np.array([1, 0, -1]))
    noise = random.normal(0, 0.03 if light.is_night else 0.012, picture.shape)
    return (np.clip(picture + noise, 0, 1) * 255 + 0.5).astype(np.uint8)


def cast(
    facades: Facades, pose: Pose, across: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Which front each column sees, where along it, and how far ahead.

    Args:
        facades: All fronts.
        pose: Of the camera.
        across: `(W,)`, tangents of the columns' angles to the heading.

    Returns:
        Row of the front, metres from its start, and depth in metres along the heading; each `(W,)`.
        Where nothing is hit the depth is `FARTHEST_M`.
    """
    heading = math.radians(pose.heading_deg)
    ahead = np.array([math.sin(heading), math.cos(heading)])
    right = np.array([math.cos(heading), -math.sin(heading)])
    rays = ahead + across[:, None] * right  # one metre of depth each
    edge = facades.end - facades.start
    offset = facades.start - np.array([pose.x, pose.y])
    # Solve position + depth ray = start + share edge for every ray and front.
    turn = rays[:, :1] * edge[:, 1] - rays[:, 1:] * edge[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (offset[:, 0] * edge[:, 1] - offset[:, 1] * edge[:, 0]) / turn
        share = (offset[:, 0] * rays[:, 1:] - offset[:, 1] * rays[:, :1]) / turn
    is_hit = (depth > 0.05) & (share >= 0) & (share <= 1)
    depth = np.where(is_hit, depth, FARTHEST_M)
    front, columns = depth.argmin(axis=1), np.arange(len(across))
    along = np.where(is_hit, share, 0.0)[columns, front] * np.linalg.norm(edge, axis=1)[front]
    return front, along, depth[columns, front]


def _walls(
    facades: Facades,
    front: NDArray[np.int64],
    along_m: NDArray[np.float64],
    level_m: NDArray[np.float64],
    light: Light,
    seed: int,
) -> NDArray[np.float64]:
    """Colours `(H, W, 3)` of the fronts, as if they covered the whole picture."""
    bay, storey = facades.bay[front], facades.storey[front]
    column, in_bay = np.divmod(along_m, bay)
    floor, in_storey = np.divmod(level_m, storey)
    share = facades.window[front]
    beside = np.abs(in_bay - bay / 2) - share[:, 0] * bay / 2  # below 0: within the window
    above = np.abs(in_storey - storey / 2) - share[:, 1] * storey / 2
    outside = np.maximum(beside, above)
    rows = np.clip(level_m * 2, 0, None).astype(np.int64) % PATTERN
    pattern = facades.pattern[front, rows, (along_m * 2).astype(np.int64) % PATTERN]
    colour = facades.wall[front] * (1 + 0.35 * pattern[..., None])
    colour = np.where((outside < OUTLINE_M)[..., None], facades.frame[front], colour)
    colour = colour * _brightness(facades, front, along_m, level_m, light)[..., None]
    glass = facades.glass[front] * (0.25 if light.is_night else 1.0)
    if light.is_night:
        is_lit = _chance(front, column, floor, seed) < 0.3
        glass = np.where(is_lit[..., None], np.array([1.0, 0.85, 0.5]), glass)
    return np.where((outside < 0)[..., None], glass, colour)


def _brightness(
    facades: Facades,
    front: NDArray[np.int64],
    along_m: NDArray[np.float64],
    level_m: NDArray[np.float64],
    light: Light,
) -> NDArray[np.float64]:
    if light.is_night:
        to_lamp = np.abs((along_m % LAMP_STEP_M) - LAMP_STEP_M / 2)
        return 0.08 + 0.5 * np.exp(-((to_lamp / 4) ** 2) - (np.abs(level_m - 3) / 4) ** 2)
    edge = (facades.end - facades.start)[front]
    normal = np.stack([edge[:, 1], -edge[:, 0]], axis=1) / np.linalg.norm(edge, axis=1)[:, None]
    return np.broadcast_to(0.65 + 0.35 * np.clip(normal @ SUN, 0, 1), level_m.shape)


def _chance(
    front: NDArray[np.int64], column: NDArray[np.float64], floor: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """A number in 0..1 for each window, the same for all its pixels."""
    mixed = np.sin(front * 12.9898 + column * 78.233 + floor * 37.719 + seed * 3.17) * 43758.5453
    return mixed - np.floor(mixed)


def _sky(up: NDArray[np.float64], light: Light) -> NDArray[np.float64]:
    low, high = ((0.78, 0.86, 0.95), (0.35, 0.55, 0.9))
    if light.is_night:
        low, high = ((0.05, 0.05, 0.1), (0.01, 0.01, 0.04))
    share = np.clip(up, 0, 1)[..., None]
    return np.array(low) * (1 - share) + np.array(high) * share


def _ground(
    pose: Pose, across: NDArray[np.float64], up: NDArray[np.float64], light: Light
) -> NDArray[np.float64]:
    depth = EYE_M / np.maximum(-up, 1e-3)
    heading = math.radians(pose.heading_deg)
    x = pose.x + depth * (math.sin(heading) + across * math.cos(heading))
    y = pose.y + depth * (math.cos(heading) - across * math.sin(heading))
    is_dark = (np.floor(x / 2) + np.floor(y / 2)) % 2
    grey = (0.34 + 0.05 * is_dark) * (0.15 if light.is_night else 1.0)
    return grey[..., None] * np.array([1.0, 0.98, 0.95])


def stand_in_the_way(
    picture: NDArray[np.float64],
    across: NDArray[np.float64],
    up: NDArray[np.float64],
    depth_m: NDArray[np.float64],
    light: Light,
    random: np.random.Generator,
) -> None:
    """Paint one person or car onto the picture, where no wall is nearer."""
    depth, aside = random.uniform(3, 18), random.uniform(-6, 6)
    is_car = random.random() < 0.5
    width, height = (4.2, 1.5) if is_car else (0.6, 1.8)
    colour = random.uniform(0.05, 0.9, 3) * (0.25 if light.is_night else 1.0)
    columns = (np.abs(across * depth - aside) < width / 2) & (depth < depth_m)
    level = EYE_M + up[:, 0] * depth
    rows = (level > 0) & (level < height)
    picture[np.ix_(rows, columns)] = colour
    if is_car:
        panes = (level > 0.8) & (level < 1.35)
        picture[np.ix_(panes, columns)] = colour * 0.3
