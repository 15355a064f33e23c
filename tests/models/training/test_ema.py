"""The running average of weights against a loop over the formula."""

import copy

import pytest
import torch
from torch import nn

from models.training.ema import Average


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def test_it_is_the_formula():
    model = network()
    average = Average(model, 0.9)
    expected = [p.detach().double().clone() for p in model.parameters()]
    for step in range(1, 30):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
            model[1].running_mean += step
        average.update(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        for mean, parameter in zip(expected, model.parameters(), strict=True):
            mean.mul_(decay).add_(parameter.detach().double(), alpha=1 - decay)
    for mean, found in zip(expected, average.module.parameters(), strict=True):
        torch.testing.assert_close(found.double(), mean, atol=1e-5, rtol=1e-5)
    assert torch.equal(average.module[1].running_mean, model[1].running_mean)


def test_it_begins_as_a_copy_that_learns_nothing_and_stays_in_evaluation():
    model = network().train()
    average = Average(model, 0.99)
    for ours, theirs in zip(average.module.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours is not theirs
        assert not ours.requires_grad
    assert average.train() is average
    assert not any(module.training for module in average.modules())
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_it_goes_on_from_its_state():
    model = network()
    one = Average(model, 0.9)
    one.update(model, 1)
    other = Average(network(), 0.9)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    with torch.no_grad():
        model[0].weight.fill_(3)
    for average in (one, other):
        average.update(model, 2)
    assert torch.equal(one.module[0].weight, other.module[0].weight)


@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="--ema must lie between 0"):
        Average(network(), decay)
