"""Maps survive their file, with their classes as indices and their colours to look at."""

import io

import numpy as np
import pytest
from PIL import Image

from data.images import decode_seg
from data.seg_maps.classes import SegClasses
from data.seg_maps.png import encode_seg


def table(count):
    colours = [(i, 255 - i, i * 7 % 256) for i in range(count)]
    return SegClasses(tuple(f"class {i}" for i in range(count)), tuple(colours), "tests")


def blobs(count, height=61, width=47, seed=0):
    coarse = np.random.default_rng(seed).integers(0, count, (5, 4), dtype=np.uint8)
    seg = np.kron(coarse, np.ones((height // 5 + 1, width // 4 + 1), np.uint8))[:height, :width]
    seg[0, 0], seg[0, 1] = count - 1, 0
    return seg


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 150, 255, 256])
def test_every_number_of_classes_comes_back(count):
    seg = blobs(count)
    png = encode_seg(seg, table(count))
    assert np.array_equal(decode_seg(png), seg)
    picture = Image.open(io.BytesIO(png))
    assert picture.mode == "P"
    colours = np.array(table(count).palette, np.uint8)
    assert np.array_equal(np.asarray(picture.convert("RGB")), colours[seg])


def test_a_map_that_is_a_slice_of_another_array():
    seg = blobs(7)[::2, ::-1]
    assert np.array_equal(decode_seg(encode_seg(seg, table(7))), seg)


def test_the_same_map_gives_the_same_bytes():
    assert encode_seg(blobs(9), table(9)) == encode_seg(blobs(9), table(9))


def test_the_file_is_smaller_than_a_plain_one():
    seg, file = blobs(12, 320, 240), io.BytesIO()
    Image.fromarray(seg).save(file, "PNG", compress_level=1)
    assert len(encode_seg(seg, table(12))) < len(file.getvalue())


def test_a_class_that_the_table_does_not_have():
    with pytest.raises(ValueError, match="class 8; the table has 7"):
        encode_seg(blobs(9), table(7))
