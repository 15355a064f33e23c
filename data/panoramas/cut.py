"""Plain cuts out of panoramas: a rectangle of the stored picture, bent lines and all.

The simple way that undistortion (data/panorama.py) is compared with: a band of the panorama
without sky and car (checklist T2: the top 4/13 and the bottom 5/13 dropped), cut into tiles.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from data.panorama import (
    BOTTOM_SHARE,
    FULL_CIRCLE_DEG,
    TOP_SHARE,
    Tile,
    check_panorama,
    even_yaws_deg,
)
from data.place_sets.photos import resized

HALF_CIRCLE_DEG = 180.0
# What is left of the height, and where its middle looks: 55.4 degrees at 6.9 degrees up.
BAND_HEIGHT_DEG = HALF_CIRCLE_DEG * (1 - TOP_SHARE - BOTTOM_SHARE)
BAND_PITCH_DEG = HALF_CIRCLE_DEG * (BOTTOM_SHARE - TOP_SHARE) / 2


def plain_cut(
    panorama: NDArray[np.uint8],
    yaw_deg: float,
    pitch_deg: float,
    hfov_deg: float,
    vfov_deg: float,
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    """Cut out the rectangle of a panorama that spans these angles, around the seam if need be.

    Args:
        panorama: uint8 `(H, W, 3)`, all 360 by 180 degrees, W = 2 H.
        yaw_deg: Where its middle looks, as `data.panorama.undistort`.
        pitch_deg: Likewise.
        hfov_deg: Its width, over 0 and up to 360.
        vfov_deg: Its height; it must not reach beyond a pole.
        size: Height and width of the picture in pixels, to which the rectangle is squeezed or
            stretched.

    Returns:
        uint8 `(height, width, 3)`.

    Raises:
        ValueError: no panorama, no such rectangle or size.
    """
    check_panorama(panorama)
    if not (0 < hfov_deg <= FULL_CIRCLE_DEG and math.isfinite(yaw_deg) and min(size) >= 1):
        raise ValueError(
            f"no cut {hfov_deg:g} degrees wide at yaw {yaw_deg:g} to {size[1]} x {size[0]} px; "
            "its width must be over 0 and up to 360 degrees"
        )
    if not (vfov_deg > 0 and abs(pitch_deg) + vfov_deg / 2 <= HALF_CIRCLE_DEG / 2 + 1e-9):
        raise ValueError(
            f"a cut {vfov_deg:g} degrees high at pitch {pitch_deg:g} reaches beyond a pole"
        )
    height, width = panorama.shape[:2]
    top = round(height * (0.5 - (pitch_deg + vfov_deg / 2) / HALF_CIRCLE_DEG))
    rows = max(1, round(height * vfov_deg / HALF_CIRCLE_DEG))
    left = round(width * (0.5 + (yaw_deg - hfov_deg / 2) / FULL_CIRCLE_DEG))
    columns = max(1, round(width * hfov_deg / FULL_CIRCLE_DEG))
    around = np.arange(left, left + columns) % width
    cut = torch.from_numpy(panorama[top : top + rows].take(around, axis=1))
    return resized(cut.permute(2, 0, 1), size).permute(1, 2, 0).contiguous().numpy()


def band_tiles(
    panorama: NDArray[np.uint8],
    count: int = 10,
    hfov_deg: float | None = None,
    size: tuple[int, int] = (480, 640),
) -> list[Tile]:
    """Cut the useful band into tiles all around, evenly spaced, the first straight ahead.

    Args:
        panorama: As `plain_cut`.
        count: Of tiles.
        hfov_deg: Width of one; None lets each begin where the one before ends.
        size: Height and width of a tile in pixels.

    Raises:
        ValueError: count is below 1, or as `plain_cut`.
    """
    yaws = even_yaws_deg(count)
    across = FULL_CIRCLE_DEG / count if hfov_deg is None else hfov_deg
    angles = BAND_PITCH_DEG, across, BAND_HEIGHT_DEG
    return [Tile(plain_cut(panorama, yaw, *angles, size), yaw) for yaw in yaws]
