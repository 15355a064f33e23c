"""Images that are not plain JPEGs, through Pillow: opened, checked and brought to 8-bit RGB.

CMYK, 16 bits a channel, palettes, transparency, animations, EXIF orientation. Bytes are hostile:
a few picture formats only, a limit on the size before any pixel is decoded, and every failure is
an `ImageError` that names the image and the way out. Pillow is imported when the first such image
comes.
"""

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data.photos.orientation import TAG, UPRIGHT, orient

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]

MAX_PIXELS = 89_478_485  # where Pillow begins to warn of a decompression bomb
# No vector or document formats: opening those may start another program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF")


class ImageError(ValueError):
    """An image that cannot be used; the message names it and tells the way out."""


def decode_any(data: bytes, name: str, max_pixels: int) -> Pixels:
    """Decode any accepted format to upright RGB uint8 `(H, W, 3)`; raises ImageError."""
    image = open_image(data, name, max_pixels)
    load_pixels(image, name)
    try:
        return orient(_as_rgb(image, name), stored_orientation(image))
    except ImageError:
        raise
    except Exception as error:  # a conversion that Pillow does not have, e.g. from LAB
        raise ImageError(f"{name}: cannot convert {image.mode} to RGB; save it as RGB") from error


def open_image(data: bytes, name: str, max_pixels: int) -> "Image.Image":
    """Read an image's header with Pillow; raises ImageError."""
    from PIL import Image, UnidentifiedImageError

    # For the whole process on purpose: nothing here wants a bomb to be only a warning.
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    if not data:
        raise ImageError(f"{name}: empty (0 bytes); download or export it again")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(f"{name}: too large: {error}; shrink it") from error
    except UnidentifiedImageError as error:
        accepted = ", ".join(FORMATS)
        raise ImageError(f"{name}: not an image, or not one of {accepted}; convert it") from error
    except Exception as error:  # Pillow's format plugins raise nearly anything on hostile bytes
        raise damaged(name, error) from error
    check_size(image.height, image.width, name, max_pixels)
    return image


def load_pixels(image: "Image.Image", name: str) -> None:
    """Decode the pixels of an opened image; raises ImageError where it is truncated."""
    # load() and not verify(): the latter accepts truncated JPEGs.
    try:
        image.load()
    except Exception as error:  # as in open_image
        raise damaged(name, error) from error


def _as_rgb(image: "Image.Image", name: str) -> Pixels:
    """Pixels of a loaded image as RGB uint8 `(H, W, 3)`."""
    from PIL import Image, ImageChops

    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        # Adobe stores ink inverted, and Pillow takes every CMYK JPEG for Adobe's.
        image = ImageChops.invert(image)
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels have no agreed white; save it with 8 bits")
    if image.mode.startswith("I"):
        return np.repeat(_eight_bits(np.asarray(image), name)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, picture)
    return np.array(image.convert("RGB"))


def _eight_bits(wide: NDArray, name: str) -> Pixels:
    """Scale 0..65535 to 0..255, rounding; Pillow's own conversion clips at 255: all white."""
    if wide.size and (wide.min() < 0 or wide.max() > 65535):
        raise ImageError(f"{name}: more than 16 bits a pixel; save it with 8")
    return ((wide.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def stored_orientation(image: "Image.Image") -> int:
    """How an opened image must still be turned: its EXIF orientation, 1 where it has none."""
    if image.format == "TIFF":  # Pillow turns these itself
        return UPRIGHT
    try:
        return int(image.getexif().get(TAG, UPRIGHT))
    except Exception:  # a damaged tag block must not cost the photo; viewers ignore it as well
        return UPRIGHT


def check_size(height: int, width: int, name: str, max_pixels: int) -> None:
    """Raise ImageError for an image without pixels or with more than `max_pixels`."""
    if height < 1 or width < 1:
        raise ImageError(f"{name}: {width} x {height} has no pixels; export it again")
    if height * width > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} is over the limit of {max_pixels:,} pixels; "
            "shrink it or raise max_pixels"
        )


def damaged(name: str, error: Exception) -> ImageError:
    """The error for bytes that a decoder gave up on."""
    return ImageError(f"{name}: truncated or damaged ({error}); download or export it again")
