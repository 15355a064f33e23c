"""GeoWarp's training loop: resuming to the bit, refusals, what each loss weighs."""

import numpy as np
import pytest
import torch
from torch import nn

from models.geowarp import GeoWarp, Quads
from models.places.local_features import MapExtractor
from models.warping.losses import consistency_loss, features_loss, self_supervised_loss
from models.warping.pairs import random_views
from retrieval.geowarp.settings import GeoWarpSettings
from retrieval.geowarp.trainer import GeoWarpTrainer, Sources, optimizer_of, rate
from retrieval.geowarp.views import ViewPairs

FEW = {"epochs": 3, "iterations_per_epoch": 2, "train_batch": 2, "optimizer": "adam", "lr": 1e-3}


PHOTOS = {"photos to learn from": "9 photos (list a)", "photos held out": "2 photos (list b)"}


def build(settings, directory, seed=0, binding=None, photos=PHOTOS):
    """A trainer of a regression with the parts of the real one, but one small layer."""
    torch.manual_seed(1)
    model = GeoWarp(MapExtractor(nn.Conv2d(3, 4, 2, stride=2), 4))
    corners = model.regression.linear.bias
    model.regression.conv = nn.Sequential(nn.Conv2d(225, 8, 15), nn.BatchNorm2d(8), nn.ReLU())
    model.regression.linear = nn.Linear(8, 16)
    model.regression.linear.bias = corners
    nn.init.normal_(model.regression.linear.weight, std=0.02)
    return GeoWarpTrainer(model, settings, directory, binding or {}, seed, photos)


def sources(settings, stops_in=None, photos=True):
    """Batches that are a function of their epoch; `stops_in`: the epoch in which it is killed."""

    def views(epoch):
        generator = torch.Generator().manual_seed(epoch)
        for step in range(settings.iterations_per_epoch):
            if epoch == stops_in and step == 1:
                raise KeyboardInterrupt
            made = random_views(2, 0.5, generator)
            a, b = torch.rand(2, 2, 4, 15, 15, generator=generator)
            yield ViewPairs(a, b, Quads(made.seen_a, made.seen_b))

    def taken(epoch):
        generator = torch.Generator().manual_seed(100 + epoch)
        for _ in range(settings.iterations_per_epoch):
            a, b = torch.rand(2, 2, 3, 30, 30, generator=generator)
            yield a, b

    return Sources(views, taken if photos else None)


def weights_of(trainer):
    return torch.cat([v.flatten().double() for v in trainer.model.state_dict().values()])


