"""Pinhole pictures out of spherical panoramas: the inverse gnomonic projection.

A panorama is equirectangular: column is longitude, row is latitude, the middle column looks ahead.
For every pixel of the picture its ray is turned by pitch and yaw; where the ray meets the sphere,
the panorama is read by bilinear interpolation, around the seam and over the poles. A plain cut out
of a panorama bends straight lines; this does not. Formulas: Snyder, "Map Projections: A Working
Manual", 1987, p. 164.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

FULL_CIRCLE_DEG = 360.0
# Of the height of a street panorama: the car or sky above and below the useful band (checklist T2).
TOP_SHARE, BOTTOM_SHARE = 4 / 13, 5 / 13


class Places(NamedTuple):
    """Where on a panorama each pixel of a picture lies; float32 `(h, w)`, pixels.

    Whole numbers are the middles of the panorama's pixels.
    """

    rows: NDArray[np.float32]
    columns: NDArray[np.float32]


class Tile(NamedTuple):
    """A picture out of a panorama and where it looks, in degrees from the middle column."""

    picture: NDArray[np.uint8]
    yaw_deg: float


def undistort(
    panorama: NDArray[np.uint8],
    yaw_deg: float,
    pitch_deg: float,
    hfov_deg: float,
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    """Take a pinhole picture.

    Args:
        panorama: uint8 `(H, W, 3)`, all 360 by 180 degrees, W = 2 H.
        yaw_deg: Where to look; 0 is the middle column, growing to the right.
        pitch_deg: Likewise, growing upward; 0 is the horizon.
        hfov_deg: Horizontal field of view, over 0 and under 180.
        size: Height and width of the picture in pixels.

    Returns:
        uint8 `(height, width, 3)`.

    Raises:
        ValueError: no panorama of this shape, or no such field of view or size.
    """
    check_panorama(panorama)
    places = sampling_places(panorama.shape, yaw_deg, pitch_deg, hfov_deg, size)
    padded = _padded(panorama)
    rows, columns = places.rows + 1, places.columns + 1
    top, left = np.floor(rows).astype(np.int32), np.floor(columns).astype(np.int32)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    flat, stride = padded.reshape(-1, 3), padded.shape[1]
    first = top * stride + left
    upper = _between(flat.take(first, axis=0), flat.take(first + 1, axis=0), right)
    first += stride
    lower = _between(flat.take(first, axis=0), flat.take(first + 1, axis=0), right)
    return (_between(upper, lower, down) + np.float32(0.5)).astype(np.uint8)


def undistort_batch(
    panorama: Tensor,
    yaws_deg: Sequence[float],
    pitch_deg: float,
    hfov_deg: float,
    size: tuple[int, int],
) -> Tensor:
    """Take pictures at several yaws with torch, on the panorama's device; differentiable.

    Args:
        panorama: float `(3, H, W)`, W = 2 H.
        yaws_deg: Where to look, at least one.
        pitch_deg: As `undistort`.
        hfov_deg: As `undistort`.
        size: As `undistort`.

    Returns:
        float `(len(yaws_deg), 3, height, width)`.

    Raises:
        ValueError: as `undistort`, or no yaw.
    """
    if panorama.ndim != 3 or not panorama.is_floating_point() or not len(yaws_deg):
        raise ValueError(
            f"a panorama of floats (3, H, W) and at least one yaw are needed, not "
            f"{tuple(panorama.shape)} of {panorama.dtype} and {len(yaws_deg)} yaws"
        )
    channels, height, width = panorama.shape
    shape = (height, width, channels)
    every = [sampling_places(shape, yaw, pitch_deg, hfov_deg, size) for yaw in yaws_deg]
    ends = panorama[:, [0, -1]].roll(width // 2, dims=2)  # beyond a pole the other side begins
    rows = torch.cat([ends[:, :1], panorama, ends[:, 1:]], dim=1)
    padded = torch.cat([rows[:, :, -1:], rows, rows[:, :, :1]], dim=2)
    # grid_sample counts from -1 to 1 between the middles of the outermost pixels.
    x = np.stack([2 * (places.columns + 1) / (width + 1) - 1 for places in every])
    y = np.stack([2 * (places.rows + 1) / (height + 1) - 1 for places in every])
    grid = torch.from_numpy(np.stack([x, y], axis=-1)).to(panorama)
    return functional.grid_sample(
        padded.expand(len(every), -1, -1, -1), grid, align_corners=True, padding_mode="border"
    )


def tiles(
    panorama: NDArray[np.uint8],
    count: int = 10,
    hfov_deg: float = 60.0,
    pitch_deg: float = 0.0,
    size: tuple[int, int] = (480, 640),
) -> list[Tile]:
    """Pictures all around, evenly spaced, the first straight ahead.

    Neighbours overlap by hfov_deg - 360 / count degrees; a negative number is a gap. Each equals
    `undistort`'s to one level of brightness; torch takes them together in a third of the time.

    Raises:
        ValueError: count is below 1, or as `undistort`.
    """
    yaws = even_yaws_deg(count)
    check_panorama(panorama)
    floats = torch.from_numpy(panorama).permute(2, 0, 1).float()
    pictures = undistort_batch(floats, yaws, pitch_deg, hfov_deg, size).add_(0.5)
    pixels = pictures.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return [Tile(*pair) for pair in zip(pixels, yaws, strict=True)]


def even_yaws_deg(count: int) -> list[float]:
    """Yaws all around, the first straight ahead; raises ValueError for a count below 1."""
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    return [FULL_CIRCLE_DEG * number / count for number in range(count)]


def vertical_fov_deg(hfov_deg: float, size: tuple[int, int]) -> float:
    """Vertical field of view of a pinhole picture of `size` (height, width)."""
    half = math.tan(math.radians(hfov_deg) / 2) * size[0] / size[1]
    return 2 * math.degrees(math.atan(half))


def heading_deg(panorama_heading_deg: float, yaw_deg: float) -> float:
    """Compass heading of a tile, 0 to 360; the panorama's middle column looks to the given one."""
    return (panorama_heading_deg + yaw_deg) % FULL_CIRCLE_DEG


