"""Synthetic pairs: what a bank holds is what its photos show; corner errors against a loop."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data.place_sets.photos import PlacePhotos
from models.geowarp import GeoWarp
from models.homography import warp, whole
from models.places.local_features import MapExtractor
from retrieval.descriptor_cache import Engine
from retrieval.geowarp.split import photos_in, place_of, split_by_place
from retrieval.geowarp.views import BankedViews, NewViews, corner_errors, drawn_rows, shown_to

SIZE, SHAPE = (32, 40), (3, 4)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = GeoWarp(MapExtractor(nn.Conv2d(3, 6, 2, stride=2), 6)).eval()
    nn.init.normal_(model.regression.linear.weight, std=0.05)
    return model


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    paths = [tmp_path / f"house{i}_1.png" for i in range(5)]
    for path in paths:
        blurred = Image.fromarray(random.integers(0, 256, (5, 6, 3), np.uint8))
        blurred.resize(SIZE[::-1], Image.Resampling.BICUBIC).save(path)
    return PlacePhotos(paths, SIZE)


def bank_of(model, photos, views=3, seed=0):
    return BankedViews(model, photos, 0.6, SHAPE, Engine(workers=0), seed, views)


def test_a_bank_holds_what_its_trapezoids_show(model, photos):
    bank = bank_of(model, photos)
    shown = shown_to(model, photos[3], Engine())
    for view in range(3):
        expected = model.dense(warp(shown, bank.trapezoids[3, view][None]))[0]
        torch.testing.assert_close(bank.features[3, view].float(), expected, atol=1e-3, rtol=0)


def test_pairs_of_a_bank_are_two_views_of_one_photo_with_their_truth(model, photos):
    bank = bank_of(model, photos)
    batches = list(bank(0))
    assert [len(pairs.a) for pairs in batches] == [4, 4, 4]
    for pairs in batches:
        assert not torch.equal(pairs.a, pairs.b)
        assert pairs.truth.a.abs().max() <= 1 + 1e-4
    # Both quads cut the same part out of the photo: dense features there are alike.
    shown = shown_to(model, photos[2], Engine())
    pairs = bank.pairs(np.array([2]), np.array([0]), np.array([1]))
    cut = [
        warp(warp(shown, bank.trapezoids[2, view][None]), quads)
        for view, quads in enumerate(pairs.truth)
    ]
    apart = (cut[0] - cut[1])[:, :, 3:-3, 3:-3].abs().mean()
    assert apart < 0.25 * (shown - shown.mean()).abs().mean()


def test_both_sources_repeat_an_epoch_and_change_between_epochs(model, photos):
    new = NewViews(model, photos, 0.6, SHAPE, Engine(workers=0), 0)
    for source in (new, bank_of(model, photos)):
        first, again, other = (next(iter(source(epoch))) for epoch in (1, 1, 2))
        assert torch.equal(first.a, again.a)
        assert torch.equal(first.truth.b, again.truth.b)
        assert not torch.equal(first.truth.b, other.truth.b)


def test_a_photo_that_cannot_be_read_is_left_out(model, photos):
    photos.paths[1].write_bytes(b"no")
    new = NewViews(model, photos, 0.6, (5, 5), Engine(workers=0), 0)
    assert sorted(len(pairs.a) for pairs in new(0)) == [4] * 5
    assert list(photos.refused) == [str(photos.paths[1])]
    bank = bank_of(model, photos)
    assert bank.rows.tolist() == [0, 2, 3, 4]
    for path in photos.paths:
        path.write_bytes(b"no")
    with pytest.raises(ValueError, match="no photo could be read"):
        bank_of(model, photos)


def test_a_bank_too_large_for_memory_is_refused(model, photos):
    for views in (1, 10**6):
        with pytest.raises(ValueError, match="take fewer views, or none"):
            bank_of(model, photos, views)


def test_corner_errors_are_a_loops(model, photos):
    bank = bank_of(model, photos)
    ours, identity = corner_errors(model, bank)
    assert ours.shape == identity.shape == (5, 3)
    pairs = bank.pairs(np.array([4]), np.array([2]), np.array([0]))
    found = model.quads(pairs.a, pairs.b)
    for errors, quads in ((ours, found), (identity, (whole(1), whole(1)))):
        lengths = []
        for guess, truth in zip(quads, pairs.truth, strict=True):
            for (x, y), (u, v) in zip(guess[0].tolist(), truth[0].tolist(), strict=True):
                lengths.append(((x - u) ** 2 + (y - v) ** 2) ** 0.5)
        assert errors[4, 2] == pytest.approx(sum(lengths) / 8, rel=1e-4)


def test_rows_are_drawn_all_before_any_again():
    rows = drawn_rows(5, 12, np.random.default_rng(0))
    assert sorted(rows[:5].tolist()) == sorted(rows[5:10].tolist()) == list(range(5))
    assert len(rows) == 12


def test_photos_named_alike_stay_on_one_side(tmp_path):
    names = ["lund_01.jpg", "lund_02.jpg", "arc_0.jpg", "123.jpg", "124.jpg", "sub/arc_1.JPG"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no photo")
    photos = photos_in(tmp_path)
    assert len(photos) == 6
    assert len({place_of(path) for path in photos}) == 5
    for seed in range(8):
        taught, held = split_by_place(photos, 0.4, seed)
        assert sorted(taught + held) == photos
        assert not {place_of(p) for p in taught} & {place_of(p) for p in held}
        assert len({place_of(p) for p in held}) == 2
    with pytest.raises(ValueError, match="1 photos of 1 place cannot be divided"):
        split_by_place(photos[:1], 0.2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image in"):
        photos_in(tmp_path / "empty")
    with pytest.raises(ValueError, match="no folder"):
        photos_in(tmp_path / "none")