def test_a_killed_run_ends_as_the_one_that_was_not(tmp_path):
    settings = GeoWarpSettings(**FEW, schedule="cosine")
    whole = build(settings, tmp_path / "whole")
    whole.fit(sources(settings))
    killed = build(settings, tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        killed.fit(sources(settings, stops_in=1))
    torch.rand(7)  # whatever else was drawn in between
    resumed = build(settings, tmp_path / "killed")
    resumed.resume()
    assert len(resumed.history) == 1
    resumed.fit(sources(settings))
    assert torch.equal(weights_of(resumed), weights_of(whole))
    assert resumed.history == whole.history
    names = [
        sorted(p.name for p in folder.iterdir())
        for folder in (tmp_path / "whole", tmp_path / "killed")
    ]
    assert names[0] == names[1] == ["step000000004.ckpt", "step000000006.ckpt"]


def test_other_settings_other_photos_or_no_checkpoint_are_refused(tmp_path):
    settings = GeoWarpSettings(**FEW)
    with pytest.raises(ValueError, match="leave out --resume to start"):
        build(settings, tmp_path).resume()
    trainer = build(settings, tmp_path)
    trainer.refuse_used()
    trainer.fit(sources(settings))
    with pytest.raises(ValueError, match="holds a run: go on with it by --resume"):
        build(settings, tmp_path).refuse_used()
    for other, why in (
        (build(GeoWarpSettings(**FEW | {"lr": 1e-2}), tmp_path), "lr 0.001, now 0.01"),
        (build(settings, tmp_path, seed=4), "seed 0, now 4"),
        (build(settings, tmp_path, binding={"data": "b"}), "data None, now b"),
        (
            build(settings, tmp_path, photos=PHOTOS | {"photos held out": "3 photos (list c)"}),
            r"photos held out: 2 photos \(list b\), now 3 photos \(list c\)",
        ),
    ):
        with pytest.raises(ValueError, match=why):
            other.resume()
    longer = build(GeoWarpSettings(**FEW | {"epochs": 4}), tmp_path)
    longer.resume()
    longer.fit(sources(longer.settings))
    assert len(longer.history) == 4


def test_a_loss_that_is_no_number_stops_the_run_before_it_is_saved(tmp_path):
    settings = GeoWarpSettings(**FEW)
    trainer, plain = build(settings, tmp_path), sources(settings, photos=False)

    def views(epoch):
        for pairs in plain.views(epoch):
            broken = torch.full_like(pairs.truth.a, float("nan"))
            yield pairs if epoch < 1 else pairs._replace(truth=Quads(broken, broken))

    with pytest.raises(ValueError, match="self_supervised became nan at step 3: lower --lr"):
        trainer.fit(Sources(views, None))
    assert [path.name for path in tmp_path.iterdir()] == ["step000000002.ckpt"]
    assert weights_of(trainer).isfinite().all()


def test_the_first_step_is_sgds_on_the_weighted_sum(tmp_path):
    """By hand: lr x (gradient + decay x weight); momentum does nothing yet."""
    settings = GeoWarpSettings(
        ss_w=2.0, consistency_w=0, features_wise_w=0, epochs=1, iterations_per_epoch=1,
        train_batch=2, lr=0.01,
    )  # fmt: skip
    trainer, other = (build(settings, tmp_path / name) for name in ("a", "b"))
    given = sources(settings, photos=False)
    trainer.fit(given)
    pairs = next(iter(given.views(0)))
    other.model.train()
    loss = 2.0 * self_supervised_loss(*other.model.both_ways(pairs.a, pairs.b), pairs.truth)
    loss.backward()
    weight = other.model.regression.linear.weight
    expected = weight - 0.01 * (weight.grad + 1e-3 * weight)
    torch.testing.assert_close(trainer.model.regression.linear.weight, expected, rtol=0, atol=1e-7)
    assert trainer.history[0]["self_supervised"] == pytest.approx(float(loss.detach()))


def test_weak_losses_share_a_pass_and_learn_as_with_one_each(tmp_path):
    settings = GeoWarpSettings(**FEW | {"optimizer": "sgd", "epochs": 1}, consistency_w=3.0)
    trainer, other = (build(settings, tmp_path / name) for name in ("a", "b"))
    a, b = next(iter(sources(settings).photos(0)))
    trainer.model.train()
    torch.stack(list(trainer._of_photos(5, a, b).values())).sum().backward()
    model = other.model.train()
    flipped = model.dense(a.flip(-1)), model.dense(b.flip(-1))
    ways = [model.both_ways(*pair) for pair in ((model.dense(a), model.dense(b)), flipped)]
    (3.0 * consistency_loss(*ways[0], *ways[1])).backward()
    predicted = model.quads(model.dense(a), model.dense(b))
    compared = features_loss(model, a, b, predicted, other._equation_weights(5))
    (10.0 * compared.value).backward()
    assert compared.degenerate == 0
    for ours, separate in zip(
        trainer.model.regression.parameters(), model.regression.parameters(), strict=True
    ):
        torch.testing.assert_close(ours.grad, separate.grad, rtol=1e-3, atol=2e-6)


def test_pairs_that_were_not_warped_are_in_the_history(tmp_path, capsys):
    settings = GeoWarpSettings(**FEW | {"epochs": 1, "lr": 0.0})
    trainer = build(settings, tmp_path)
    nn.init.zeros_(trainer.model.regression.linear.weight)
    nn.init.zeros_(trainer.model.regression.linear.bias)
    trainer.fit(sources(settings), lambda: {"corner_error": 0.5})
    assert trainer.history[0]["not_warped"] == 4
    assert trainer.history[0]["features_wise"] == 0
    assert trainer.history[0]["corner_error"] == 0.5
    assert "pairs not warped 4" in capsys.readouterr().err


def test_learning_rates_and_optimisers():
    cosine = GeoWarpSettings(schedule="cosine", lr=1.0, epochs=2, iterations_per_epoch=500)
    rates = np.array([rate(cosine, step) for step in range(1000)])
    assert rates[0] == pytest.approx(1 / 50, rel=1e-3)
    assert rates[500] == pytest.approx(0.5)
    assert rates[-1] < 1e-5
    assert rate(GeoWarpSettings(), 12345) == 1e-4
    layer = nn.Linear(2, 2)
    assert optimizer_of(layer, GeoWarpSettings()).defaults["momentum"] == 0.9
    assert isinstance(optimizer_of(layer, GeoWarpSettings(optimizer="adam")), torch.optim.AdamW)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"k": 1.0}, "--k must be below 1"),
        ({"lr": -1.0}, "--lr must be at least 0"),
        ({"k": float("nan")}, "--k must be at least 0, got nan"),
        ({"bank": 1}, "--bank 1 makes no pair"),
        ({"ss_w": 0, "consistency_w": 0, "features_wise_w": 0}, "nothing to learn"),
    ],
)
def test_wrong_settings_are_refused(wrong, why):
    with pytest.raises(ValueError, match=why):
        GeoWarpSettings(**wrong)
