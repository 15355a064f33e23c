"""K-means against its own definition, and NetVLAD started from it."""

import numpy as np
import pytest
import torch
from PIL import Image

from data.place_sets.photos import PlacePhotos
from models.places.embedder import Embedder, EmbedderSettings
from retrieval.descriptor_cache import Engine
from retrieval.training.clustering import cluster, sample_features, start_netvlad


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    paths = []
    for number in range(6):
        noise = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.jpg")
        Image.fromarray(noise).resize((64, 48)).save(paths[-1])
    return PlacePhotos(paths, (48, 64))


@pytest.fixture(scope="module")
def embedder():
    torch.manual_seed(0)
    return Embedder(EmbedderSettings(aggregation="netvlad", clusters=4), pretrained=False)


def test_clusters_that_are_there_are_found():
    random = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32)[:5]
    points = centres[random.integers(5, size=400)] + random.normal(0, 0.02, (400, 8))
    found = cluster(points.astype(np.float32), 5)
    nearest = np.linalg.norm(found[:, None] - centres, axis=2)
    assert sorted(nearest.argmin(axis=1).tolist()) == [0, 1, 2, 3, 4]
    assert nearest.min(axis=1).max() < 0.02


def test_a_centre_is_the_mean_of_the_points_nearest_to_it():
    points = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
    centres = cluster(points, 7)
    own = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    for number in range(7):
        np.testing.assert_allclose(points[own == number].mean(axis=0), centres[number], atol=1e-4)
    assert np.array_equal(centres, cluster(points, 7))
    assert not np.array_equal(centres, cluster(points, 7, seed=1))


def test_features_have_length_one_and_follow_the_seed(photos, embedder):
    found = sample_features(embedder, photos, Engine())
    assert found.shape == (6 * 12, embedder.extractor.width)  # maps of 3 x 4 places
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert np.array_equal(found, sample_features(embedder, photos, Engine(batch=2)).copy()) or (
        np.abs(found - sample_features(embedder, photos, Engine(batch=2))).max() < 1e-5
    )


def test_netvlad_starts_where_a_second_choice_weighs_a_hundredth(photos, embedder):
    alpha = start_netvlad(embedder, photos, Engine())
    features = torch.from_numpy(sample_features(embedder, photos, Engine()))
    centres = embedder.aggregator.centroids.detach()
    cosines = features @ torch.nn.functional.normalize(centres, dim=1).T
    best = cosines.topk(2, dim=1).values
    gap = alpha * (best[:, 0] - best[:, 1]).mean()
    assert float(torch.exp(-gap)) == pytest.approx(0.01, rel=1e-3)


def test_others_are_left_alone(photos):
    gem = Embedder(EmbedderSettings(aggregation="gem"), pretrained=False)
    assert start_netvlad(gem, photos, Engine()) is None


def test_too_few_or_unreadable_photos_are_refused(photos, embedder, tmp_path):
    with pytest.raises(ValueError, match="cannot make 99 clusters"):
        cluster(np.zeros((10, 4), np.float32), 99)
    for path in photos.paths:
        path.write_bytes(b"no photo")
    with pytest.raises(ValueError, match="none of the photos"):
        start_netvlad(embedder, photos, Engine())
