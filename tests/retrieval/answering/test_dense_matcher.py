"""GeoWarp in an answer gives the scores that it gives in a test, to photos in memory too."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models.geowarp import GeoWarp
from models.places.local_features import MapExtractor
from models.warping.file import ExtractorParts, WarpModel
from retrieval.answering.dense_matcher import DenseMatcher
from retrieval.answering.query import Query
from retrieval.descriptor_cache import Engine
from retrieval.geowarp.reranker import GeoWarpReranker

SIZE = (30, 40)


@pytest.fixture
def warp_model():
    torch.manual_seed(0)
    model = GeoWarp(MapExtractor(nn.Conv2d(3, 6, 2, stride=2), 6)).eval()
    nn.init.normal_(model.regression.linear.weight, std=0.03)
    return WarpModel(model, ExtractorParts("none", "conv4", 30), SIZE, {})


@pytest.fixture
def photos(tmp_path):
    """Four times as large as the model's: the decoder makes them smaller."""
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.jpg" for i in range(5)]
    for path in paths:
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8))
        coarse.resize((160, 200), Image.Resampling.BICUBIC).save(path)
    return paths


def test_scores_are_those_of_a_test(warp_model, photos):
    expected = GeoWarpReranker(warp_model, Engine(workers=0))(photos[0], photos[1:])
    matcher = DenseMatcher(warp_model)
    for query in (photos[0], photos[0].read_bytes()):
        found = matcher.scores(matcher.maps(Query.of(query)), photos[1:])
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(np.unique(expected.round(3))) == 4


def test_photos_that_cannot_be_read_have_no_score(warp_model, photos, tmp_path):
    matcher = DenseMatcher(warp_model)
    maps = matcher.maps(Query.of(photos[0]))
    whole = matcher.scores(maps, photos[1:4])
    photos[2].write_bytes(b"no")
    found = matcher.scores(maps, [*photos[1:4], tmp_path / "gone.jpg", tmp_path])
    np.testing.assert_allclose(found, [whole[0], np.nan, whole[2], np.nan, np.nan], rtol=1e-5)