def nadir_mask(height: int, below_deg: float = 60.0) -> NDArray[np.bool_]:
    """Which rows `(H,)` of a panorama look down steeper than `below_deg`: at car or tripod."""
    return _latitudes_deg(np.arange(height), height) < -below_deg


def sampling_places(
    shape: tuple[int, ...],
    yaw_deg: float,
    pitch_deg: float,
    hfov_deg: float,
    size: tuple[int, int],
) -> Places:
    """Where on a panorama of `shape` each pixel of a picture lies; arguments as `undistort`.

    Raises:
        ValueError: as `undistort`.
    """
    height, width = _checked(shape)
    if not 0 < hfov_deg < 180:
        raise ValueError(f"hfov_deg must lie between 0 and 180, got {hfov_deg:g}")
    if min(size) < 1 or not (math.isfinite(yaw_deg) and math.isfinite(pitch_deg)):
        raise ValueError(f"no picture of {size[1]} x {size[0]} at {yaw_deg:g}, {pitch_deg:g}")
    turns, latitudes = _rays(float(pitch_deg), float(hfov_deg), (size[0], size[1]))
    columns = np.mod((turns + (yaw_deg / FULL_CIRCLE_DEG + 0.5)) * width, width) - 0.5
    rows = (0.5 - latitudes) * height - 0.5
    return Places(rows.astype(np.float32), columns.astype(np.float32))


@lru_cache(maxsize=16)  # a panorama's ten tiles have the same rays as the next one's
def _rays(
    pitch_deg: float, hfov_deg: float, size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes from the picture's middle in full turns, latitudes in half turns, `(h, w)`."""
    focal_px = size[1] / 2 / math.tan(math.radians(hfov_deg) / 2)
    x = (np.arange(size[1]) - (size[1] - 1) / 2)[None] / focal_px  # right
    y = ((size[0] - 1) / 2 - np.arange(size[0]))[:, None] / focal_px  # up
    sine, cosine = math.sin(math.radians(pitch_deg)), math.cos(math.radians(pitch_deg))
    up, ahead = sine + cosine * y, cosine - sine * y
    turns = np.arctan2(x, ahead) / (2 * math.pi)
    return turns, np.arctan2(up, np.hypot(x, ahead)) / math.pi


def check_panorama(panorama: NDArray[np.uint8]) -> None:
    """Raise ValueError unless it is uint8 `(H, 2 H, 3)`."""
    if panorama.dtype != np.uint8:
        raise ValueError(f"a panorama is of bytes (uint8), not {panorama.dtype}")
    _checked(panorama.shape)


def _latitudes_deg(rows: NDArray[np.int64], height: int) -> NDArray[np.float64]:
    return (0.5 - (rows + 0.5) / height) * 180


def _checked(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 3 or shape[2] != 3 or shape[1] != 2 * shape[0] or not shape[0]:
        raise ValueError(
            f"a panorama is (H, 2 H, 3), all 360 by 180 degrees; this is {shape}: pad the missing "
            "rows with black first"
        )
    return shape[0], shape[1]


def _padded(panorama: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One more pixel on each side: beyond the seam the other edge, beyond a pole the other side."""
    shifted = np.roll(panorama[[0, -1]], panorama.shape[1] // 2, axis=1)
    rows = np.concatenate([shifted[:1], panorama, shifted[1:]])
    return np.concatenate([rows[:, -1:], rows, rows[:, :1]], axis=1)


def _between(
    a: NDArray[np.uint8 | np.float32], b: NDArray[np.uint8 | np.float32], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    start = a.astype(np.float32)
    return start + (b.astype(np.float32) - start) * share
