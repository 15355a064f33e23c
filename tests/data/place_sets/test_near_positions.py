"""Neighbours within a radius against a loop over all pairs."""

import math

import numpy as np
import pytest

from data.place_sets import near_positions
from data.place_sets.near_positions import within


def by_loop(queries, points, radius):
    return [
        [j for j, p in enumerate(points) if math.hypot(q[0] - p[0], q[1] - p[1]) <= radius]
        for q in queries
    ]


@pytest.mark.parametrize("radius", [0.0, 1.0, 25.0, 400.0, 5000.0])
def test_all_pairs_and_no_others(radius, monkeypatch):
    monkeypatch.setattr(near_positions, "CHUNK", 17)
    rng = np.random.default_rng(0)
    points = rng.uniform(400_000, 401_000, (300, 2))
    queries = np.concatenate([rng.uniform(399_000, 402_000, (50, 2)), points[:10]])
    found = within(queries, points, radius)
    expected = by_loop(queries.tolist(), points.tolist(), radius)
    assert [found.of(i).tolist() for i in range(len(queries))] == expected
    assert found.counts.tolist() == [len(row) for row in expected]
    for i in range(len(queries)):
        for j, distance in zip(
            found.of(i), found.distances_m[found.offsets[i] : found.offsets[i + 1]], strict=True
        ):
            assert distance == pytest.approx(math.dist(queries[i], points[j]))


def test_the_radius_itself_counts():
    points = np.array([[0.0, 0.0], [25.0, 0.0], [0.0, 25.000001], [-25.0, 0.0]])
    assert within(points[:1], points, 25.0).of(0).tolist() == [0, 1, 3]


def test_nothing_to_find():
    empty, one = np.empty((0, 2)), np.zeros((1, 2))
    assert within(empty, one, 5.0).counts.tolist() == []
    assert within(one, empty, 5.0).counts.tolist() == [0]
    assert within(one, one + 100, 5.0).counts.tolist() == [0]


def test_far_queries_find_nothing_and_bad_input_is_refused():
    points = np.zeros((1, 2))
    far = np.array([[1e7, 0.0], [0.0, -1e7], [0.0, 1e7], [-1e7, 1e7]])
    assert within(far, points, 10.0).counts.tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="negative"):
        within(points, points, -1.0)
    with pytest.raises(ValueError, match="finite"):
        within(points * np.nan, points, 1.0)
