"""Training steps: masks, metrics, the schedule, learning on synthetic photos."""

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.decode import ancestors
from models.losses.settings import LossSettings
from models.training.geocell_task import GeocellTask
from models.training.optimizer import Optimizing


@pytest.fixture
def task(build, partition):
    def make(inputs="both", **arguments):
        made = GeocellTask(build(inputs), partition, **arguments).train()
        made.log = made.log_dict = lambda *_, **__: None
        return made

    return make


@pytest.fixture
def batch(photos, partition):
    rgb, seg, has_seg = photos
    cells = [torch.arange(8) % len(level) for level in partition.levels.values()]
    return {
        "rgb": rgb,
        "seg": seg,
        "has_seg": has_seg,
        "cells": torch.stack(cells, 1),
        "scene": torch.tensor([0, 1, 2, -1, 0, 1, 2, -1]),
        "lat": torch.linspace(-50, 50, 8, dtype=torch.float64),
        "lon": torch.linspace(-100, 100, 8, dtype=torch.float64),
        "valid": torch.ones(8, dtype=torch.bool),
        "counts": torch.ones(8, dtype=torch.bool),
        "key": [f"p{i}" for i in range(8)],
    }


def gradients(task, batch):
    task.zero_grad()
    loss = task.training_step(batch, 0)
    loss.backward()
    return loss, {n: p.grad for n, p in task.named_parameters() if p.grad is not None}


def test_without_scenes_only_the_scene_head_learns_nothing(task, batch):
    batch["scene"] = torch.full((8,), -1)
    loss, found = gradients(task(), batch)
    assert torch.isfinite(loss)
    assert loss > 0
    assert not found["model.scene_head.weight"].any()
    assert found["model.cell_heads.fine.weight"].any()


def test_scenes_beyond_the_head_are_missing(task, batch):
    first = task().training_step(batch, 0)
    batch["scene"] = torch.tensor([0, 1, 2, 7, 0, 1, 2, 364])
    assert torch.equal(task().training_step(batch, 0), first)


def test_the_loss_is_the_labelled_photos(task, batch):
    """Unlabelled and undecodable photos teach nothing: as if they were not in the batch."""
    made = task("rgb").eval()
    batch["valid"][5] = False
    batch["cells"][6] = -1
    batch["scene"][6] = -1
    kept = [0, 1, 2, 3, 4, 7]
    smaller = {
        name: value[kept] if torch.is_tensor(value) else [value[i] for i in kept]
        for name, value in batch.items()
    }
    assert torch.allclose(made.training_step(batch, 0), made.training_step(smaller, 0))


def test_a_map_only_model_learns_nothing_without_maps(task, batch):
    batch["has_seg"][:] = False
    loss, found = gradients(task("seg"), batch)
    assert loss == 0
    assert not any(gradient.any() for gradient in found.values())
    assert not task("seg").usable(batch).any()
    assert task("both").usable(batch).all()


def test_a_loss_that_is_not_finite_names_the_photos(task, batch):
    made = task()
    made.model.scene_head.weight.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"nan on photos p0, p1, .*p7: lower --lr"):
        made.training_step(batch, 0)


def logged(task, stage):
    """What the end of an epoch logs."""
    found = {}
    task.log_dict = found.update
    task._trainer = SimpleNamespace(
        strategy=SimpleNamespace(reduce=lambda sums, reduce_op: sums), global_rank=0
    )
    {"train": task.on_train_epoch_end, "val": task.on_validation_epoch_end}[stage]()
    return found


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1, "smoothing_km": 300.0}])
def test_light_heads_learn_the_same(task, batch, settings):
    """The logits are never whole, the loss and its gradients are the dense heads'."""
    dense = task(loss=LossSettings(**settings))
    light = task(loss=LossSettings(**settings), light_heads=True)
    loss, expected = gradients(dense, batch)
    same, found = gradients(light, batch)
    torch.testing.assert_close(same, loss)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


def test_validation_counts_every_photo_once(task, batch):
    """A photo that another rank has judged changes nothing, whatever it is."""
    whole, repeated = task().eval(), task().eval()
    first = {name: value[:5] for name, value in batch.items()}
    second = {name: value[5:] for name, value in batch.items()}
    second["counts"] = torch.tensor([True, True, False])
    kept = {name: value[5:7] for name, value in batch.items()}
    with torch.inference_mode():
        for made, batches in ((whole, (first, kept)), (repeated, (first, second))):
            made.on_validation_epoch_start()
            for number, each in enumerate(batches):
                made.validation_step(each, number)
    found, expected = logged(repeated, "val"), logged(whole, "val")
    assert found == pytest.approx(expected)
    assert {"val/loss", "val/loss_scene", "val/top1_fine", "val/within_25_km"} <= found.keys()


def test_top1_is_over_labelled_photos(task, batch):
    made = task("rgb").eval()
    with torch.inference_mode():
        best = made.model(batch["rgb"], batch["seg"], batch["has_seg"]).cells["fine"].argmax(1)
        batch["cells"][:, 2] = best
        batch["cells"][0, 2] = (best[0] + 1) % made.model.architecture.num_cells["fine"]
        batch["cells"][5:, 2] = -1
        made.on_validation_epoch_start()
        made.validation_step(batch, 0)
    assert logged(made, "val")["val/top1_fine"] == pytest.approx(4 / 5)


