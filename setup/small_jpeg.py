"""Pictures of any kind as small, upright JPEGs without metadata."""

import numpy as np
import simplejpeg

from data.formats import MAX_PIXELS
from data.images import ImageError, decode_rgb

JPEG_QUALITY = 90


def as_small_jpeg(
    data: bytes, name: str, size: int, max_pixels: int = MAX_PIXELS
) -> tuple[bytes, int, int]:
    """Make an upright JPEG without metadata, whose short side has `size` pixels.

    A smaller picture, or any with size 0, keeps its size.

    Returns:
        The file, its width and height in pixels.

    Raises:
        ImageError: not an image, truncated, or more than `max_pixels`.
    """
    from PIL import Image

    rgb = decode_rgb(data, name, max_pixels, min_side=size)
    height, width = rgb.shape[:2]
    scale = size / min(height, width)
    if 0 < scale < 1:
        width, height = round(width * scale), round(height * scale)
        picture = Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC)
        rgb = np.asarray(picture)
    try:
        jpeg = simplejpeg.encode_jpeg(rgb, quality=JPEG_QUALITY, colorsubsampling="420")
    except ValueError as error:  # longer than the 65,535 pixels that a JPEG can have
        raise ImageError(f"{name}: {width} x {height} does not fit a JPEG; crop it") from error
    return jpeg, width, height
