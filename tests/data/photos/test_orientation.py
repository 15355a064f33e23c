"""EXIF orientation against Pillow's own transposition."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from data.images import decode_rgb, image_size
from data.photos.orientation import jpeg_orientation, orient


def tagged(encode, pixels, orientation, kind="JPEG"):
    exif = Image.Exif()
    exif[0x0110] = "a camera with a name"  # another tag before it
    exif[0x0112] = orientation
    return encode(pixels, kind, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orient_equals_pillow(orientation, encode, photo):
    pixels = photo(20, 31)
    file = tagged(encode, pixels, orientation, "PNG")
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    np.testing.assert_array_equal(orient(pixels, orientation), np.asarray(expected))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decoded_upright(orientation, kind, encode, photo):
    file = tagged(encode, photo(40, 64), orientation, kind)
    opened = Image.open(io.BytesIO(file))
    expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB")).astype(int)
    ours = decode_rgb(file)
    assert ours.shape == expected.shape
    assert image_size(file) == expected.shape[:2]
    assert ours.flags.c_contiguous
    assert ours.flags.writeable
    # Two JPEG decoders round chroma differently; a wrong turn would be off by some 50.
    assert np.abs(ours - expected).mean() < 1


@pytest.mark.parametrize("order", ["II", "MM"])
def test_both_byte_orders(order, jpeg):
    is_little = order == "II"
    number = (lambda n, k: n.to_bytes(k, "little")) if is_little else (lambda n, k: n.to_bytes(k))
    tiff = order.encode() + number(42, 2) + number(8, 4) + number(1, 2)
    tiff += number(0x0112, 2) + number(3, 2) + number(1, 4) + number(6, 2) + number(0, 2)
    segment = b"Exif\0\0" + tiff
    file = jpeg()
    file = file[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + file[2:]
    assert jpeg_orientation(file) == 6
    for cut in range(len(segment)):  # a block cut anywhere costs the tag, not the photo
        damaged = file[:2] + b"\xff\xe1" + (cut + 2).to_bytes(2) + segment[:cut] + jpeg()[2:]
        assert jpeg_orientation(damaged) in (1, 6)


def test_xmp_orientation(jpeg):
    packet = b'http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation="8"/>'
    file = jpeg(40, 60)
    file = file[:2] + b"\xff\xe1" + (len(packet) + 2).to_bytes(2) + packet + file[2:]
    assert image_size(file) == (60, 40)
    assert Image.open(io.BytesIO(file)).getexif()[0x0112] == 8  # Pillow agrees


def test_no_orientation(jpeg):
    assert jpeg_orientation(jpeg()) == 1
    assert jpeg_orientation(b"") == 1
    assert jpeg_orientation(b"\xff\xd8\xff") == 1
