"""Cached descriptors are those of one photo at a time, whatever batch, order, view and rank."""

import numpy as np
import pytest
import torch
from PIL import Image

from data.place_sets.photos import PlacePhotos
from data.transforms import normalize
from models.places.embedder import Embedder, EmbedderSettings
from retrieval import descriptor_cache
from retrieval.descriptor_cache import Engine, describe, describe_shared


@pytest.fixture(scope="module")
def embedder():
    torch.manual_seed(0)
    return Embedder(EmbedderSettings("efficientnet_lite0", "gem"), pretrained=False)


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(9)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return PlacePhotos(paths, (32, 48))


def one_at_a_time(embedder, photos):
    extractor = embedder.extractor
    with torch.inference_mode():
        return np.stack(
            [
                embedder.eval()(normalize(photos[i], extractor.mean, extractor.std))[0].numpy()
                for i in range(len(photos))
            ]
        )


@pytest.mark.parametrize("batch", [1, 4, 50])
def test_descriptors_are_those_of_single_photos(embedder, photos, batch):
    expected = one_at_a_time(embedder, photos)
    embedder.train()
    rows = np.array([8, 3, 3, 0])
    done = []
    found = describe(embedder, photos, rows, Engine(batch=batch), on_done=done.append)
    assert embedder.training  # put back as it was
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], expected[rows], atol=1e-5)
    assert sum(done) == 4


def test_unreadable_photos_have_zeros(embedder, photos):
    photos.paths[2].write_bytes(b"")
    found = describe(embedder, photos, engine=Engine(batch=4))[:, 0]
    assert np.flatnonzero(~found.any(axis=1)).tolist() == [2]
    assert list(photos.refused) == [str(photos.paths[2])]


def test_several_pictures_of_a_photo_and_a_memory_map(embedder, photos, tmp_path):
    twice = PlacePhotos(photos.paths, (32, 48), lambda rgb: torch.stack([rgb, rgb.flip(-1)]))
    out = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float16, (9, 2, embedder.dim))
    assert describe(embedder, twice, None, Engine(batch=4), out) is out
    plain = PlacePhotos(photos.paths, (32, 48), lambda rgb: rgb[None])
    expected = describe(embedder, plain, None, Engine())[:, 0]
    np.testing.assert_allclose(out[:, 0], expected, atol=1e-3)
    assert np.abs(out[:, 1] - expected).max() > 1e-3


@pytest.mark.parametrize(("world", "count"), [(2, 9), (3, 8), (4, 3)])
def test_shares_of_ranks_together_are_the_whole(embedder, photos, world, count, monkeypatch):
    """The ranks one after the other: what each sends is noted, then handed to all."""
    rows = np.arange(count)[::-1].copy()
    sent = []
    monkeypatch.setattr(descriptor_cache, "_world", lambda: world)

    def note(parts, padded):
        sent.append(padded.clone())

    monkeypatch.setattr(torch.distributed, "all_gather", note)
    for rank in range(world):
        monkeypatch.setattr(descriptor_cache, "_rank", lambda rank=rank: rank)
        describe_shared(embedder, photos, rows, Engine())

    def hand_out(parts, padded):
        for part, content in zip(parts, sent, strict=True):
            part.copy_(content)

    monkeypatch.setattr(torch.distributed, "all_gather", hand_out)
    together = describe_shared(embedder, photos, rows, Engine())
    monkeypatch.setattr(descriptor_cache, "_world", lambda: 1)
    monkeypatch.setattr(descriptor_cache, "_rank", lambda: 0)
    alone = describe_shared(embedder, photos, rows, Engine())
    np.testing.assert_allclose(together, alone, atol=1e-5)
