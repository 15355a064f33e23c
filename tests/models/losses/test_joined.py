"""The mean over ranks of their joined losses is the loss of one batch."""

import pytest
import torch

from models.losses.joined import joined_loss, part_weights
from models.losses.settings import LossSettings


def test_ranks_with_few_labels_count_for_few():
    torch.manual_seed(0)
    weights = {"fine": 0.7, "scene": 0.3}
    values = {name: torch.randn(12, requires_grad=True) for name in weights}
    known = {"fine": torch.arange(12) < 9, "scene": torch.tensor([1, 0, 0] * 4).bool()}
    known["scene"][:4] = False  # the first rank has no scene at all
    ranks = [slice(0, 4), slice(4, 8), slice(8, 12)]
    counts = [{name: known[name][rank].sum() for name in weights} for rank in ranks]
    mean = torch.tensor([[float(c[n]) for n in weights] for c in counts]).mean(0)
    total = 0
    for rank, count in zip(ranks, counts, strict=True):
        parts = {
            name: (values[name][rank] * known[name][rank]).sum() / count[name].clamp(min=1)
            for name in weights
        }
        total = total + joined_loss(parts, weights, count, lambda _: mean) / len(ranks)
    whole = sum(weights[name] * values[name][known[name]].mean() for name in weights)
    torch.testing.assert_close(total, whole)
    found = torch.autograd.grad(total, list(values.values()))
    expected = torch.autograd.grad(whole, list(values.values()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_part_that_no_rank_has_a_label_for_adds_nothing():
    parts = {"scene": torch.zeros((), requires_grad=True)}
    total = joined_loss(parts, {"scene": 1.0}, {"scene": torch.tensor(0)}, lambda x: x)
    total.backward()
    assert (float(total), float(parts["scene"].grad)) == (0.0, 0.0)


@pytest.mark.parametrize("consistency", [0.0, 0.2])
@pytest.mark.parametrize("retrieval", ["none", "multi_similarity", "cosface"])
@pytest.mark.parametrize("levels", [("coarse", "middle", "fine"), ("fine",)])
def test_weights_are_those_of_the_loss(build, photos, partition, levels, consistency, retrieval):
    """The weighted sum of the parts by these weights is the loss's own total."""
    from models.losses.geocell import GeocellLoss

    settings = LossSettings(consistency=consistency, retrieval=retrieval, retrieval_weight=0.3)
    model = build("both")
    loss = GeocellLoss(settings, partition, levels, model.descriptor_head.dim)
    cells = torch.stack([torch.arange(8) % len(level) for level in partition.levels.values()], 1)
    places = torch.linspace(-50, 50, 8, dtype=torch.float64)
    losses = loss(model(*photos), cells, torch.arange(8) % 3, places, places)
    weights = part_weights(settings, levels)
    assert weights.keys() == losses.parts.keys()
    total = sum(weights[name] * part for name, part in losses.parts.items())
    torch.testing.assert_close(total, losses.total)
