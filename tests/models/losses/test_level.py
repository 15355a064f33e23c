"""The cross-entropy of a level with its options, against loops and torch's own."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.losses.class_balance import class_weights
from models.losses.level import LevelLoss
from models.losses.memory_light_head import LinearLogits
from models.losses.multi_task import masked_cross_entropy
from models.losses.settings import LossSettings
from partitioning.geodesy import haversine_km

PHOTOS = 12


@pytest.fixture
def batch(partition):
    """Logits, labels, lat, lon of photos near their cells; two without a label, one at nowhere."""
    rng = np.random.default_rng(0)
    cells = partition.fine
    labels = rng.integers(0, len(cells), PHOTOS)
    lat = cells.lat[labels] + rng.normal(0, 0.3, PHOTOS)
    lon = cells.lon[labels] + rng.normal(0, 0.3, PHOTOS)
    labels[[2, 7]] = -1
    lat[2] = np.nan
    logits = torch.from_numpy(rng.normal(0, 2, (PHOTOS, len(cells))))
    return logits, *(torch.from_numpy(np.asarray(x)) for x in (labels, lat, lon))


def by_loop(cells, settings, logits, labels, lat, lon):
    """The module's formula, photo by photo."""
    photos = cells.photos.astype(float)
    weights = class_weights(settings.imbalance, photos, settings.strength)
    terms = []
    for z, label, a, b in zip(logits, labels.tolist(), lat.tolist(), lon.tolist(), strict=True):
        if label < 0:
            continue
        z = z.numpy().copy()
        if settings.imbalance == "logit_adjustment":
            z = z + settings.strength * np.log(photos / photos.sum())
        log_p = z - z.max() - math.log(sum(math.exp(v) for v in z - z.max()))
        target = np.zeros(len(z))
        target[label] = 1
        if settings.smoothing_km is not None:
            km = haversine_km(a, b, cells.lat, cells.lon)
            target = np.exp(-(km - km.min()) / settings.smoothing_km)
            target /= target.sum()
        e = settings.label_smoothing
        target = (1 - e) * target + e / len(z)
        loss = -sum(t * lp for t, lp in zip(target, log_p, strict=True)) * weights[label]
        if settings.imbalance == "focal":
            loss *= (1 - math.exp(log_p[label])) ** settings.strength
        terms.append(loss)
    return sum(terms) / len(terms)


SETTINGS = [
    LossSettings(),
    LossSettings(label_smoothing=0.1),
    LossSettings(smoothing_km=75.0),
    LossSettings(smoothing_km=300.0, label_smoothing=0.05, imbalance="focal"),
    LossSettings(imbalance="inverse_frequency"),
    LossSettings(imbalance="effective_number", smoothing_km=75.0),
    LossSettings(imbalance="logit_adjustment", imbalance_strength=0.5),
    LossSettings(imbalance="focal", label_smoothing=0.2),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_it_matches_a_loop_over_the_formula(settings, partition, batch):
    ours = LevelLoss(partition.fine, settings)(*batch)
    assert ours.item() == pytest.approx(by_loop(partition.fine, settings, *batch), rel=2e-5)


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_gradients_are_finite_and_none_comes_from_unlabelled_photos(settings, partition, batch):
    logits = batch[0].clone().requires_grad_()
    LevelLoss(partition.fine, settings)(logits, *batch[1:]).backward()
    assert torch.isfinite(logits.grad).all()
    unlabelled = batch[1] < 0
    assert not logits.grad[unlabelled].any()
    assert logits.grad[~unlabelled].any(dim=1).all()


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_a_memory_light_head_gives_the_same(settings, partition, batch):
    generator = torch.Generator().manual_seed(0)
    cells = len(partition.fine)
    shapes = ((PHOTOS, 6), (cells, 6), (cells,))
    tensors = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    light = LinearLogits(*(tensor.requires_grad_() for tensor in tensors))
    of = LevelLoss(partition.fine, settings)
    whole, pieces = of(light.whole(), *batch[1:]), of(light, *batch[1:])
    torch.testing.assert_close(whole, pieces)
    for got, expected in zip(
        torch.autograd.grad(pieces, list(light)),
        torch.autograd.grad(whole, list(light)),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


def test_plain_settings_are_the_masked_cross_entropy(partition, batch):
    ours = LevelLoss(partition.fine, LossSettings())(*batch)
    torch.testing.assert_close(ours, masked_cross_entropy(batch[0], batch[1]))


def test_label_smoothing_and_weights_are_torchs_own(partition, batch):
    logits, labels = batch[:2]
    settings = LossSettings(label_smoothing=0.1)
    theirs = functional.cross_entropy(logits, labels, ignore_index=-1, label_smoothing=0.1)
    torch.testing.assert_close(LevelLoss(partition.fine, settings)(*batch), theirs)
    weighted = LossSettings(imbalance="inverse_frequency", imbalance_strength=1.0)
    of = LevelLoss(partition.fine, weighted)
    theirs = functional.cross_entropy(
        logits, labels, of.weights.double(), ignore_index=-1, reduction="sum"
    )
    torch.testing.assert_close(of(*batch), theirs / (labels >= 0).sum())


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_a_batch_is_the_mean_of_its_photos(settings, partition, batch):
    of = LevelLoss(partition.fine, settings)
    alone = [
        of(*(part[i : i + 1] for part in batch)).item() for i in range(PHOTOS) if batch[1][i] >= 0
    ]
    assert of(*batch).item() == pytest.approx(sum(alone) / len(alone), rel=1e-6)


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_no_label_and_no_photo_cost_nothing(settings, partition, batch):
    logits = batch[0].clone().requires_grad_()
    of = LevelLoss(partition.fine, settings)
    loss = of(logits, torch.full((PHOTOS,), -1), *batch[2:])
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
    assert of(*(part[:0] for part in batch)).item() == 0
