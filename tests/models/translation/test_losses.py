"""UNIT's losses, each against a loop over its formula, on tiny networks."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from models.places.local_features import Extractor, Local
from models.translation.losses import (
    Losses,
    Perceptual,
    build_perceptual,
    discriminator_loss,
    divergence,
    judged,
    pass_through,
    translator_losses,
)
from models.translation.networks import SIDES, Discriminator, Translator
from models.translation.settings import UnitSettings

TINY = UnitSettings(
    dim=2, residual_blocks=1, discriminator_dim=2, discriminator_layers=2, scales=2, crop=8,
    short_side=8, perceptual_weight=0.5, gan_weight=2.0,
)  # fmt: skip
OTHER = {"day": "night", "night": "day"}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def photos():
    return {side: torch.rand(2, 3, 8, 8, generator=generator(i)) * 2 - 1
            for i, side in enumerate(SIDES)}  # fmt: skip


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return Translator(TINY), {side: Discriminator(TINY) for side in SIDES}


class Edges(Extractor):
    """Differences of neighbours, three channels: features by hand."""

    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)

    def forward(self, images):
        return Local(images[:, :, :, 1:] - images[:, :, :, :-1])


def mean_of(values, of):
    values = list(values)
    return sum(of(value) for value in values) / len(values)


def absolute(ours, theirs):
    pairs = zip(ours.flatten().tolist(), theirs.flatten().tolist(), strict=True)
    return mean_of(pairs, lambda pair: abs(pair[0] - pair[1]))


def square(values, wanted=0.0):
    return mean_of(values.flatten().tolist(), lambda value: (value - wanted) ** 2)


def test_the_six_losses_are_those_of_loops(networks, photos):
    translator, judges = networks
    perceptual = Perceptual(Edges())
    losses = translator_losses(pass_through(translator, photos, generator(7)), judges, perceptual)
    random = generator(7)

    def noisy(mean):
        return mean + torch.randn(mean.shape, generator=random)

    with torch.no_grad():
        codes = {side: translator.encode(photos[side], side) for side in SIDES}
        drawn = {side: noisy(codes[side]) for side in SIDES}
        night = {side: translator.decode(drawn[side], OTHER[side]) for side in SIDES}
        again = {side: translator.decode(drawn[side], side) for side in SIDES}
        second = {side: translator.encode(night[side], OTHER[side]) for side in SIDES}
        back = {side: translator.decode(noisy(second[side]), side) for side in SIDES}
        expected = {
            "gan": sum(square(m, 1.0) for s in SIDES for m in judges[OTHER[s]](night[s])),
            "recon": sum(absolute(again[s], photos[s]) for s in SIDES),
            "kl": sum(square(codes[s]) for s in SIDES),
            "cycle": sum(absolute(back[s], photos[s]) for s in SIDES),
            "cycle_kl": sum(square(second[s]) for s in SIDES),
            "perceptual": sum(perceived(night[s], photos[s]) for s in SIDES),
        }
    for name, value in losses._asdict().items():
        assert float(value.detach()) == pytest.approx(expected[name], rel=1e-4), name
    total = (
        2.0 * expected["gan"] + 10 * expected["recon"] + 0.01 * expected["kl"]
        + 10 * expected["cycle"] + 0.01 * expected["cycle_kl"] + 0.5 * expected["perceptual"]
    )  # fmt: skip
    assert float(losses.total(TINY).detach()) == pytest.approx(total, rel=1e-4)


def perceived(ours, theirs):
    """Mean square difference of the edges, each channel of each photo made mean 0, variance 1."""

    def features(pictures):
        found = []
        for photo in pictures:
            for channel, (mean, std) in enumerate(zip(Edges.mean, Edges.std, strict=True)):
                rows = [
                    [((v + 1) / 2 - mean) / std for v in row] for row in photo[channel].tolist()
                ]
                edges = [b - a for row in rows for a, b in pairwise(row)]
                middle = sum(edges) / len(edges)
                spread = math.sqrt(sum((e - middle) ** 2 for e in edges) / len(edges) + 1e-5)
                found += [(edge - middle) / spread for edge in edges]
        return torch.tensor(found)

    return square(features(ours) - features(theirs))


def test_without_a_weight_nothing_is_perceived(networks, photos):
    translator, judges = networks
    losses = translator_losses(pass_through(translator, photos, generator()), judges, None)
    assert float(losses.perceptual) == 0
    assert build_perceptual(UnitSettings(perceptual_weight=0)) is None


def test_the_discriminators_loss_is_that_of_a_loop_and_leaves_the_translator_alone(
    networks, photos
):
    translator, judges = networks
    night = pass_through(translator, photos, generator()).translated
    loss = discriminator_loss(photos, night, judges)
    expected = 0.0
    for side in SIDES:
        expected += sum(square(real, 1.0) for real in judges[side](photos[side]))
        expected += sum(square(fake, 0.0) for fake in judges[side](night[OTHER[side]]))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    loss.backward()
    assert all(weights.grad is None for weights in translator.parameters())
    assert all(weights.grad is not None for d in judges.values() for weights in d.parameters())


def test_a_perfect_judge_of_a_perfect_translation_costs_nothing():
    assert float(judged([torch.ones(2, 1, 3, 3), torch.ones(2, 1, 1, 1)], 1.0)) == 0
    assert float(judged([torch.ones(2, 1, 3, 3), torch.full((2, 1, 1, 1), 0.5)], 0.0)) == 1.25


def test_the_divergence_is_twice_that_of_a_normal_distribution():
    """KL(N(m, 1) | N(0, 1)) = m^2 / 2, by summing p log(p / q)."""
    for mean in (0.0, 0.3, -1.5):
        step, total = 0.001, 0.0
        for i in range(-12_000, 12_000):
            x = i * step
            p = math.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi)
            total += step * p * (x**2 - (x - mean) ** 2) / 2
        assert float(divergence(torch.tensor([mean]))) == pytest.approx(2 * total, abs=1e-4)


def test_every_loss_reaches_the_translator_and_the_features_stay(networks, photos):
    translator, judges = networks
    perceptual = Perceptual(build_perceptual_extractor())
    passed = pass_through(translator, photos, generator())
    losses = translator_losses(passed, judges, perceptual)
    for name, loss in losses._asdict().items():
        translator.zero_grad()
        loss.backward(retain_graph=True)
        grads = [weights.grad for weights in translator.parameters() if weights.grad is not None]
        assert grads, name
        assert all(bool(torch.isfinite(grad).all()) for grad in grads), name
        assert any(float(grad.abs().max()) > 0 for grad in grads), name
    assert all(weights.grad is None for weights in perceptual.parameters())


def build_perceptual_extractor():
    extractor = Edges()
    extractor.unused = nn.Conv2d(3, 3, 1)
    return extractor


def test_weights_that_cannot_be_had_name_the_way_out():
    with pytest.raises(ValueError, match="--perceptual_weight 0"):
        build_perceptual(UnitSettings(perceptual_backbone="no_such_network"))


def test_the_perceptual_default_has_its_weights():
    perceptual = build_perceptual(UnitSettings(crop=64, short_side=64, scales=2))
    photo = torch.rand(1, 3, 64, 64) * 2 - 1
    assert float(perceptual(photo, photo)) == 0
    assert float(perceptual(photo, -photo)) > 0.1


def test_losses_are_weighted_by_name():
    assert Losses._fields == ("gan", "recon", "kl", "cycle", "cycle_kl", "perceptual")
