"""Voting of a phone photo's crops, against a loop of the formula."""

import numpy as np
import pytest
import torch

from data.place_sets.photos import resized
from retrieval.nearest import Nearest
from retrieval.testing.crop_voting import CropVoting, voted, voting_crops
from retrieval.testing.query_methods import joined_answers, read_size, searched_depth, view_of


def voted_by_hand(rows, distances, depth, first, last):
    """The definition, one answer of one crop at a time."""
    votes, nearest = {}, {}
    for line, far in zip(rows.tolist(), distances.tolist(), strict=True):
        for rank, (row, distance) in enumerate(zip(line, far, strict=True), 1):
            if row < 0 or rank > last:
                continue
            votes[row] = votes.get(row, 0) + (3 if rank <= first else 2)
            nearest[row] = min(nearest.get(row, np.inf), distance)
    order = sorted(votes, key=lambda row: (-votes[row], nearest[row], row))[:depth]
    return order + [-1] * (depth - len(order)), [nearest[row] for row in order]


@pytest.fixture
def found():
    """Lists of 30 answers of the five crops of four queries; some end early, many are equal."""
    random = np.random.default_rng(0)
    rows = np.stack([random.permutation(60)[:30] for _ in range(20)])
    distances = np.sort(random.integers(0, 9, (20, 30)) / 10, axis=1).astype(np.float32)
    rows[3, 20:], distances[3, 20:] = -1, np.inf
    return Nearest(rows, distances)


@pytest.mark.parametrize(("first", "last"), [(5, 20), (1, 30), (30, 30), (4, 50)])
def test_votes_are_counted_as_by_hand(found, first, last):
    voting = CropVoting(preds_per_query=first, preds_per_crop=last)
    answers = voted(found, 5, 25, voting)
    assert answers.rows.shape == answers.distances.shape == (4, 25)
    for query in range(4):
        part = slice(5 * query, 5 * query + 5)
        rows, distances = voted_by_hand(found.rows[part], found.distances[part], 25, first, last)
        assert answers.rows[query].tolist() == rows
        assert answers.distances[query][: len(distances)].tolist() == distances


def test_the_weights_decide():
    """Three crops that find a photo late (2 + 2 + 2) beat one that finds another at once (3)."""
    rows = np.array([[7, 0, 1, 9], [2, 3, 4, 9], [5, 6, 8, 9], [-1] * 4, [-1] * 4])
    distances = np.where(rows < 0, np.inf, np.arange(4) / 10).astype(np.float32)
    voting = CropVoting(preds_per_query=1, preds_per_crop=4)
    answers = voted(Nearest(rows, distances), 5, 4, voting)
    # 9 has 6 votes; 2, 5, 7 have 3 each and are equally near: the lowest row first.
    assert answers.rows.tolist() == [[9, 2, 5, 7]]
    np.testing.assert_allclose(answers.distances, [[0.3, 0, 0, 0]], rtol=1e-6)
    without = CropVoting(preds_per_query=1, preds_per_crop=3)
    assert voted(Nearest(rows, distances), 5, 1, without).rows.tolist() == [[2]]


def test_too_few_answers_are_padded():
    nothing = Nearest(np.full((5, 3), -1), np.full((5, 3), np.inf, np.float32))
    answers = voted(nothing, 5, 2, CropVoting())
    assert answers.rows.tolist() == [[-1, -1]]
    assert np.isinf(answers.distances).all()


def test_crops_are_squares_of_90_percent_of_the_short_side():
    photo = torch.randint(0, 256, (3, 100, 150), dtype=torch.uint8)
    crops = voting_crops(photo, CropVoting(crop_px=32))
    corners = [(0, 0), (0, 60), (10, 0), (10, 60), (5, 30)]
    assert crops.shape == (5, 3, 32, 32)
    for crop, (y, x) in zip(crops, corners, strict=True):
        assert torch.equal(crop, resized(photo[:, y : y + 90, x : x + 90], (32, 32)))
    assert view_of("crop_voting", (48, 64))(photo).shape == (5, 3, 224, 224)


@pytest.mark.parametrize("size", [(3, 1, 1), (3, 2, 300), (3, 300, 2)])
def test_photos_of_any_shape_can_be_cut(size):
    assert voting_crops(torch.zeros(size, dtype=torch.uint8), CropVoting()).shape[2:] == (224, 224)


def test_the_search_goes_as_deep_as_the_crops_vote(found):
    assert searched_depth("crop_voting", 20) == 1000
    assert searched_depth("crop_voting", 2000) == 2000
    assert searched_depth("maj_voting", 20) == 20
    voting = CropVoting(preds_per_query=5, preds_per_crop=20)
    joined = joined_answers(found, 5, "crop_voting", 7, voting)
    assert np.array_equal(joined.rows, voted(found, 5, 7, voting).rows)
    assert read_size("crop_voting", (80, 112), CropVoting()) == (249, 249)
    assert read_size("hard_resize", (80, 112)) == (80, 112)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"crop_share": 1.5}, "crop_share must lie in 0..1"),
        ({"crop_px": 0}, "crop_px be positive"),
        ({"preds_per_query": 0}, "preds_per_query must be positive"),
        ({"preds_per_query": 9, "preds_per_crop": 8}, "got 9 and 8"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        CropVoting(**settings)
