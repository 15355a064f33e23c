"""Learning-rate schedules against torch's own and the formulas."""

import math

import pytest
import torch

from models.training.schedule import SCHEDULES, schedule


def by_torch(build, total):
    """Rates of a torch scheduler over a peak of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = build(optimizer)
    rates = []
    for step in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < total - 1:
            scheduler.step()
    return rates


@pytest.mark.parametrize("total", [10, 97, 1000])
def test_one_cycle_is_torchs(total):
    rate = schedule("one_cycle", total)
    expected = by_torch(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, 1.0, total_steps=total, cycle_momentum=False
        ),
        total,
    )
    assert [rate(step) for step in range(total)] == pytest.approx(expected, abs=1e-9)


def test_cosine_after_its_warm_up_is_torchs():
    rate = schedule("cosine", 100, 0.1)
    assert [rate(s) for s in range(10)] == pytest.approx([(s + 1) / 10 for s in range(10)])
    expected = by_torch(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 90), 90)
    assert [rate(s) for s in range(10, 100)] == pytest.approx(expected, abs=1e-9)
    assert rate(100) == pytest.approx(0)
    assert rate(55) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))


def test_constant_climbs_and_stays():
    rate = schedule("constant", 40, 0.25)
    assert [rate(s) for s in (0, 4, 9, 10, 39)] == pytest.approx([0.1, 0.5, 1, 1, 1])


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 3])
def test_the_shortest_runs_have_a_rate(name, total):
    rates = [schedule(name, total, 0.05)(step) for step in range(total + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert max(rates) > 0


def test_an_unknown_schedule_lists_the_known():
    with pytest.raises(ValueError, match="cosine, one_cycle, constant, got 'step'"):
        schedule("step", 10)