def test_validation_sees_the_averaged_weights(task, batch):
    plain, averaged = task("rgb").eval(), task("rgb", ema=0.5).eval()
    for made in (plain, averaged):
        for parameter in made.model.parameters():
            parameter.data.add_(1.0)
        made.on_validation_epoch_start()
        with torch.inference_mode():
            made.validation_step(batch, 0)
    untouched = task("rgb").eval()
    untouched.on_validation_epoch_start()
    with torch.inference_mode():
        untouched.validation_step(batch, 0)
    assert logged(averaged, "val") == pytest.approx(logged(untouched, "val"))
    assert logged(averaged, "val") != pytest.approx(logged(plain, "val"))


def test_a_validation_without_usable_photos_ends_quietly(task, batch):
    made = task("seg").eval()
    batch["has_seg"][:] = False
    made.on_validation_epoch_start()
    with torch.inference_mode():
        made.validation_step(batch, 0)
    assert logged(made, "val") == {}


def test_heads_for_other_cells_are_refused(task, partition):
    model = task("rgb").model
    model.architecture.num_cells["fine"] += 1
    with pytest.raises(ValueError, match=r"the model has \d+ fine classes and cells.parquet \d+"):
        GeocellTask(model, partition)


def test_only_a_retrieval_loss_trains_the_descriptor(task, batch):
    off = task("rgb", loss=LossSettings())
    _, found = gradients(off, batch)
    trained = {name for name, p in off.named_parameters() if p.requires_grad}
    assert trained == found.keys()
    assert not any("descriptor" in name for name in trained)
    batch["cells"][:, 2] = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    for name in ("multi_similarity", "cosface"):
        on = task("rgb", loss=LossSettings(retrieval=name))
        _, found = gradients(on, batch)
        assert found["model.descriptor_head.pool.p"].abs() > 0
        groups = on.optimizing.build(torch.nn.ModuleList([on.model, on.loss]), 10)
        number = sum(len(group["params"]) for group in groups["optimizer"].param_groups)
        assert number == len(list(on.parameters()))


def test_errors_are_distances_of_the_jointly_best_cell(task, partition):
    rng = np.random.default_rng(0)
    logits = {name: rng.normal(0, 2, (6, len(c))) for name, c in partition.levels.items()}
    positions = rng.uniform(-80, 80, (6, 2))
    lineage = ancestors(partition)
    for photo, found in enumerate(task().errors_km(logits, positions)):
        scores = [
            sum(logits[level][photo][cell] for level, cell in zip(logits, line, strict=True))
            for line in lineage.tolist()
        ]
        best = int(np.argmax(scores))
        a, b = map(math.radians, positions[photo])
        c, d = math.radians(partition.fine.lat[best]), math.radians(partition.fine.lon[best])
        cosine = math.sin(a) * math.sin(c) + math.cos(a) * math.cos(c) * math.cos(b - d)
        assert found == pytest.approx(6371.0088 * math.acos(cosine), abs=0.01)


def test_the_schedule_climbs_then_falls_to_nothing(task):
    made = task(
        loss=LossSettings(retrieval="multi_similarity"),
        optimizing=Optimizing(learning_rate=0.01, weight_decay=0.1, warmup_share=0.1),
    )
    made._trainer = SimpleNamespace(estimated_stepping_batches=100)
    made._fabric = None
    configured = made.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(rates[:10], 0.01 * np.arange(1, 11) / 10)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[55] == pytest.approx(0.005)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert configured["lr_scheduler"]["interval"] == "step"
    plain, decayed = optimizer.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim <= 1 for p in plain["params"])
    number = sum(len(group["params"]) for group in optimizer.param_groups)
    assert number == len(list(made.parameters()))


def test_a_frozen_backbone_stays(task, batch):
    made = task(freeze_backbone=True)
    made._trainer = SimpleNamespace(estimated_stepping_batches=10, world_size=1)
    before = {n: p.clone() for n, p in made.named_parameters()}
    optimizer = made.configure_optimizers()["optimizer"]
    for mode in (False, True):
        made.train(mode)
        assert not made.model.encoder.training
        assert made.model.cell_heads.training == mode
    gradients(made, batch)
    optimizer.step()
    moved = {n for n, p in made.named_parameters() if not torch.equal(p, before[n])}
    assert moved
    assert not any("encoder" in name for name in moved)


def test_a_batch_draws_the_same_numbers_again(task, batch):
    def drawn(epoch, number, rank=0, seed=0):
        made = task(seed=seed)
        made._trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank)
        made.on_train_batch_start(batch, number)
        return torch.rand(4).tolist()

    assert drawn(3, 1) == drawn(3, 1)
    places = ((3, 1), (1, 3), (4, 1), (3, 2), (3, 1, 1), (3, 1, 0, 1))
    assert len({tuple(drawn(*where)) for where in places}) == len(places)


def test_a_checkpoint_of_other_settings_is_refused(task):
    checkpoint = {}
    task(settings={"lr": 0.1, "t_fine": (2, 3)}).on_save_checkpoint(checkpoint)
    task(settings={"lr": 0.1, "t_fine": (2, 3)}).on_load_checkpoint(checkpoint)
    with pytest.raises(ValueError, match=r"had t_fine \(2, 3\) \(now \(2, 4\)\): resume with"):
        task(settings={"lr": 0.1, "t_fine": (2, 4)}).on_load_checkpoint(checkpoint)
