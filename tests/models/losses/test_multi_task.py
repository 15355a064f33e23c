"""The masked cross-entropy against a loop over the formula."""

import math

import pytest
import torch

from models.losses.multi_task import masked_cross_entropy


def cross_entropy_by_loop(logits, labels):
    terms = [
        -(row[label] - math.log(sum(math.exp(v) for v in row)))
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
        if label >= 0
    ]
    return sum(terms) / len(terms) if terms else 0.0


def test_masked_cross_entropy_matches_a_loop():
    logits, labels = torch.randn(6, 4), torch.tensor([0, -1, 3, 2, -1, 1])
    ours = masked_cross_entropy(logits, labels)
    assert ours.item() == pytest.approx(cross_entropy_by_loop(logits, labels), rel=1e-5)


def test_no_label_at_all_costs_nothing_and_keeps_the_gradient_finite():
    logits = torch.randn(3, 4, requires_grad=True)
    loss = masked_cross_entropy(logits, torch.full((3,), -1))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_an_unlabelled_photo_changes_nothing():
    logits, labels = torch.randn(4, 5), torch.tensor([1, -1, 0, 4])
    changed = logits.clone()
    changed[1] += 100
    assert masked_cross_entropy(logits, labels) == masked_cross_entropy(changed, labels)
