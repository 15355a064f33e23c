"""The curve's lookup tables against their recursive definition."""

import numpy as np
import pytest
import s2sphere

from partitioning.hilbert import MAX_LEVEL, leaf_ids, squares


@pytest.fixture
def random_squares():
    rng = np.random.default_rng(0)
    face, i, j = rng.integers(0, [[6], [1 << 30], [1 << 30]], (3, 2000))
    i[:2], j[:2] = (0, (1 << MAX_LEVEL) - 1), ((1 << MAX_LEVEL) - 1, 0)
    return face, i, j


def test_leaf_ids_equal_s2sphere(random_squares):
    expected = [
        s2sphere.CellId.from_face_ij(*square).id()
        for square in np.stack(random_squares, 1).tolist()
    ]
    np.testing.assert_array_equal(leaf_ids(*random_squares), np.array(expected, np.uint64))


def test_squares_come_back(random_squares):
    for found, given in zip(squares(leaf_ids(*random_squares)), random_squares, strict=True):
        np.testing.assert_array_equal(found, given)


def test_the_curve_steps_to_a_neighbouring_square_on_each_face():
    start = leaf_ids(np.arange(6), np.full(6, 123_456_789), np.full(6, 987_654_321))
    along = start[:, None] + 2 * np.arange(5000, dtype=np.uint64)
    _, i, j = squares(along.ravel())
    steps = abs(np.diff(i.reshape(6, -1))) + abs(np.diff(j.reshape(6, -1)))
    assert np.all(steps == 1)
