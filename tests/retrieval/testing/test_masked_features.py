"""Masked features against loops over the places that are seen."""

import numpy as np
import pytest
import torch

from models.places.embedder import Embedder, EmbedderSettings
from retrieval.testing.masked_features import masked_descriptors, seen_places

SIZE = (64, 96)


@pytest.fixture(scope="module")
def build():
    """An untrained embedder of each aggregation, with one backbone for all."""
    made = {}

    def make(aggregation, **more):
        torch.manual_seed(0)
        settings = EmbedderSettings(aggregation=aggregation, clusters=4, **more)
        embedder = Embedder(settings, pretrained=False).eval()
        embedder.extractor = made.setdefault("backbone", embedder.extractor)
        return embedder

    return make


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(0)
    hidden = torch.zeros(3, *SIZE, dtype=torch.bool)
    hidden[0, 20:50, 10:70] = True
    hidden[1, :, :33] = True
    return torch.randn(3, 3, *SIZE), hidden


def length_one(vector):
    return vector / np.linalg.norm(vector)


def by_loop_gem(features, p=3.0):
    sums = [sum(max(x[d], 1e-6) ** p for x in features) for d in range(len(features[0]))]
    return length_one(np.array([(s / len(features)) ** (1 / p) for s in sums]))


def by_loop_netvlad(features, weight, centroids):
    residuals = np.zeros(centroids.shape)
    for x in features:
        unit = length_one(x)
        scores = np.exp(weight @ unit - (weight @ unit).max())
        for k, share in enumerate(scores / scores.sum()):
            residuals[k] += share * (unit - centroids[k])
    return length_one(np.concatenate([length_one(row) for row in residuals]))


@torch.no_grad()
@pytest.mark.parametrize("aggregation", ["gem", "netvlad", "spoc", "mac"])
def test_equals_a_loop_over_the_places_that_are_seen(build, batch, aggregation):
    embedder, (images, hidden) = build(aggregation), batch
    maps = embedder.local(images).double().numpy()
    found = masked_descriptors(embedder, images, hidden).numpy()
    height, width = SIZE[0] // maps.shape[2], SIZE[1] // maps.shape[3]
    for n in range(len(images)):
        features = []
        for i, j in np.ndindex(maps.shape[2:]):
            cell = hidden[n, i * height : (i + 1) * height, j * width : (j + 1) * width]
            if cell.float().mean() <= 0.5:
                features.append(maps[n, :, i, j])
        assert (len(features) < maps[0, 0].size) == (n < 2)
        if aggregation == "gem":
            expected = by_loop_gem(features)
        elif aggregation == "netvlad":
            weight = embedder.aggregator.conv.weight[:, :, 0, 0].double().numpy()
            centroids = embedder.aggregator.centroids.double().numpy()
            expected = by_loop_netvlad(features, weight, centroids)
        else:
            pool = np.mean if aggregation == "spoc" else np.max
            expected = length_one(pool(features, axis=0))
        np.testing.assert_allclose(found[n], expected, atol=2e-5)


@torch.no_grad()
def test_nothing_hidden_changes_nothing_and_all_hidden_is_described_whole(build, batch):
    embedder, (images, _) = build("gem", fc_dim=8), batch
    plain = embedder(images)
    for value in (False, True):
        hidden = torch.full((3, *SIZE), value)
        torch.testing.assert_close(masked_descriptors(embedder, images, hidden), plain)


@torch.no_grad()
def test_a_photo_is_described_the_same_in_any_company(build, batch):
    embedder, (images, hidden) = build("netvlad"), batch
    together = masked_descriptors(embedder, images, hidden)
    for n in range(3):
        alone = masked_descriptors(embedder, images[n : n + 1], hidden[n : n + 1])
        torch.testing.assert_close(alone[0], together[n], atol=1e-5, rtol=1e-5)


def test_a_place_is_seen_if_at_most_half_of_it_is_hidden():
    hidden = torch.zeros(1, 4, 8, dtype=torch.bool)
    hidden[0, :2, :4] = True  # half of the first place
    hidden[0, :3, 4:] = True  # three quarters of the second
    assert seen_places(hidden, (1, 2)).tolist() == [[[True, False]]]


def test_what_cannot_be_masked_is_refused(build, batch):
    images, hidden = batch
    with pytest.raises(ValueError, match="rmac needs the whole feature map"):
        masked_descriptors(build("rmac"), images, hidden)
    with pytest.raises(ValueError, match="do not fit"):
        masked_descriptors(build("gem"), images, hidden[:, :10])
