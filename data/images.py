"""Image bytes to pixels: fast for plain JPEGs, careful with everything else.

Plain 8-bit JPEGs go through simplejpeg (libjpeg-turbo), whose strict mode raises on truncated
and damaged files; it scales by 1/2 and 1/4 while decoding (its other ratios take longer than
decoding in full). CMYK, 16-bit, palette, transparent and animated images go through Pillow, which
is imported only then. Every failure is an `ImageError` that names the image and the way out.
"""

from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from data.photos.formats import (
    MAX_PIXELS,
    ImageError,
    check_size,
    damaged,
    decode_any,
    load_pixels,
    open_image,
    stored_orientation,
)
from data.photos.orientation import UPRIGHT, jpeg_orientation, orient

Pixels = NDArray[np.uint8]

MAX_FILE_BYTES = 256 * 2**20
INKS = ("CMYK", "YCCK")
PNG_DEPTH = 24  # byte of a PNG that says how many bits a sample has
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in 0..1, as the ImageNet weights were trained with
IMAGENET_STD = (0.229, 0.224, 0.225)


def read_bytes(path: str | Path) -> bytes:
    """Read an image file whole.

    Raises:
        ImageError: there is no such file, it cannot be read, or it is over 256 MiB.
    """
    try:
        size = Path(path).stat().st_size
        if size > MAX_FILE_BYTES:
            raise ImageError(f"{path}: {size:,} bytes, more than {MAX_FILE_BYTES:,}; shrink it")
        return Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot read it: {error.strerror}; check the path") from error


def read_rgb(path: str | Path, max_pixels: int = MAX_PIXELS, min_side: int = 0) -> Pixels:
    """Decode an image file; arguments, result and errors as `decode_rgb`."""
    return decode_rgb(read_bytes(path), str(path), max_pixels, min_side)


