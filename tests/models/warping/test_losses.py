"""GeoWarp's losses against loops over pairs, corners and coordinates."""

import pytest
import torch
from torch import nn

from models.geowarp import GeoWarp, Quads
from models.homography import warp, whole
from models.places.local_features import MapExtractor
from models.warping.losses import (
    consistency_loss,
    features_loss,
    mirrored,
    self_supervised_loss,
)


def corners(seed, count=3):
    """Near the whole picture, so that no quad is degenerate."""
    moved = torch.rand(count, 8, 2, generator=torch.Generator().manual_seed(seed)) - 0.5
    return whole(count).repeat(1, 2, 1) + moved / 2


def mse(a, b):
    """Mean of squared differences, number by number."""
    pairs = list(zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
    return sum((x - y) ** 2 for x, y in pairs) / len(pairs)


def quads_of(model, a, b):
    """What two batches of photos share, by the model."""
    with torch.no_grad():
        dense = model.dense(a), model.dense(b)
    return model.quads(*dense)


@pytest.fixture
def model():
    """A linear extractor: what warping does to its features can be followed."""
    torch.manual_seed(0)
    return GeoWarp(MapExtractor(nn.Conv2d(3, 8, 3, padding=1), 8)).train()


def test_self_supervised_is_four_errors():
    forth, back = corners(0), corners(1)
    truth = Quads(corners(2)[:, :4], corners(3)[:, :4])
    expected = sum(
        mse(forth[:, i], truth.a[:, i]) + mse(forth[:, 4 + i], truth.b[:, i])
        + mse(back[:, i], truth.b[:, i]) + mse(back[:, 4 + i], truth.a[:, i])
        for i in range(4)
    ) / 4  # fmt: skip
    assert float(self_supervised_loss(forth, back, truth)) == pytest.approx(expected, rel=1e-5)
    right = torch.cat([*truth], dim=1), torch.cat([truth.b, truth.a], dim=1)
    assert float(self_supervised_loss(*right, truth)) == 0


def test_mirroring_is_a_loops():
    found, given = mirrored(corners(0)), corners(0)
    names = ["TL", "TR", "BR", "BL"]
    partner = {"TL": "TR", "TR": "TL", "BR": "BL", "BL": "BR"}
    for quad in range(2):
        for corner, name in enumerate(names):
            from_corner = given[:, 4 * quad + names.index(partner[name])]
            expected = torch.stack([-from_corner[:, 0], from_corner[:, 1]], dim=1)
            torch.testing.assert_close(found[:, 4 * quad + corner], expected)
    torch.testing.assert_close(mirrored(mirrored(given)), given)
    torch.testing.assert_close(mirrored(whole(1).repeat(1, 2, 1)), whole(1).repeat(1, 2, 1))


def test_consistency_is_a_loops():
    four = [corners(seed) for seed in range(4)]
    other = [1, 0, 3, 2]

    def as_seen_from_b(prediction, is_swapped, is_mirrored):
        out = torch.zeros_like(prediction)
        for quad in range(2):
            for corner in range(4):
                source = prediction[:, 4 * (1 - quad if is_swapped else quad)
                                    + (other[corner] if is_mirrored else corner)]  # fmt: skip
                sign = -1 if is_mirrored else 1
                out[:, 4 * quad + corner] = source * torch.tensor([sign, 1.0])
        return out

    turns = [(True, False), (False, False), (True, True), (False, True)]
    seen = [as_seen_from_b(one, *turn) for one, turn in zip(four, turns, strict=True)]
    mean = sum(seen) / 4
    expected = sum(mse(one, mean) for one in seen)
    assert float(consistency_loss(*four)) == pytest.approx(expected, rel=1e-5)


def test_the_mean_passes_on_no_gradient():
    """Of (x - mean)^2 / n with the mean held: 2 (x - mean) / n."""
    four = [corners(seed).requires_grad_() for seed in range(4)]
    consistency_loss(*four).backward()
    swapped = [four[0].detach().roll(4, 1), four[1].detach()]
    flips = [mirrored(four[2].detach().roll(4, 1)), mirrored(four[3].detach())]
    mean = torch.stack([*swapped, *flips]).mean(0)
    expected = 2 * (four[1].detach() - mean) / mean.numel()
    torch.testing.assert_close(four[1].grad, expected)


def test_a_model_that_agrees_with_itself_has_no_loss():
    forth = corners(0)
    back = forth.roll(4, 1)
    loss = consistency_loss(forth, back, mirrored(forth), mirrored(back))
    assert float(loss) == pytest.approx(0, abs=1e-12)


def test_features_loss_is_a_loop_over_pairs(model):
    model.eval()
    nn.init.normal_(model.regression.linear.weight, std=0.02)
    a, b = torch.rand(3, 3, 30, 30), torch.rand(3, 3, 30, 30)
    found = features_loss(model, a, b, quads_of(model, a, b), torch.Generator().manual_seed(0))
    total, count = 0.0, 0
    for row in range(3):
        one, other = a[row : row + 1], b[row : row + 1]
        quads = model.quads(model.dense(one), model.dense(other))
        pair = [model.dense(warp(p, q)) for p, q in zip((one, other), quads, strict=True)]
        total += float((pair[0].double() - pair[1].double()).square().sum().detach())
        count += pair[0].numel()
    assert found.degenerate == 0
    assert float(found.value.detach()) == pytest.approx(total / count, rel=1e-4)


def test_features_loss_teaches_the_regression_only(model):
    a, b = torch.rand(4, 3, 30, 30), torch.rand(4, 3, 30, 30)
    loss = features_loss(model, a, b, quads_of(model, a, b))
    loss.value.backward()
    assert model.regression.linear.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.extractor.parameters())


def test_pairs_that_cannot_be_warped_are_left_out_and_counted(model):
    with torch.no_grad():
        model.regression.linear.bias.zero_()  # all corners in the middle
    a, b = torch.rand(2, 3, 30, 30), torch.rand(2, 3, 30, 30)
    loss = features_loss(model, a, b, quads_of(model, a, b))
    assert loss.degenerate == 2
    assert float(loss.value.detach()) == 0
    loss.value.backward()
