"""The training step with the autoencoder's branch and the learning rate's drops."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from data.toy.city import make_toy_city
from models.losses.triplet import weak_triplet
from models.places.embedder import Embedder, EmbedderSettings
from retrieval.descriptor_cache import normal
from retrieval.train import main
from retrieval.training.recipe import PlaceRecipe
from retrieval.training.task import PlaceTask
from retrieval.training.triplet_rounds import TripletBatch

RECIPE = PlaceRecipe(aggregation="gem", img_size=(32, 48), autoencoder_weight=0.3, margin=0.5)
OFF = replace(RECIPE, autoencoder_weight=0.0)
PICTURES = torch.randint(
    0, 256, (3, 4, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
BATCH = TripletBatch(PICTURES, torch.tensor([True, False, True]))


@pytest.fixture
def embedder():
    torch.manual_seed(0)
    return Embedder(EmbedderSettings(aggregation="gem"), pretrained=False)


def task_of(embedder, recipe):
    task = PlaceTask(embedder, recipe)
    task.eval()
    task.log = lambda *a, **k: None
    return task


def triplet_loss(embedder):
    """Of the readable triplets, written out."""
    pictures = normal(PICTURES.flatten(0, 1), embedder, torch.device("cpu"))
    found = embedder(pictures).unflatten(0, (3, 4))[[0, 2]]
    return weak_triplet(found[:, 0], found[:, 1], found[:, 2:], margin=0.5)


def test_the_branch_adds_its_weighted_loss_over_readable_triplets(embedder):
    task = task_of(embedder, RECIPE)
    shown = normal(PICTURES[[0, 2]].flatten(0, 1), embedder, torch.device("cpu"))
    painted = task.autoencoder(embedder.extractor(shown).maps, (32, 48))
    expected = triplet_loss(embedder) + 0.3 * ((painted - shown) ** 2).mean()
    torch.testing.assert_close(task.training_step(BATCH, 0), expected)


def test_its_gradient_reaches_the_backbone(embedder):
    task = task_of(embedder, replace(RECIPE, margin=-9.0))  # no triplet counts
    task.training_step(BATCH, 0).backward()
    first = next(embedder.extractor.parameters())
    assert first.grad.abs().sum() > 0
    assert embedder.aggregator.pool.p.grad.abs().sum() == 0
    trained = {id(p) for group in task.configure_optimizers().param_groups for p in group["params"]}
    assert {id(weights) for weights in task.autoencoder.parameters()} < trained


def test_switched_off_it_changes_not_a_bit(embedder):
    state = torch.get_rng_state()
    task = task_of(embedder, OFF)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(name.startswith("embedder.") for name, _ in task.named_parameters())
    ours = task.training_step(BATCH, 0)
    ours.backward()
    gradients = [weights.grad for weights in embedder.parameters()]
    embedder.zero_grad(set_to_none=True)
    theirs = triplet_loss(embedder)
    theirs.backward()
    assert torch.equal(ours, theirs)
    for ours_, weights in zip(gradients, embedder.parameters(), strict=True):
        assert torch.equal(ours_, weights.grad)


def test_without_a_readable_triplet_every_weight_has_a_gradient_of_0(embedder):
    task = task_of(embedder, RECIPE)
    loss = task.training_step(TripletBatch(PICTURES, torch.zeros(3, dtype=torch.bool)), 0)
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(weights.grad is not None for weights in task.autoencoder.parameters())


def test_a_frozen_backbone_learns_nothing_from_it(embedder):
    with pytest.raises(ValueError, match="which is frozen"):
        PlaceTask(embedder, replace(RECIPE, freeze_backbone=True))


def test_the_branch_is_dropped_and_the_rate_drops_also_in_a_resumed_run(tmp_path):
    make_toy_city(tmp_path / "toy", (1, 1), step_m=70.0, queries=4, size=(32, 48))
    out = tmp_path / "run"
    flags = (
        f"--data {tmp_path}/toy --out {out} --recipe netvlad --backbone efficientnet_lite0 "
        "--trained_blocks 1 --clusters 4 --img_size 32 48 --queries_per_epoch 4 --mining random "
        "--cache_refresh_rate 4 --negatives 1 --train_batch 2 --device cpu --workers 0 "
        "--autoencoder_weight 0.1 --lr 0.01 --lr_step 1 --lr_drop 0.5"
    )
    assert main([*flags.split(), "--epochs", "1"]) == 0
    assert main([*flags.split(), "--epochs", "2", "--resume"]) == 0
    held = [
        torch.load(out / "checkpoints" / f"step{steps:09d}.ckpt", weights_only=True)
        for steps in (2, 4)
    ]
    assert [c["optimizer_states"][0]["param_groups"][0]["lr"] for c in held] == [0.01, 0.005]
    assert any(name.startswith("autoencoder.") for name in held[1]["state_dict"])
    model = load_file(out / "model.safetensors")
    settings = EmbedderSettings(aggregation="netvlad", clusters=4)
    assert model.keys() == Embedder(settings, pretrained=False).state_dict().keys()
