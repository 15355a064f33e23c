"""Small galleries with known neighbours."""

import hashlib

import numpy as np
import pytest

from retrieval.gallery import Gallery


@pytest.fixture
def model_sha256():
    return hashlib.sha256(b"a model").hexdigest()


@pytest.fixture
def make_inputs(model_sha256):
    """Arguments of Gallery.create: photos clustered in towns, some of them twins of each other."""

    def make(count=300, dim=16, seed=0):
        rng = np.random.default_rng(seed)
        towns = np.column_stack([rng.uniform(-80, 80, 12), rng.uniform(-180, 180, 12)])
        place = towns[rng.integers(12, size=count)] + rng.normal(0, 0.5, (count, 2))
        lon = (place[:, 1] + 180) % 360 - 180
        descriptors = rng.standard_normal((count, dim)).astype(np.float32)
        descriptors[count // 2 : count // 2 + 5] = descriptors[:5]
        photos = [
            {"key": f"photo{i}", "path": f"p/{i}.jpg", "licence": "CC0" if i % 3 else "CC BY 4.0"}
            for i in range(count)
        ]
        return {
            "descriptors": descriptors,
            "lat": place[:, 0],
            "lon": lon,
            "photos": photos,
            "model_sha256": model_sha256,
        }

    return make


@pytest.fixture
def gallery(make_inputs):
    return Gallery.in_memory(**make_inputs())
