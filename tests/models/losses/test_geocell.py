"""The composed loss: its parts, their sum, what is refused, and that it trains."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from models.geocell_vit import Prediction
from models.losses.geocell import GeocellLoss
from models.losses.level import LevelLoss
from models.losses.memory_light_head import LinearLogits
from models.losses.metric import multi_similarity_loss
from models.losses.multi_task import masked_cross_entropy
from models.losses.nested_consistency import NestedConsistency
from models.losses.settings import LossSettings
from partitioning.partition import LEVELS

PHOTOS, DESCRIPTOR = 8, 5
EVERYTHING = LossSettings(
    smoothing_km=75.0, consistency=0.4, retrieval="multi_similarity", retrieval_weight=0.3
)


@pytest.fixture
def batch(partition):
    """Cells `(8, 3)`, scene, lat, lon; one photo in no fine cell, one in none at all."""
    rows = torch.tensor([0, 0, 5, 5, 9, 9, 2, 2])
    lat, lon = (torch.from_numpy(x)[rows] for x in (partition.fine.lat, partition.fine.lon))
    cells = torch.from_numpy(partition.fine_ancestors())[rows]
    cells[3, 2] = -1
    cells[4] = -1
    return cells, torch.tensor([0, 1, 2, -1, 0, 1, 2, -1]), lat, lon


@pytest.fixture
def outputs(partition):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator, requires_grad=True)

    cells = {level: random(PHOTOS, len(c)) for level, c in partition.levels.items()}
    return Prediction(cells, random(PHOTOS, 3), random(PHOTOS, DESCRIPTOR))


def test_defaults_are_the_loss_that_stands(partition, outputs, batch):
    total, parts = GeocellLoss(LossSettings(), partition)(outputs, *batch)
    expected = {
        level: masked_cross_entropy(outputs.cells[level], batch[0][:, i])
        for i, level in enumerate(LEVELS)
    } | {"scene": masked_cross_entropy(outputs.scene, batch[1])}
    assert parts.keys() == expected.keys()
    for name, part in parts.items():
        torch.testing.assert_close(part, expected[name])
    weighted = zip((0.5, 0.3, 0.2, 0.5), expected.values(), strict=True)
    torch.testing.assert_close(total, sum(weight * part for weight, part in weighted))


def test_the_total_is_the_weighted_sum_of_parts_computed_one_by_one(partition, outputs, batch):
    total, parts = GeocellLoss(EVERYTHING, partition)(outputs, *batch)
    cells, scene, lat, lon = batch
    settings = dict.fromkeys(LEVELS[:2], LossSettings()) | {"fine": EVERYTHING}
    expected = {
        level: LevelLoss(partition.levels[level], settings[level])(
            outputs.cells[level], cells[:, i], lat, lon
        )
        for i, level in enumerate(LEVELS)
    }
    expected["scene"] = functional.cross_entropy(outputs.scene, scene, ignore_index=-1)
    both = [row for row in range(PHOTOS) if cells[row, 2] >= 0]
    lineage = partition.fine_ancestors()
    divergences = [
        NestedConsistency(lineage[:, i])(outputs.cells["fine"], outputs.cells[level])[both].mean()
        for i, level in enumerate(LEVELS[:2])
    ]
    expected["consistency"] = sum(divergences) / 2
    expected["retrieval"] = multi_similarity_loss(outputs.descriptor, cells[:, 2])
    assert parts.keys() == expected.keys()
    for name, part in parts.items():
        torch.testing.assert_close(part, expected[name])
    weights = dict(zip(expected, (0.5, 0.3, 0.2, 0.5, 0.4, 0.3), strict=True))
    by_hand = sum(weights[name] * part.item() for name, part in expected.items())
    assert total.item() == pytest.approx(by_hand, rel=1e-5)


def test_coarser_levels_are_smoothed_where_asked(partition, outputs, batch):
    settings = replace(EVERYTHING, smooth_all_levels=True)
    _, parts = GeocellLoss(settings, partition)(outputs, *batch)
    expected = LevelLoss(partition.coarse, EVERYTHING)(
        outputs.cells["coarse"], batch[0][:, 0], *batch[2:]
    )
    torch.testing.assert_close(parts["coarse"], expected)


def test_every_head_learns_and_gradients_are_finite(partition, outputs, batch):
    GeocellLoss(EVERYTHING, partition)(outputs, *batch).total.backward()
    for leaf in (*outputs.cells.values(), outputs.scene, outputs.descriptor):
        assert torch.isfinite(leaf.grad).all()
        assert leaf.grad.any()
        assert not leaf.grad[4].any() or leaf is outputs.scene


@pytest.mark.parametrize("retrieval", ["multi_similarity", "cosface"])
def test_a_batch_without_any_label_costs_nothing(partition, outputs, batch, retrieval):
    settings = LossSettings(smoothing_km=75.0, consistency=1.0, retrieval=retrieval)
    loss = GeocellLoss(settings, partition, descriptor_dim=DESCRIPTOR)
    nowhere = torch.full((PHOTOS,), torch.nan, dtype=torch.float64)
    cells, scene = torch.full((PHOTOS, 3), -1), torch.full((PHOTOS,), -1)
    total, parts = loss(outputs, cells, scene, nowhere, nowhere)
    total.backward()
    assert total.item() == 0
    assert all(part.item() == 0 for part in parts.values())
    assert not any(leaf.grad.any() for leaf in (*outputs.cells.values(), outputs.descriptor))


def test_fewer_levels_and_one_photo(partition, outputs, batch):
    for levels in (("coarse",), ("coarse", "middle")):
        some = outputs._replace(cells={level: outputs.cells[level] for level in levels})
        total, parts = GeocellLoss(EVERYTHING, partition, levels)(some, *batch)
        assert set(parts) == {*levels, "scene", "consistency", "retrieval"}
        assert torch.isfinite(total)
        assert (parts["consistency"].item() > 0) == (len(levels) == 2)
    one = Prediction(
        {level: z[:1] for level, z in outputs.cells.items()},
        outputs.scene[:1],
        outputs.descriptor[:1],
    )
    assert torch.isfinite(GeocellLoss(EVERYTHING, partition)(one, *(x[:1] for x in batch)).total)


@pytest.mark.parametrize("scenes", [3, 16, 365])
def test_scenes_of_any_kind(partition, outputs, batch, scenes):
    logits = torch.randn(PHOTOS, scenes)
    labels = torch.arange(PHOTOS) % scenes
    _, parts = GeocellLoss(LossSettings(), partition)(
        outputs._replace(scene=logits), batch[0], labels, *batch[2:]
    )
    torch.testing.assert_close(parts["scene"], functional.cross_entropy(logits, labels))


def test_cosface_is_learned_by_the_losss_own_parameters(partition, outputs, batch):
    settings = LossSettings(retrieval="cosface")
    torch.manual_seed(0)
    loss = GeocellLoss(settings, partition, descriptor_dim=DESCRIPTOR)
    loss(outputs, *batch).total.backward()
    (weight,) = loss.parameters()
    assert weight.shape == (len(partition.fine), DESCRIPTOR)
    assert weight.grad.any()
    assert not list(GeocellLoss(EVERYTHING, partition).parameters())
    assert not GeocellLoss(EVERYTHING, partition).state_dict()
    with pytest.raises(ValueError, match="descriptor_dim"):
        GeocellLoss(settings, partition)


def test_places_stand_in_for_fine_cells_in_retrieval(partition, outputs, batch):
    places = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    _, parts = GeocellLoss(EVERYTHING, partition)(outputs, *batch, places=places)
    torch.testing.assert_close(
        parts["retrieval"], multi_similarity_loss(outputs.descriptor, places)
    )
    settings = LossSettings(retrieval="cosface")
    loss = GeocellLoss(settings, partition, descriptor_dim=DESCRIPTOR, num_places=4)
    assert loss(outputs, *batch, places=places).parts["retrieval"].item() > 0


def test_a_memory_light_head_fits_in(partition, outputs, batch):
    generator = torch.Generator().manual_seed(1)
    count = len(partition.fine)
    shapes = ((PHOTOS, 6), (count, 6), (count,))
    light = LinearLogits(*(torch.randn(s, generator=generator) for s in shapes))
    settings = LossSettings(smoothing_km=75.0)
    loss = GeocellLoss(settings, partition)
    totals = [
        loss(outputs._replace(cells={**outputs.cells, "fine": fine}), *batch).total
        for fine in (light, light.whole())
    ]
    torch.testing.assert_close(*totals)
    with pytest.raises(ValueError, match="take the plain head"):
        GeocellLoss(EVERYTHING, partition)(
            outputs._replace(cells={**outputs.cells, "fine": light}), *batch
        )


def test_what_does_not_fit_is_refused(partition, outputs, batch):
    loss = GeocellLoss(LossSettings(), partition)
    wrong = {**outputs.cells, "middle": outputs.cells["middle"][:, :-1]}
    with pytest.raises(ValueError, match=r"middle: the head has \d+ classes and the cells file"):
        loss(outputs._replace(cells=wrong), *batch)
    with pytest.raises(ValueError, match=r"cells must be \(B, 3\), got \(8, 2\)"):
        loss(outputs, batch[0][:, :2], *batch[1:])


def test_descending_brings_the_answer_to_the_truth(partition, outputs, batch):
    loss = GeocellLoss(EVERYTHING, partition)
    leaves = [*outputs.cells.values(), outputs.scene, outputs.descriptor]
    optimizer = torch.optim.Adam(leaves, lr=0.4)
    first = loss(outputs, *batch).total.item()
    for _ in range(60):
        optimizer.zero_grad()
        loss(outputs, *batch).total.backward()
        optimizer.step()
    assert loss(outputs, *batch).total.item() < first
    for column, level in enumerate(LEVELS[:2]):
        known = batch[0][:, column] >= 0
        right = outputs.cells[level].argmax(1)[known] == batch[0][known, column]
        assert right.all()
