"""Frozen heads: the fit is the optimum of its objective, and what is held out stays unseen."""

import numpy as np
import pytest
import torch

from models.losses.multi_task import masked_cross_entropy
from models.training.frozen_heads import apply_heads, cross_folds, fit_heads


@pytest.fixture
def clusters():
    """Sixty summaries of 100 dimensions in four clusters, every tenth without a label."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    summaries = (rng.normal(size=(4, 100))[labels] * 2 + rng.normal(size=(60, 100))) * 3 + 5
    masked = np.where(np.arange(60) % 10 == 0, -1, labels)
    return summaries.astype(np.float32), labels, masked


def test_gradient_of_the_objective_vanishes_at_the_fit(clusters):
    summaries, _, masked = clusters
    head = fit_heads(summaries, {"fine": masked}, {"fine": 4}, weight_decay=0.05)["fine"]
    x = torch.from_numpy(summaries).double()
    mean, std = x.mean(0), x.std(0, correction=0)
    weight = (head.weight.double() * std).detach().requires_grad_()
    bias = (head.bias.double() + head.weight.double() @ mean).detach().requires_grad_()
    loss = masked_cross_entropy((x - mean) / std @ weight.T + bias, torch.from_numpy(masked))
    (loss + 0.05 / 2 * weight.square().sum()).backward()
    assert weight.grad.abs().max() < 3e-4
    assert bias.grad.abs().max() < 3e-4


def test_levels_fitted_together_are_as_fitted_alone(clusters):
    summaries, labels, masked = clusters
    both = fit_heads(summaries, {"coarse": labels // 2, "fine": masked}, {"coarse": 2, "fine": 4})
    for level, classes, count in (("coarse", labels // 2, 2), ("fine", masked, 4)):
        alone = fit_heads(summaries, {level: classes}, {level: count})[level]
        torch.testing.assert_close(both[level].weight, alone.weight, atol=1e-3, rtol=0.02)


def test_learns_the_clusters_and_unlabelled_photos_too(clusters):
    summaries, labels, masked = clusters
    heads = fit_heads(summaries, {"fine": masked}, {"fine": 4})
    assert (apply_heads(heads, summaries)["fine"].argmax(1) == labels).mean() > 0.95


def test_an_unlabelled_photo_teaches_nothing_but_its_place_in_the_standardisation(clusters):
    summaries, _, _ = clusters
    with pytest.raises(ValueError, match="lower t_min"):
        fit_heads(summaries, {"fine": np.full(60, -1)}, {"fine": 4})
    summaries[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        fit_heads(summaries, {"fine": np.zeros(60, int)}, {"fine": 4})


def test_folds_hold_out_every_row_once_and_split_no_group():
    groups = np.repeat(np.arange(10), 3)
    held_out = []
    for train, held in cross_folds(groups):
        assert not set(groups[train]) & set(groups[held])
        assert len(train) + len(held) == 30
        held_out.extend(held)
    assert sorted(held_out) == list(range(30))
