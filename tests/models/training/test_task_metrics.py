"""Figures of an epoch: each over the photos that are labelled for it."""

import numpy as np
import pytest
import torch

from models.geocell_vit import Prediction
from models.losses.multi_task import Losses
from models.training.task_metrics import TaskMetrics


def test_batches_of_any_cut_are_one_epoch():
    rng = np.random.default_rng(0)
    weights = {"fine": 0.75, "scene": 0.25}
    values = {name: torch.tensor(rng.normal(size=20)) for name in weights}
    known = {name: torch.tensor(rng.random(20) < 0.5) for name in weights}
    logits, labels = torch.tensor(rng.normal(size=(20, 4))), torch.tensor(rng.integers(0, 4, 20))
    errors = rng.uniform(0, 3000, 20)
    metrics = TaskMetrics(weights, ["fine"])
    for start, stop in ((0, 7), (7, 8), (8, 20)):
        rows = slice(start, stop)
        here = {name: k[rows] for name, k in known.items()}
        parts = {
            name: v[rows][here[name]].sum() / here[name].sum().clamp(min=1)
            for name, v in values.items()
        }
        metrics.add_losses(Losses(torch.tensor(0.0), parts), here)
        prediction = Prediction({"fine": logits[rows]}, torch.empty(0), torch.empty(0))
        metrics.add_top1(prediction, {"fine": labels[rows]}, here)
        metrics.add_errors(errors[rows])
    found = metrics.means(lambda sums: sums)
    expected = {f"loss_{name}": float(v[known[name]].mean()) for name, v in values.items()}
    right = (logits.argmax(1) == labels)[known["fine"]].double().mean()
    expected |= {"top1_fine": float(right)}
    expected |= {f"within_{km}_km": 100 * (errors <= km).mean() for km in (25, 200, 750, 2500)}
    expected["loss"] = 0.75 * expected["loss_fine"] + 0.25 * expected["loss_scene"]
    assert found == pytest.approx(expected)


def test_what_nobody_has_is_not_reported():
    metrics = TaskMetrics({"fine": 1.0, "scene": 1.0}, ["fine"])
    assert metrics.means(lambda sums: sums) == {}
    none = torch.zeros(3, dtype=torch.bool)
    parts = {"fine": torch.tensor(2.0), "scene": torch.tensor(0.0)}
    metrics.add_losses(Losses(torch.tensor(2.0), parts), {"fine": ~none, "scene": none})
    assert metrics.means(lambda sums: sums) == {"loss": 2.0, "loss_fine": 2.0}
