"""Query methods against loops written from their definitions."""

import numpy as np
import pytest
import torch

from retrieval.nearest import Nearest
from retrieval.testing.query_methods import (
    METHODS,
    five_squares,
    joined_answers,
    joined_descriptors,
    view_of,
    vote,
)

PHOTO = torch.randint(0, 256, (3, 60, 90), dtype=torch.uint8, generator=torch.Generator())


@pytest.mark.parametrize(
    ("method", "shape"),
    [
        ("hard_resize", (1, 3, 32, 40)),
        ("single_query", (1, 3, 32, 48)),
        ("central_crop", (1, 3, 32, 40)),
        ("five_crops", (5, 3, 32, 32)),
        ("nearest_crop", (5, 3, 32, 32)),
        ("maj_voting", (5, 3, 32, 32)),
        ("crop_voting", (5, 3, 224, 224)),
    ],
)
def test_shapes(method, shape):
    assert view_of(method, (32, 40))(PHOTO).shape == shape


@pytest.mark.parametrize("size", [(3, 5, 200), (3, 200, 5), (3, 1, 1), (3, 32, 40)])
@pytest.mark.parametrize("method", METHODS)
def test_photos_smaller_than_the_crop_and_of_any_shape(method, size):
    view = view_of(method, (32, 40))(torch.zeros(size, dtype=torch.uint8))
    assert min(view.shape[2:]) >= 32


def test_the_central_crop_is_the_middle():
    columns = torch.arange(200, dtype=torch.uint8).expand(3, 40, 200)
    view = view_of("central_crop", (40, 60))(columns)[0]
    assert torch.equal(view, columns[:, :, 70:130])


def test_five_squares_lie_in_the_corners_and_the_middle():
    photo = torch.arange(8 * 12).view(1, 8, 12).expand(3, 8, 12)
    found = five_squares(photo, 6)
    starts = [int(square[0, 0, 0]) for square in found]
    assert starts == [0, 6, 2 * 12, 2 * 12 + 6, 1 * 12 + 3]


def test_five_crops_average_and_the_others_do_not():
    views = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(joined_descriptors(views, "five_crops"), views.mean(1), rtol=1e-5)
    assert np.array_equal(joined_descriptors(views, "maj_voting"), views.reshape(20, 3))
    assert np.array_equal(joined_descriptors(views, "hard_resize"), views[:, 0])


def voted_by_hand(rows, distances):
    """The definition, one answer at a time."""
    distances = distances.copy()
    for depth in (1, 5, 10):
        counts = {}
        for line in rows[:, :depth]:
            for row in line:
                counts[row] = counts.get(row, 0) + 1
        for i in range(rows.shape[0]):
            for j in range(min(depth, rows.shape[1])):
                if counts[rows[i, j]] > 1:
                    distances[i, j] -= 0.01 * counts[rows[i, j]] / depth
    return distances


def ranked_by_hand(rows, distances, k):
    best = {}
    for row, distance in zip(rows.ravel().tolist(), distances.ravel().tolist(), strict=True):
        best[row] = min(distance, best.get(row, np.inf))
    return sorted(best, key=lambda row: (best[row], row))[:k]


@pytest.fixture
def found():
    """Lists of 12 answers of the five pictures of six queries, many in common."""
    random = np.random.default_rng(0)
    rows = np.stack([random.permutation(25)[:12] for _ in range(30)])
    distances = np.sort(random.uniform(0, 0.2, (30, 12)), axis=1).astype(np.float32)
    return Nearest(rows, distances)


def test_votes_are_counted_as_by_hand(found):
    for start in range(0, 30, 5):
        rows = found.rows[start : start + 5]
        distances = found.distances[start : start + 5].copy()
        expected = voted_by_hand(rows, distances)
        vote(rows, distances)
        np.testing.assert_allclose(distances, expected, atol=1e-6)
        assert not np.allclose(distances, found.distances[start : start + 5])


@pytest.mark.parametrize("method", ["nearest_crop", "maj_voting"])
def test_answers_are_joined_as_by_hand(found, method):
    joined = joined_answers(found, 5, method)
    assert joined.rows.shape == (6, 12)
    for query in range(6):
        part = slice(5 * query, 5 * query + 5)
        distances = found.distances[part]
        if method == "maj_voting":
            distances = voted_by_hand(found.rows[part], distances)
        assert joined.rows[query].tolist() == ranked_by_hand(found.rows[part], distances, 12)


def test_too_few_answers_are_padded():
    found = Nearest(np.array([[3, -1], [3, -1]]), np.array([[0.5, np.inf]] * 2, np.float32))
    joined = joined_answers(found, 2, "maj_voting")
    assert joined.rows.tolist() == [[3, -1]]


def test_an_unknown_method_is_refused_with_those_known():
    with pytest.raises(ValueError, match="hard_resize, single_query"):
        view_of("ten_crops", (32, 32))
