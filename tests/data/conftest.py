"""Synthetic photos, their files, and small folders of shards."""

import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from data.shards import ShardWriter


def _photo(height, width, seed=0):
    """A smooth colourful picture with some noise: what a JPEG keeps nearly as it is."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noise = rng.integers(-8, 9, (height, width, 3))
    return np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)


def _encode(pixels, kind="PNG", **options):
    file = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(file, kind, **options)
    return file.getvalue()


def _jpeg(height=96, width=128, seed=0, quality=90):
    return simplejpeg.encode_jpeg(_photo(height, width, seed), quality=quality)


@pytest.fixture
def photo():
    return _photo


@pytest.fixture
def encode():
    return _encode


@pytest.fixture
def jpeg():
    return _jpeg


@pytest.fixture
def write_shards(tmp_path):
    """Write `count` samples and return the folder; every third has no segmentation map."""

    def write(count=20, samples_per_shard=8, name="shards", height=96, width=128):
        folder = tmp_path / name
        with ShardWriter(folder, samples_per_shard) as writer:
            for i in range(count):
                seg = None if i % 3 == 2 else _encode(_photo(height, width, i)[:, :, 0])
                s3 = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]][i % 3]
                metadata = {"lat": -60.0 + i, "lon": 100.0 + i, "author": f"a{i % 4}", "s3": s3}
                writer.write(f"photo_{i:03d}", _jpeg(height, width, i), metadata, seg)
        return folder

    return write
