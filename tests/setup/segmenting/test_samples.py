"""The pipeline of photos, network and PNGs, with a network that needs no weights."""

import io
import random
import time

import numpy as np
import pytest

from data.images import decode_rgb, decode_seg
from data.sample import Sample
from data.seg_maps.classes import SegClasses
from setup.segmenting.samples import BATCHES_AT_HAND, segmented_samples


class Brightness:
    """The class of a pixel is how bright it is, in four steps; notes what it was asked for."""

    classes = SegClasses(tuple("abcd"), ((0, 0, 0), (90, 0, 0), (0, 90, 0), (0, 0, 90)), "tests")

    def __init__(self, delays_s=0.0):
        self.delays_s, self.batches = delays_s, []

    def prepare(self, photo):
        time.sleep(random.random() * self.delays_s)
        if photo.shape[0] == 1:
            raise ValueError("too flat for this network")
        return photo.transpose(2, 0, 1)

    def draw(self, prepared, sizes, batch):
        assert [p.shape[1:] for p in prepared] == [tuple(size) for size in sizes]
        self.batches.append(len(prepared))
        return [(p.mean(0) // 64).astype(np.uint8) for p in prepared]


@pytest.fixture
def samples(picture, encode):
    """Forty samples, one of them no image, one cut off, one with a map, one of one row."""

    def sample(i):
        jpg = encode(picture(20 + i % 3, 30, seed=i))
        jpg = {5: b"no image", 9: jpg[: len(jpg) // 2], 30: encode(picture(1, 30))}.get(i, jpg)
        return Sample(f"key{i}", jpg, b"a map" if i == 7 else None, {"lat": i, "lon": 0})

    return [sample(i) for i in range(40)]


def test_every_sample_comes_out_in_order_with_its_own_map(samples):
    out = list(segmented_samples(Brightness(delays_s=0.01), samples, batch=2))
    assert [one.sample.key for one in out] == [sample.key for sample in samples]
    for i, (sample, error) in enumerate(out):
        assert sample._replace(seg_png=samples[i].seg_png) == samples[i]
        if i in (5, 9, 30):
            assert sample.seg_png is None
            assert error
        elif i == 7:
            assert sample.seg_png == b"a map"
        else:
            expected = (decode_rgb(sample.jpg).mean(2) // 64).astype(np.uint8)
            assert np.array_equal(decode_seg(sample.seg_png), expected)
            assert error == ""
    assert "key5" in out[5].error
    assert "too flat" in out[30].error


def test_which_photos_go_together_does_not_depend_on_the_threads(samples):
    runs = []
    for delay_s in (0.0, 0.003, 0.006):
        network = Brightness(delay_s)
        list(segmented_samples(network, samples, batch=3))
        runs.append(network.batches)
    assert runs[0] == runs[1] == runs[2]


def test_reads_only_a_little_ahead(picture, encode):
    photo, read = encode(picture(8, 8)), []

    def endless():
        while True:
            read.append(1)
            yield Sample(f"key{len(read)}", photo, None, {})

    out = segmented_samples(Brightness(), endless(), batch=2)
    for _ in range(50):
        next(out)
    out.close()
    assert len(read) <= 50 + 4 * 2 * BATCHES_AT_HAND


def test_nothing_in_nothing_out():
    assert list(segmented_samples(Brightness(), [], batch=4)) == []


def test_a_networks_failure_is_not_swallowed(samples):
    network = Brightness()
    network.draw = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(segmented_samples(network, samples))


def test_a_photo_on_its_side_gets_a_map_of_the_upright_size(picture, encode):
    from PIL import Image

    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(20, 30)).save(file, "JPEG", exif=exif)
    sample = Sample("sideways", file.getvalue(), None, {})
    (out,) = segmented_samples(Brightness(), [sample])
    assert decode_seg(out.sample.seg_png).shape == (30, 20)
