"""Decoding: every format and orientation to upright RGB, every damage to a clear error."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from data.images import (
    ImageError,
    crop_square,
    decode_rgb,
    decode_seg,
    image_size,
    preprocess,
    read_bytes,
    read_rgb,
    shrunk_by,
)


def png(width, height, depth, colour_type, rows):
    """A PNG by hand: Pillow cannot write every kind that it must read."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def png16(values, colour_type):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], 16, colour_type, rows)


def test_plain_jpeg(photo, encode):
    pixels = photo(60, 90)
    ours = decode_rgb(encode(pixels, "JPEG", quality=95, subsampling=0))
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_truncated_jpeg(part, mode, progressive, photo, encode):
    picture = Image.fromarray(photo(256, 256)).convert(mode)
    file = encode(picture, "JPEG", progressive=progressive)
    decode_rgb(file)
    with pytest.raises(ImageError, match=r"p\.jpg.*(download|convert)"):
        decode_rgb(file[: int(len(file) * part)], "p.jpg")


@pytest.mark.parametrize("min_side", [16, 64])
def test_truncated_jpeg_scaled(min_side, jpeg):
    file = jpeg(256, 256)
    with pytest.raises(ImageError):
        decode_rgb(file[: int(len(file) * 0.9)], min_side=min_side)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_others(part, kind, photo, encode):
    file = encode(photo(64, 64), kind)
    assert decode_rgb(file).shape == (64, 64, 3)
    with pytest.raises(ImageError, match="x:"):
        decode_rgb(file[: int(len(file) * part)], "x")


@pytest.mark.parametrize(
    "data", [b"hello", b"\0" * 600, b"<svg></svg>", b"\xff\xd8\xff", b"%!PS-Adobe"]
)
def test_not_an_image(data):
    for read in (decode_rgb, image_size, decode_seg):
        with pytest.raises(ImageError, match="thing"):
            read(data, "thing")


def test_empty():
    for read in (decode_rgb, image_size, decode_seg):
        with pytest.raises(ImageError, match=r"thing: empty \(0 bytes\)"):
            read(b"", "thing")


def test_cmyk_adobe_and_plain(photo, encode):
    pixels = photo(48, 48)
    adobe = encode(Image.fromarray(pixels).convert("CMYK"), "JPEG", quality=95)
    # Pillow writes Adobe's way: an APP14 marker, and ink stored inverted.
    start = adobe.index(b"\xff\xee")
    length = int.from_bytes(adobe[start + 2 : start + 4])
    assert adobe[start + 4 : start + 9] == b"Adobe"
    inks = 255 - np.asarray(Image.fromarray(pixels).convert("CMYK"))
    inverted = encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=95)
    start = inverted.index(b"\xff\xee")
    plain = inverted[:start] + inverted[start + 2 + length :]
    for file in (adobe, plain):
        assert np.abs(decode_rgb(file).astype(int) - pixels).mean() < 4


def test_sixteen_bit_grey_is_scaled_not_clipped(photo):
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    expected = np.round(values / 257).astype(np.uint8)
    ours = decode_rgb(png16(values, 0))
    np.testing.assert_array_equal(ours, np.repeat(expected[:, :, None], 3, axis=2))
    as_tiff = io.BytesIO()
    Image.fromarray(values).save(as_tiff, "TIFF")
    np.testing.assert_array_equal(decode_rgb(as_tiff.getvalue())[:, :, 0], expected)


def test_sixteen_bit_rgb():
    values = np.random.default_rng(0).integers(0, 65536, (9, 5, 3)).astype(np.uint16)
    ours = decode_rgb(png16(values.reshape(9, 15)[:, :15].reshape(9, 5, 3), 2))
    assert np.abs(ours - values / 257).max() < 1


