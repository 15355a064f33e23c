"""Photos of every kind through the library: an answer or a clear ImageError."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from data.images import ImageError


def encoded(picture, kind, **settings):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def test_file_bytes_and_pixels_give_one_answer(locator, photos):
    with Image.open(photos[2]) as image:
        pixels = np.array(image)
    fix = locator.locate(photos[2])
    assert locator.locate(str(photos[2])) == fix
    assert locator.locate(photos[2].read_bytes()) == fix
    assert locator.locate(pixels).cells == fix.cells


def test_every_kind_of_photo_is_answered(locator, photos):
    with Image.open(photos[7]) as image:
        upright = image.convert("RGB")
    fix = locator.locate(np.array(upright))
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    same = {
        "png": encoded(upright, "PNG"),
        "webp": encoded(upright, "WEBP", lossless=True),
        "palette": encoded(upright.quantize(256), "PNG"),
        "animated": encoded(upright, "PNG", save_all=True, append_images=[turned.resize((96, 72))]),
        "turned": encoded(turned, "PNG", exif=exif),
        "turned jpeg": encoded(turned, "JPEG", exif=exif, quality=98, subsampling=0),
        "cmyk": encoded(upright.convert("CMYK"), "JPEG", quality=98),
    }
    for name, data in same.items():
        other = locator.locate(data)
        assert other.matches[0].key == fix.matches[0].key == "k7", name
        assert other.matches[0].score > 0.99, name
    grey = np.asarray(upright.convert("L"))
    wide = encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    narrow = encoded(Image.fromarray(grey), "PNG")
    assert locator.locate(wide) == locator.locate(narrow)
    for shape in ((1, 1), (1, 500), (500, 1)):
        assert locator.locate(encoded(upright.resize(shape), "PNG")).cells


def bomb(width, height):
    """A PNG that claims a size without having the pixels."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 100)),
        (b"IEND", b""),
    ):
        check = struct.pack(">I", zlib.crc32(kind + body))
        parts.append(struct.pack(">I", len(body)) + kind + body + check)
    return b"".join(parts)


def test_what_is_no_photo_is_an_image_error(locator, photos, tmp_path):
    jpeg = photos[0].read_bytes()
    size = jpeg.index(b"\xff\xc0") + 5
    claims = jpeg[:size] + struct.pack(">HH", 60000, 60000) + jpeg[size + 4 :]
    with Image.open(photos[0]) as image:
        png = encoded(image, "PNG")
    bad = {
        "empty": b"",
        "text": b"not an image at all",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "truncated jpeg": jpeg[: len(jpeg) // 2],
        "truncated png": png[: len(png) // 2],
        "jpeg header": jpeg[:3],
        "huge png": bomb(50_000, 50_000),
        "huge jpeg": claims,
        "lying png": bomb(500, 500),
        "no pixels": bomb(0, 10),
    }
    for name, data in bad.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ImageError) as caught:
            locator.locate(path)
        assert str(path) in str(caught.value), name
        with pytest.raises(ImageError):
            locator.locate(data)
    with pytest.raises(ImageError, match="directory"):
        locator.locate(tmp_path)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((40, 40, 3), np.float32),
        np.zeros((0, 40, 3), np.uint8),
    ],
)
def test_pixels_of_another_kind_are_refused(locator, pixels):
    with pytest.raises(ValueError, match="pixels must be uint8"):
        locator.locate(pixels)