def decode_rgb(
    data: bytes, name: str = "image", max_pixels: int = MAX_PIXELS, min_side: int = 0
) -> Pixels:
    """Decode an image of any accepted format to upright RGB.

    The first frame of an animation; transparency over white; 16 bits a channel scaled to 8.

    Args:
        data: The file's bytes.
        name: What error messages call it.
        max_pixels: Refuse larger images, before decoding them. Pillow's own limit (89 million)
            holds besides for all that is not a plain JPEG.
        min_side: If positive, a plain JPEG may come at 1/2 or 1/4 of its size as long as its short
            side keeps this many pixels. A hint: other images come in full.

    Returns:
        uint8 `(H, W, 3)`, contiguous and writable.

    Raises:
        ImageError: empty, not an image, truncated, damaged, or larger than `max_pixels`.
    """
    header = _jpeg_header(data, name)
    if header is None:
        return decode_any(data, name, max_pixels)
    height, width, colours = header
    check_size(height, width, name, max_pixels)
    if colours in INKS:
        return decode_any(data, name, max_pixels)
    orientation = jpeg_orientation(data)
    factor = _decoder_factor(height, width, min_side, orientation)
    try:
        pixels = simplejpeg.decode_jpeg(
            data, min_height=-(-height // factor), min_width=-(-width // factor)
        )
    except ValueError as error:
        raise damaged(name, error) from error
    return orient(pixels, orientation)


def decode_seg(data: bytes, name: str = "seg map", max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode a segmentation map: a one-channel PNG whose values are class indices.

    Returns:
        uint8 `(H, W)`, contiguous and writable. A palette's indices are the classes.

    Raises:
        ImageError: not a one-channel 8-bit PNG, truncated, or larger than `max_pixels`.
    """
    image = open_image(data, name, max_pixels)
    # Pillow stretches grey of 2 and 4 bits to 0..255, which makes other classes of them.
    is_stretched = image.format == "PNG" and image.mode == "L" and data[PNG_DEPTH] != 8
    if image.format != "PNG" or image.mode not in ("L", "P", "1") or is_stretched:
        raise ImageError(
            f"{name}: a segmentation map is a one-channel 8-bit PNG of class indices, "
            f"not {image.format} {image.mode}{f' of {data[PNG_DEPTH]} bits' * is_stretched}; "
            "save it in mode L or P"
        )
    load_pixels(image, name)
    return np.array(image, dtype=np.uint8)


def image_size(data: bytes, name: str = "image", max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width in pixels of the upright image, from its header alone.

    Raises:
        ImageError: not an image, or larger than `max_pixels`.
    """
    header = _jpeg_header(data, name)
    if header is None or header[2] in INKS:  # which `decode_rgb` leaves to Pillow, turning too
        image = open_image(data, name, max_pixels)
        height, width, orientation = image.height, image.width, stored_orientation(image)
    else:
        (height, width, _), orientation = header, jpeg_orientation(data)
        check_size(height, width, name, max_pixels)
    return (width, height) if 5 <= orientation <= 8 else (height, width)


def _jpeg_header(data: bytes, name: str) -> tuple[int, int, str] | None:
    """Stored height, width and colour space of a JPEG; None for other formats."""
    if not data:
        raise ImageError(f"{name}: empty (0 bytes); download or export it again")
    if not data.startswith(b"\xff\xd8\xff"):  # is_jpeg() says no to a JPEG without its end
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise damaged(name, error) from error
    return height, width, colours


def _decoder_factor(height: int, width: int, min_side: int, orientation: int) -> int:
    """How many times smaller the decoder may make a JPEG: 1, 2 or 4."""
    for factor in (4, 2):
        # An uneven edge becomes a part pixel at the end; turned, it would shift the whole picture.
        exact = orientation == UPRIGHT or not (height % factor or width % factor)
        if min_side > 0 and exact and min(height, width) // factor >= min_side:
            return factor
    return 1


def shrunk_by(height: int, width: int, pixels: Pixels, name: str = "image") -> int:
    """How many times smaller a photo of that size came from `decode_rgb`: 1, 2 or 4.

    What was asked for does not tell: a turned photo with an uneven edge may come at 1/2 in place
    of 1/4.

    Raises:
        ImageError: none of them.
    """
    for factor in (1, 2, 4):
        if pixels.shape[:2] == (-(-height // factor), -(-width // factor)):
            return factor
    raise ImageError(f"{name}: its header and its pixels disagree on its size; save it anew")


def crop_square(pixels: Pixels, size: int, crop: str = "center") -> Pixels:
    """Cut the middle square out of a photo or a map and resize it: the transform of testing.

    The same as resizing the short side to `size` and cutting the middle, with fewer pixels to do.

    Args:
        pixels: A photo uint8 `(H, W, 3)`, resized by antialiased bilinear interpolation, or a
            segmentation map uint8 `(H, W)`, whose class indices take their nearest neighbour.
        size: Edge of the result in pixels.
        crop: "center", or "none" to squeeze the whole picture into the square.

    Returns:
        uint8 `(size, size, 3)` or `(size, size)`.

    Raises:
        ValueError: another `crop`.
    """
    if crop not in ("center", "none"):
        raise ValueError(f"crop must be center or none, got {crop!r}")
    if crop == "center":
        top, left, side = center_square(*pixels.shape[:2])
        pixels = pixels[top : top + side, left : left + side]
    if pixels.ndim == 2:
        rows, columns = (_nearest(length, size) for length in pixels.shape)
        return pixels[np.ix_(rows, columns)]
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.array(picture.resize((size, size), Image.Resampling.BILINEAR))


def center_square(height: int, width: int) -> tuple[int, int, int]:
    """Top, left and side in pixels of the largest square in the middle of a picture."""
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def preprocess(
    rgb: Pixels,
    size: int,
    crop: str = "center",
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> NDArray[np.float32]:
    """Prepare a photo for a network without torch; equals `data.transforms.EvalTransform`.

    Args:
        rgb: uint8 `(H, W, 3)`.
        size: Edge of the network's input in pixels.
        crop: As in `crop_square`.
        mean: Of each channel, for values in 0..1.
        std: Standard deviation of each channel, for values in 0..1.

    Returns:
        float32 `(3, size, size)`.
    """
    square = crop_square(rgb, size, crop).astype(np.float32) / 255
    normal = (square - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1))


def _nearest(length: int, size: int) -> NDArray[np.int64]:
    """The source index below the middle of each of `size` equal parts of `length` pixels."""
    return ((np.arange(size) + 0.5) * (length / size)).astype(np.int64)
