"""The levels' divergence against a loop over the formula."""

import math

import numpy as np
import pytest
import torch

from models.losses.nested_consistency import NestedConsistency, log_sum_by_parent

PARENTS = np.array([0, 0, 0, 1, 3, 3])  # parent 2 has no child
CHILDLESS = 2


def softmax(row):
    exponential = [math.exp(v - max(row)) for v in row]
    return [v / sum(exponential) for v in exponential]


def divergence(p, q):
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))


def by_loop(fine, coarser, direction):
    up = {m: 0.0 for m in PARENTS.tolist()}
    for probability, parent in zip(softmax(fine), PARENTS.tolist(), strict=True):
        up[parent] += probability
    own = softmax([coarser[m] for m in up])
    summed = list(up.values())
    if direction == "fine_to_coarse":
        return divergence(summed, own)
    if direction == "coarse_to_fine":
        return divergence(own, summed)
    return (divergence(summed, own) + divergence(own, summed)) / 2


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    fine = torch.randn(8, 6, generator=generator, dtype=torch.float64) * 3
    return fine, torch.randn(8, 4, generator=generator, dtype=torch.float64) * 3


@pytest.mark.parametrize("direction", ["symmetric", "fine_to_coarse", "coarse_to_fine"])
def test_it_matches_a_loop_and_one_photo_is_the_row_of_many(logits, direction):
    of = NestedConsistency(PARENTS, direction)
    ours = of(*logits)
    for row, (fine, coarser) in enumerate(zip(*logits, strict=True)):
        expected = by_loop(fine.tolist(), coarser.tolist(), direction)
        assert ours[row].item() == pytest.approx(expected, rel=1e-10)
        assert of(fine[None], coarser[None]).item() == pytest.approx(expected, rel=1e-10)
    assert of(logits[0][:0], logits[1][:0]).shape == (0,)


@pytest.mark.parametrize("direction", ["symmetric", "fine_to_coarse", "coarse_to_fine"])
def test_agreeing_levels_cost_nothing_and_disagreeing_ones_something(logits, direction):
    fine = logits[0].clone().requires_grad_()
    summed = torch.zeros(8, 4, dtype=torch.float64)
    summed.index_add_(1, torch.from_numpy(PARENTS), fine.detach().softmax(1))
    coarser = (summed + 1e-300).log()
    coarser[:, CHILDLESS] = 5.0  # whatever it says there
    coarser.requires_grad_()
    of = NestedConsistency(PARENTS, direction)
    loss = of(fine, coarser)
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.zeros_like(loss), atol=1e-12, rtol=0)
    for gradient in (fine.grad, coarser.grad):
        if gradient is not None:
            torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)
    assert (of(fine, coarser.detach().flip(1)) > 0.01).all()


def test_a_direction_teaches_one_head_only(logits):
    for direction, taught in (("fine_to_coarse", 1), ("coarse_to_fine", 0), ("symmetric", None)):
        leaves = [tensor.clone().requires_grad_() for tensor in logits]
        NestedConsistency(PARENTS, direction)(*leaves).sum().backward()
        learned = [leaf.grad is not None and bool(leaf.grad.any()) for leaf in leaves]
        assert learned == [taught in (0, None), taught in (1, None)]


def test_the_gradient_is_that_of_the_formula(logits):
    leaves = [tensor[:3].clone().requires_grad_() for tensor in logits]
    assert torch.autograd.gradcheck(NestedConsistency(PARENTS), leaves)


def test_extreme_logits_stay_finite():
    fine = torch.tensor([[300.0, -300.0, 0.0, -400.0, -500.0, -500.0]], requires_grad=True)
    coarser = torch.tensor([[-300.0, 300.0, 0.0, 0.0]], requires_grad=True)
    loss = NestedConsistency(PARENTS)(fine, coarser)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(fine.grad).all()
    assert torch.isfinite(coarser.grad).all()


def test_sums_are_those_of_an_unlikely_parent_too():
    logs = torch.tensor([[-0.0, -200.0, -201.0]])
    ours = log_sum_by_parent(logs, torch.tensor([0, 1, 1]), 2)
    assert ours[0, 1].item() == pytest.approx(-200 + math.log(1 + math.exp(-1)), rel=1e-6)
