"""A panorama's file to the whole sphere: checked, padded where its camera saw less, not too large.

Whether a picture is a panorama: GPano says so, or it is twice as wide as high. Where GPano says
(or its table) that it covers a part of the sphere only, what is missing is black.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.images import decode_rgb, read_bytes
from data.panoramas.tags import Crop, PanoramaTags, read_tags
from data.photos.formats import MAX_PIXELS, ImageError
from data.place_sets.photos import resized

MAX_PANORAMA_PIXELS = 2 * 10**8  # of the whole sphere: 20,000 x 10,000
SHRINK_FROM = 1.25  # times the pixels that are needed, below which shrinking gains nothing


class NoPanorama(ImageError):
    """A picture that is none; the message says why."""


def read_panorama(
    path: Path, min_height: int = 0, crop: Crop | None = None
) -> tuple[NDArray[np.uint8], PanoramaTags]:
    """Read a panorama and its tags.

    Args:
        path: Of the file.
        min_height: If positive, a panorama much higher than this is shrunk to this height, so that
            no picture out of it shows every second pixel only (see `height_for`).
        crop: Where it lies in the sphere, if not as its tags say.

    Returns:
        uint8 `(H, 2 H, 3)` and the tags.

    Raises:
        NoPanorama: it is none.
        ImageError: it cannot be read.
    """
    data = read_bytes(path)
    tags = read_tags(data, str(path))
    if crop:
        tags = replace(tags, crop=crop, is_equirectangular=True)
    whole = whole_sphere(tags, str(path))
    hint = math.floor(min_height * tags.height / whole.full_height)
    rgb = decode_rgb(data, str(path), MAX_PIXELS, hint)
    full = _padded(rgb, whole, str(path))
    return _shrunk(full, min_height), tags


def whole_sphere(tags: PanoramaTags, name: str) -> Crop:
    """Where the stored picture lies in the sphere, in its own pixels.

    Raises:
        NoPanorama: it is none, or its GPano tags make no sense.
    """
    is_partial = tags.crop is not None and tags.is_equirectangular
    if tags.crop is None or not is_partial:
        if tags.width != 2 * tags.height:
            raise NoPanorama(
                f"{name}: {tags.width} x {tags.height} is not 2:1, and no GPano tags say what part "
                "of the sphere it shows"
            )
        return Crop(tags.width, tags.height, 0, 0, tags.width, tags.height)
    crop, scale = tags.crop, tags.width / max(tags.crop.width, 1)  # it may have been made smaller
    full_width, full_height = crop.full_width * scale, crop.full_height * scale
    fits = (
        0 <= crop.left <= crop.full_width - crop.width + 1
        and 0 <= crop.top <= crop.full_height - crop.height + 1
        and abs(crop.height * scale - tags.height) <= max(2, 0.01 * tags.height)
        and abs(full_width - 2 * full_height) <= 0.01 * full_width
    )
    if not fits or full_width * full_height > MAX_PANORAMA_PIXELS:
        raise NoPanorama(
            f"{name}: its GPano tags, or its table, put {tags.width} x {tags.height} pixels as "
            f"{crop}; that is no part of a 2:1 panorama of up to {MAX_PANORAMA_PIXELS:,} pixels; "
            "mend or remove them"
        )
    left, top = crop.left * scale, crop.top * scale
    return Crop(full_width, full_height, left, top, tags.width, tags.height)


def height_for(hfov_deg: float, size: tuple[int, int]) -> int:
    """Height of a panorama whose pixels are as large as those in the middle of a picture."""
    focal_px = size[1] / 2 / math.tan(math.radians(hfov_deg) / 2)
    return max(1, round(focal_px * math.pi))


def _padded(rgb: NDArray[np.uint8], whole: Crop, name: str) -> NDArray[np.uint8]:
    """Put a picture, which may have been decoded smaller, into the sphere."""
    scale = rgb.shape[1] / whole.width
    height = round(whole.full_width * scale / 2)
    if rgb.shape[:2] == (height, 2 * height):
        return rgb
    full = np.zeros((height, 2 * height, 3), np.uint8)
    top, left = round(whole.top * scale), round(whole.left * scale)
    part = rgb[: height - top, : 2 * height - left]
    if part.size == 0:
        raise NoPanorama(f"{name}: lies outside of the sphere that its tags tell of")
    full[top : top + part.shape[0], left : left + part.shape[1]] = part
    return full


def _shrunk(panorama: NDArray[np.uint8], min_height: int) -> NDArray[np.uint8]:
    import torch

    if min_height < 1 or len(panorama) <= SHRINK_FROM * min_height:
        return panorama
    small = resized(torch.from_numpy(panorama).permute(2, 0, 1), (min_height, 2 * min_height))
    return small.permute(1, 2, 0).contiguous().numpy()
