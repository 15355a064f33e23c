"""Losses over triplets against loops over the formulas, on vectors of known angles."""

import math

import pytest
import torch

from models.losses.triplet import (
    TRIPLET_LOSSES,
    hard_quadruplet,
    sare_independent,
    sare_joint,
    second_order,
    weak_triplet,
)


def at_angles(*degrees):
    """Unit vectors `(N, 2)` at these angles."""
    radians = [math.radians(angle) for angle in degrees]
    return torch.tensor([[math.cos(a), math.sin(a)] for a in radians], dtype=torch.float64)


QUERIES = at_angles(0, 90, 200)
POSITIVES = at_angles(10, 130, 200)
NEGATIVES = torch.stack([at_angles(20, 5, 180), at_angles(100, 120, 80), at_angles(0, 199, 260)])


def chord(a, b):
    return math.dist(a.tolist(), b.tolist())


def mean_over_queries(loss):
    values = [loss(q, p, list(n)) for q, p, n in zip(QUERIES, POSITIVES, NEGATIVES, strict=True)]
    return sum(values) / len(values)


def triplet_by_loop(q, p, negatives):
    terms = [max(0.0, chord(q, p) - chord(q, n) + 0.1) for n in negatives]
    return sum(terms) / len(terms)


def test_weak_triplet():
    ours = weak_triplet(QUERIES, POSITIVES, NEGATIVES)
    assert ours.item() == pytest.approx(mean_over_queries(triplet_by_loop), abs=1e-6)


def test_sare():
    def independent(q, p, negatives):
        terms = [math.log(1 + math.exp(chord(q, p) ** 2 - chord(q, n) ** 2)) for n in negatives]
        return sum(terms) / len(terms)

    def joint(q, p, negatives):
        terms = [math.exp(chord(q, p) ** 2 - chord(q, n) ** 2) for n in negatives]
        return math.log(1 + sum(terms))

    for ours, theirs in ((sare_independent, independent), (sare_joint, joint)):
        found = ours(QUERIES, POSITIVES, NEGATIVES).item()
        assert found == pytest.approx(mean_over_queries(theirs), abs=1e-9)


def test_second_order():
    def loop(q, p, negatives):
        terms = [(chord(q, n) ** 2 - chord(p, n) ** 2) ** 2 for n in negatives]
        return triplet_by_loop(q, p, negatives) + 3 * math.sqrt(sum(terms))

    ours = second_order(QUERIES, POSITIVES, NEGATIVES, weight=3)
    assert ours.item() == pytest.approx(mean_over_queries(loop), abs=1e-5)


def test_hard_quadruplet():
    def loop(q, p, negatives):
        first = min(negatives, key=lambda n: chord(q, n))
        pairs = [chord(q, n) for n in negatives]
        pairs += [chord(first, n) for n in negatives if n is not first]
        return max(0.0, chord(q, p) ** 2 - min(pairs) ** 2 + 0.5)

    ours = hard_quadruplet(QUERIES, POSITIVES, NEGATIVES)
    assert ours.item() == pytest.approx(mean_over_queries(loop), abs=1e-9)


@pytest.mark.parametrize("name", TRIPLET_LOSSES)
def test_easy_triplets_cost_little_and_pull_in_the_right_direction(name):
    loss = TRIPLET_LOSSES[name]
    far = at_angles(110, 180, 250)[None]
    easy = loss(at_angles(0), at_angles(0), far)
    hard = loss(at_angles(0), at_angles(90), at_angles(10, 20, 30)[None])
    assert easy < 0.2
    assert hard > easy + 0.3
    positive = at_angles(90).requires_grad_()
    loss(at_angles(0), positive, at_angles(40, 60, 300)[None]).backward()
    step = torch.nn.functional.normalize(positive - 0.01 * positive.grad, dim=1)
    assert step[0, 0] > positive[0, 0]  # towards the query at 0 degrees


@pytest.mark.parametrize("name", TRIPLET_LOSSES)
def test_equal_descriptors_have_finite_gradients_and_a_batch_is_the_mean_of_its_rows(name):
    loss = TRIPLET_LOSSES[name]
    same = torch.ones(2, 4).div(2).requires_grad_()
    loss(same, same, same[:, None].repeat(1, 3, 1)).backward()
    assert same.grad.isfinite().all()
    rows = [loss(QUERIES[i : i + 1], POSITIVES[i : i + 1], NEGATIVES[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss(QUERIES, POSITIVES, NEGATIVES), torch.stack(rows).mean())


def test_one_negative_is_enough():
    for loss in TRIPLET_LOSSES.values():
        assert loss(QUERIES, POSITIVES, NEGATIVES[:, :1]).isfinite()
