"""The multi-task loss against a loop over the formula."""

import math

import pytest
import torch

from models.geocell_vit import Prediction
from models.losses.multi_task import geocell_loss, masked_cross_entropy


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


def test_total_is_the_weighted_sum_of_the_parts():
    cells = {"coarse": torch.randn(5, 3), "fine": torch.randn(5, 7)}
    prediction = Prediction(cells, torch.randn(5, 3), torch.randn(5, 2))
    labels = {"coarse": torch.tensor([0, 1, 2, -1, 0]), "fine": torch.tensor([6, 5, -1, -1, 0])}
    scene = torch.tensor([-1, -1, 2, 0, 1])
    losses = geocell_loss(prediction, labels, scene, {"coarse": 0.5, "fine": 0.2}, 0.7)
    expected = (
        0.5 * cross_entropy_by_loop(cells["coarse"], labels["coarse"])
        + 0.2 * cross_entropy_by_loop(cells["fine"], labels["fine"])
        + 0.7 * cross_entropy_by_loop(prediction.scene, scene)
    )
    assert losses.total.item() == pytest.approx(expected, rel=1e-5)
    assert set(losses.parts) == {"coarse", "fine", "scene"}


def test_an_unlabelled_photo_changes_nothing():
    logits, labels = torch.randn(4, 5), torch.tensor([1, -1, 0, 4])
    changed = logits.clone()
    changed[1] += 100
    assert masked_cross_entropy(logits, labels) == masked_cross_entropy(changed, labels)
