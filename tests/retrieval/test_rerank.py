"""Re-ranking: order, who is asked, and GeoWarp's scores against one pair at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models.geowarp import GeoWarp, dense_features
from models.homography import warp
from models.places.local_features import MapExtractor
from models.warping.file import ExtractorParts, WarpModel
from retrieval.descriptor_cache import Engine
from retrieval.evaluate import Share
from retrieval.geowarp.reranker import GeoWarpReranker
from retrieval.geowarp.views import shown_to
from retrieval.nearest import Nearest
from retrieval.rerank import (
    RerankSettings,
    beside,
    first_answers_compared,
    order_by,
    rerank,
    rerank_settings_of,
)
from retrieval.test import parse
from retrieval.testing.recall_report import Recalls, measure

SIZE = (30, 40)
DATABASE = [Path(f"d{i}") for i in range(6)]
FOUND = Nearest(
    np.array([[4, 2, 0, 1], [1, 3, 5, 0], [2, -1, -1, -1], [-1, -1, -1, -1]]),
    np.array([[0.1, 0.2, 0.5, 0.6], [0.1, 0.9, 1.0, 1.1], [0.3] + [np.inf] * 3, [np.inf] * 4],
             np.float32),
)  # fmt: skip


class ByNumber:
    """Scores a candidate by its number and remembers who was asked."""

    def __init__(self):
        self.asked, self.refused, self.not_warped = [], {}, 0

    def __call__(self, query, candidates):
        self.asked.append((query.name, [path.name for path in candidates]))
        return np.array([float(path.name[1:]) for path in candidates])


def settings(**changes):
    return RerankSettings("geowarp", Path("warp"), **changes)


def run(**changes):
    by_number = ByNumber()
    queries = [Path(f"q{i}") for i in range(4)]
    return rerank(FOUND, DATABASE, queries, settings(**changes), by_number), by_number


def test_the_first_answers_are_sorted_and_the_others_stay():
    done, by_number = run(top=3)
    assert done.found.rows.tolist()[:2] == [[4, 2, 0, 1], [5, 3, 1, 0]]
    np.testing.assert_allclose(done.found.distances[1], [1.0, 0.9, 0.1, 1.1])
    np.testing.assert_array_equal(done.found.rows[2:], FOUND.rows[2:])
    assert by_number.asked == [("q0", ["d4", "d2", "d0"]), ("q1", ["d1", "d3", "d5"])]
    assert (done.asked, done.changed) == (2, 1)
    assert FOUND.rows[1, 0] == 1  # what was handed in is as it was


def test_only_close_ones_are_asked():
    done, by_number = run(top=3, only_if_close=0.5)
    assert [query for query, _ in by_number.asked] == ["q0"]
    assert done.found.rows[1].tolist() == FOUND.rows[1].tolist()
    assert run(only_if_close=0.0)[0].asked == 0


def test_ties_and_unreadable_ones_keep_their_places():
    assert order_by(np.array([1.0, 3.0, 1.0, 3.0])).tolist() == [1, 3, 0, 2]
    assert order_by(np.array([1.0, np.nan, 2.0, np.nan])).tolist() == [2, 1, 0, 3]
    assert order_by(np.array([])).tolist() == []


def test_wrong_settings_are_refused():
    for changes, why in (
        ({"top": 1}, "--rerank_top must be 2 or more"),
        ({"only_if_close": -1.0}, "--rerank_only_if_close must be 0 or more"),
        ({"only_if_close": float("nan")}, "--rerank_only_if_close must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=why):
            settings(**changes)
    with pytest.raises(ValueError, match="must be one of geowarp"):
        RerankSettings("superglue", Path("warp"))
    with pytest.raises(ValueError, match="must be one of maps, photos"):
        GeoWarpReranker(warp_model(), Engine(), "pixels")


def of_flags(*flags):
    return rerank_settings_of(parse(["--data", "x", *flags])[0])


ASKED = ("--rerank", "geowarp", "--rerank_model", "warp")


def test_flags_become_settings():
    assert of_flags() is None
    assert of_flags(*ASKED) == RerankSettings("geowarp", Path("warp"), 5, None, "maps")
    all_of_them = ["--rerank_top", "7", "--rerank_only_if_close", "0", "--rerank_warp", "photos"]
    expected = RerankSettings("geowarp", Path("warp"), 7, 0.0, "photos")
    assert of_flags(*ASKED, *all_of_them) == expected


@pytest.mark.parametrize("flag", ["top 5", "warp maps", "model x", "only_if_close 0"])
def test_flags_without_what_they_belong_to_are_refused(flag):
    name, value = flag.split()
    with pytest.raises(ValueError, match=f"these go with --rerank: --rerank_{name}$"):
        of_flags(f"--rerank_{name}", value)


@pytest.mark.parametrize("method", ["crop_voting", "maj_voting"])
def test_a_margin_of_distances_after_a_vote_is_refused(method):
    voted = (*ASKED, "--test_method", method)
    assert of_flags(*voted) is not None
    with pytest.raises(ValueError, match=f"--test_method {method} are in the order of a vote"):
        of_flags(*voted, "--rerank_only_if_close", "0.1")
    assert of_flags(*ASKED, "--test_method", "nearest_crop", "--rerank_only_if_close", "0.1")


def test_recall_before_stands_below_recall_after():
    positives = [np.array([2]), np.array([5]), np.array([1]), np.array([0])]
    before = measure(FOUND.rows, positives, (1, 2))
    done, _ = run(top=3)
    after = measure(done.found.rows, positives, (1, 2))
    both = beside(before, after)
    assert both.of_all[1].hits == 1
    assert both.by_condition["before re-ranking"][1].hits == 0
    told = first_answers_compared(FOUND, done.found, positives)
    assert told.startswith("R@1 +25.0 points")
    assert "1 queries won, 0 lost of 4" in told
    night = Share(1, 2, 0.5, 0.1, 0.9)
    noted = [Recalls({1: night}, {"night": {1: night}}, 0, 2, {}) for _ in range(2)]
    assert list(beside(*noted).by_condition) == [
        "before re-ranking", "night", "night, before re-ranking",
    ]  # fmt: skip


def warp_model():
    torch.manual_seed(0)
    model = GeoWarp(MapExtractor(nn.Conv2d(3, 6, 2, stride=2), 6)).eval()
    nn.init.normal_(model.regression.linear.weight, std=0.03)
    return WarpModel(model, ExtractorParts("none", "conv4", 30), SIZE, {})


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path in paths:
        blurred = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8))
        blurred.resize(SIZE[::-1], Image.Resampling.BICUBIC).save(path)
    return paths


@pytest.mark.parametrize("warped", ["maps", "photos"])
def test_scores_are_those_of_one_pair_at_a_time(warped, photos):
    held = warp_model()
    reranker = GeoWarpReranker(held, Engine(workers=0), warped)
    found, model = reranker(photos[0], photos[1:]), held.model
    expected = []
    with torch.inference_mode():
        for path in photos[1:]:
            a, b = (shown_to(model, reranker._pictures([p]), Engine()) for p in (photos[0], path))
            quads = model.quads(model.dense(a), model.dense(b))
            if warped == "photos":
                pair = [model.dense(warp(p, q)) for p, q in zip((a, b), quads, strict=True)]
            else:
                pair = [
                    dense_features(warp(model.maps(p), q))
                    for p, q in zip((a, b), quads, strict=True)
                ]
            expected.append(float((pair[0].double() * pair[1].double()).sum()))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert reranker.not_warped == 0


def test_the_query_is_encoded_once_and_candidates_once_for_all(photos, monkeypatch):
    reranker = GeoWarpReranker(warp_model(), Engine(workers=0))
    extractor, passed = reranker.model.extractor, []
    forward = extractor.forward
    monkeypatch.setattr(extractor, "forward", lambda x: passed.append(len(x)) or forward(x))
    reranker(photos[0], photos[1:4])
    reranker(photos[1], photos[2:5])
    assert passed == [4, 1]  # the second query was a candidate; one of its candidates is new


def test_the_cache_is_bounded(photos, monkeypatch):
    monkeypatch.setattr("retrieval.geowarp.reranker.CACHE_BYTES", 6 * 15 * 20 * 4 * 3)
    reranker = GeoWarpReranker(warp_model(), Engine(workers=0))
    alone = reranker(photos[0], photos[1:])
    assert len(reranker._maps) == 3
    np.testing.assert_allclose(reranker(photos[0], photos[1:]), alone, rtol=1e-5)


def test_photos_that_cannot_be_read_have_no_score(photos):
    photos[2].write_bytes(b"no")
    reranker = GeoWarpReranker(warp_model(), Engine(workers=0))
    scores = reranker(photos[0], photos[1:])
    assert np.isnan(scores).tolist() == [False, True, False, False]
    assert list(reranker.refused) == [str(photos[2])]
    assert np.isnan(reranker(photos[2], photos[:2])).all()


def test_a_mirrored_view_is_not_compared(photos):
    held = warp_model()
    nn.init.zeros_(held.model.regression.linear.weight)
    with torch.no_grad():
        corners = held.model.regression.linear.bias.view(8, 2)
        corners[:4] = corners[[1, 0, 3, 2]]  # of the query, left for right
        corners[4:] = corners[[5, 4, 7, 6]]
    reranker = GeoWarpReranker(held, Engine(workers=0))
    scores = reranker(photos[0], photos[:1])
    assert reranker.not_warped == 1
    assert scores[0] == pytest.approx(15 * 15, rel=1e-3)


def test_quads_that_are_no_pictures_leave_the_pair_as_it_is(photos):
    held = warp_model()
    nn.init.zeros_(held.model.regression.linear.weight)
    nn.init.zeros_(held.model.regression.linear.bias)
    reranker = GeoWarpReranker(held, Engine(workers=0))
    scores = reranker(photos[0], photos[:2])
    assert reranker.not_warped == 2
    assert scores[0] == pytest.approx(15 * 15, rel=1e-3)  # with itself: each place has length 1
    assert scores[1] < 15 * 15 - 1