def test_wide_and_float_pixels_are_refused(encode):
    for pixels in (np.full((4, 4), 2.0, np.float32), np.full((4, 4), 70_000, np.int32)):
        with pytest.raises(ImageError, match=r"x: .*save it with 8"):
            decode_rgb(encode(Image.fromarray(pixels), "TIFF"), "x")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_first_frame(kind, encode):
    frames = [Image.new("RGB", (12, 8), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    file = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(file)).n_frames == 3
    assert (decode_rgb(file) == (255, 0, 0)).all()


def test_palette_and_transparency(encode):
    palette = Image.new("P", (4, 2), 1)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    assert (decode_rgb(encode(palette)) == (200, 100, 50)).all()
    file = encode(palette, transparency=1)
    assert (decode_rgb(file) == 255).all(), "what cannot be seen is white, not a hidden colour"
    half = Image.new("RGBA", (3, 3), (0, 100, 200, 128))
    assert np.abs(decode_rgb(encode(half)).astype(int) - (127, 177, 227)).max() <= 1
    assert (decode_rgb(encode(Image.new("LA", (3, 3), (7, 0)))) == 255).all()


def test_other_modes(photo, encode):
    bits = Image.fromarray(photo(16, 16)).convert("1")
    assert set(np.unique(decode_rgb(encode(bits)))) <= {0, 255}
    ycbcr = Image.fromarray(photo(16, 16)).convert("YCbCr")
    assert np.abs(decode_rgb(encode(ycbcr, "TIFF")).astype(int) - photo(16, 16)).mean() < 4


def test_size_limits(jpeg, encode, photo):
    for file in (jpeg(30, 40), encode(photo(30, 40))):
        decode_rgb(file, max_pixels=1200)
        for read in (decode_rgb, image_size):
            with pytest.raises(ImageError, match=r"x: 40 x 30 is over the limit of 1,199 pixels"):
                read(file, "x", max_pixels=1199)


@pytest.mark.parametrize("side", [10_000, 20_000])  # where Pillow warns, and where it raises
def test_decompression_bomb(side):
    file = png(side, side, 1, 0, b"\0" * ((side // 8 + 1) * 8))
    with pytest.raises(ImageError, match=r"bomb: .*(large|limit)"):
        decode_rgb(file, "bomb", max_pixels=10**12)


def test_jpeg_bomb_is_refused_from_its_header(jpeg):
    file = bytearray(jpeg(16, 16))
    size_at = file.index(b"\xff\xc0") + 5
    file[size_at : size_at + 4] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(ImageError, match="65000 x 65000"):
        decode_rgb(bytes(file), "bomb")
    file[size_at : size_at + 4] = bytes(4)
    with pytest.raises(ImageError):
        decode_rgb(bytes(file))


def test_zero_dimension():
    for width, height in ((0, 5), (5, 0), (0, 0)):
        for read in (decode_rgb, image_size):
            with pytest.raises(ImageError):
                read(png(width, height, 8, 2, b""))


@pytest.mark.parametrize(
    ("min_side", "shape"),
    [(0, (301, 403)), (301, (301, 403)), (151, (301, 403)), (150, (151, 202)), (75, (76, 101))],
)
def test_decoder_scaling(min_side, shape, jpeg):
    small = decode_rgb(jpeg(301, 403), min_side=min_side)
    assert small.shape == (*shape, 3)
    expected = Image.fromarray(decode_rgb(jpeg(301, 403))).resize(shape[::-1], Image.Resampling.BOX)
    assert np.abs(small.astype(int) - np.asarray(expected)).mean() < 3


def test_scaling_a_turned_photo_only_where_exact(photo, encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    even = encode(photo(400, 200), "JPEG", exif=exif)
    odd = encode(photo(401, 200), "JPEG", exif=exif)
    assert decode_rgb(even, min_side=50).shape == (50, 100, 3)
    assert decode_rgb(odd, min_side=50).shape == (200, 401, 3)


def test_seg(encode):
    labels = np.random.default_rng(0).integers(0, 19, (7, 9), dtype=np.uint8)
    np.testing.assert_array_equal(decode_seg(encode(labels)), labels)
    palette = Image.fromarray(labels, "L").convert("P")
    palette.putdata(labels.ravel().tolist())
    np.testing.assert_array_equal(decode_seg(encode(palette)), labels)
    for bad in (encode(np.zeros((4, 4, 3), np.uint8)), encode(labels, "JPEG")):
        with pytest.raises(ImageError, match=r"map of 17: .*one-channel 8-bit PNG"):
            decode_seg(bad, "map of 17")


def test_read_files(tmp_path, jpeg):
    (tmp_path / "p.jpg").write_bytes(jpeg(20, 30))
    assert read_rgb(tmp_path / "p.jpg").shape == (20, 30, 3)
    for missing in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(ImageError, match=r"cannot read it: .*check the path"):
            read_bytes(missing)
    (tmp_path / "bad.jpg").write_bytes(jpeg()[:200])
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        read_rgb(tmp_path / "bad.jpg")


def test_extra_bytes_after_a_jpeg_are_harmless(jpeg):
    for extra in (jpeg(8, 8), b"\0" * 99, b"MotionPhoto"):
        np.testing.assert_array_equal(decode_rgb(jpeg() + extra), decode_rgb(jpeg()))


@pytest.mark.parametrize("shape", [(60, 91), (91, 60), (50, 50), (8, 200)])
def test_preprocess_equals_the_formula(shape, photo):
    pixels = photo(*shape)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    square = np.asarray(square.resize((32, 32), Image.Resampling.BILINEAR)) / 255
    for channel, (mean, std) in enumerate(zip((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), strict=True)):
        expected = (square[:, :, channel] - mean) / std
        ours = preprocess(pixels, 32, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours[channel], expected, atol=1e-5)


def test_crop_none_squeezes(photo):
    assert crop_square(photo(20, 60), 30, crop="none").shape == (30, 30, 3)
    columns = np.tile(np.arange(60, dtype=np.uint8), (20, 1))
    np.testing.assert_array_equal(crop_square(columns, 30, "none")[0], np.arange(30) * 2 + 1)
    with pytest.raises(ValueError, match="center or none"):
        crop_square(photo(20, 60), 30, crop="five")


def test_import_is_light():
    code = "import sys, data.images, data.shards, data.tables; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "torch" not in loaded.stdout.split()
    code = "import sys, data.images; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"torch", "PIL.Image", "pandas", "pyarrow"} & set(loaded.stdout.split())


def test_decoders_agree(jpeg):
    file = jpeg(64, 64)
    pillow = np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(int)
    assert np.abs(decode_rgb(file) - pillow).max() <= 6
    assert simplejpeg.is_jpeg(file)


@pytest.mark.parametrize(("depth", "row"), [(2, b"\x00\x1b"), (4, b"\x00\x01\x25")])
def test_maps_of_few_bits_are_refused_not_stretched(depth, row):
    """Pillow makes 0, 17, 34 and 85 of the classes 0, 1, 2 and 5."""
    with pytest.raises(ImageError, match=rf"map of 17: .*8-bit PNG .*not PNG L of {depth} bits"):
        decode_seg(png(4, 1, depth, 0, row), "map of 17")


@pytest.mark.parametrize("orientation", [0, 1, 6, 8, 9])
def test_header_and_pixels_of_inks_agree(photo, encode, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(photo(48, 80)).convert("CMYK")
    file = encode(picture, "JPEG", exif=exif)
    assert image_size(file) == decode_rgb(file).shape[:2]


def test_a_size_that_no_decoder_gives_is_an_error_of_the_image():
    assert shrunk_by(131, 200, np.zeros((66, 100, 3), np.uint8)) == 2
    with pytest.raises(ImageError, match="photo 7: its header and its pixels disagree"):
        shrunk_by(48, 80, np.zeros((80, 48, 3), np.uint8), "photo 7")
