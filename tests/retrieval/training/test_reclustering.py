"""DyNetVLAD's reset: what it sets, what it leaves, and that a stopped run comes to the same."""

import json

import pytest
import torch

from data.place_sets.photos import PlacePhotos
from data.places import read_places
from data.toy.city import make_toy_city
from models.places.embedder import Embedder, EmbedderSettings
from retrieval.descriptor_cache import Engine
from retrieval.train import main
from retrieval.training.clustering import cluster, sample_features
from retrieval.training.reclustering import recluster
from retrieval.training.task import PlaceTask

LAYER = {"aggregator.conv.weight", "aggregator.centroids"}
TINY = [
    *("--recipe", "dynetvlad", "--backbone", "efficientnet_lite0", "--trained_blocks", "1"),
    *("--clusters", "4", "--img_size", "32", "48", "--mining", "random", "--device", "cpu"),
    *("--queries_per_epoch", "4", "--cache_refresh_rate", "4", "--epochs", "4", "--patience", "2"),
    *("--negatives", "1", "--train_batch", "2", "--lr", "1e-2", "--workers", "0"),
]


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """16 photos and 4 queries in each split."""
    directory = tmp_path_factory.mktemp("town") / "toy"
    make_toy_city(directory, (1, 1), step_m=70.0, queries=4, size=(32, 48))
    return directory


@pytest.fixture
def photos(town):
    return PlacePhotos(read_places(town, "train").database.paths, (32, 48))


@pytest.fixture
def trained(photos):
    """An embedder after a step of Adam."""
    torch.manual_seed(0)
    embedder = Embedder(EmbedderSettings(aggregation="netvlad", clusters=4), pretrained=False)
    optimizer = torch.optim.Adam(embedder.parameters(), lr=1e-3)
    embedder(torch.rand(2, 3, 32, 48))[:, :50].sum().backward()
    optimizer.step()
    return embedder, optimizer


def test_the_layer_is_a_fresh_clustering_and_the_backbone_stays(photos, trained):
    embedder, optimizer = trained
    before = {name: value.clone() for name, value in embedder.state_dict().items()}
    alpha = recluster(embedder, photos, Engine(workers=0), 5, [optimizer])
    after = embedder.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == LAYER
    features = sample_features(embedder, photos, Engine(workers=0), 5)
    centres = torch.from_numpy(cluster(features, 4, 5))
    assert torch.equal(after["aggregator.centroids"], centres)
    directions = centres / centres.norm(dim=1, keepdim=True)
    torch.testing.assert_close(after["aggregator.conv.weight"][:, :, 0, 0], alpha * directions)
    weights = (torch.from_numpy(features) @ directions.T * alpha).softmax(1).topk(2, 1).values
    ratio = (weights[:, 0] / weights[:, 1]).log().mean().exp()
    assert float(ratio) == pytest.approx(100, rel=1e-3)  # the nearest centre against the second


def test_what_the_optimiser_remembers_of_the_layer_is_forgotten(photos, trained):
    embedder, optimizer = trained
    names = {weights: name for name, weights in embedder.named_parameters()}
    remembered = {names[weights] for weights in optimizer.state}
    assert remembered > LAYER
    recluster(embedder, photos, Engine(workers=0), 5, [optimizer])
    assert {names[weights] for weights in optimizer.state} == remembered - LAYER


def test_without_clusters_there_is_nothing_to_reset(town, tmp_path, capsys):
    arguments = ["--data", str(town), "--out", str(tmp_path / "run"), *TINY]
    assert main([*arguments, "--aggregation", "gem"]) == 2
    assert "gem has no clusters" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.fixture(scope="module")
def perfect():
    """Watch R@20 of 16 photos, which is 100 from the start: nothing gets better."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval.training.recall_watch.WATCHED", 20)
        yield


@pytest.fixture(scope="module")
def whole(town, tmp_path_factory, perfect):
    """A run that converges, is clustered anew, and that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(["--data", str(town), "--out", str(out), *TINY]) == 0
    return out


def weights_of(out, steps):
    return torch.load(out / "checkpoints" / f"step{steps:09d}.ckpt", weights_only=True)


def test_at_convergence_it_is_clustered_anew_and_goes_on(whole):
    history = json.loads((whole / "recalls.json").read_text())
    assert len(history) == 5  # before training, two epochs, and two more in place of stopping
    origin = json.loads((whole / "config.json").read_text())["origin"]
    assert origin["reclustered after epochs"] == [2]
    assert weights_of(whole, 8)["callbacks"]["Reclustering"]["epochs"] == [2]


@pytest.mark.parametrize(
    ("dies_at", "saved", "is_reset"),
    [(5, 4, False), pytest.param(7, 6, True, marks=pytest.mark.slow)],
)
def test_stopped_around_the_reset_it_is_the_run_that_was_never_stopped(
    town, whole, tmp_path, monkeypatch, dies_at, saved, is_reset
):
    """It dies at the first step after the reset, which no checkpoint holds yet.

    Or a round later; that by `make slow`.
    """
    step, steps = PlaceTask.training_step, 0

    def dying(self, batch, index):
        nonlocal steps
        steps += 1
        if steps == dies_at:
            raise RuntimeError("killed")
        return step(self, batch, index)

    monkeypatch.setattr(PlaceTask, "training_step", dying)
    out = tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):
        main(["--data", str(town), "--out", str(out), *TINY])
    monkeypatch.setattr(PlaceTask, "training_step", step)
    held = weights_of(out, saved)["callbacks"]["Reclustering"]["epochs"]
    assert held == ([2] if is_reset else [])
    assert main(["--data", str(town), "--out", str(out), *TINY, "--resume"]) == 0
    ours, theirs = weights_of(out, 8), weights_of(whole, 8)
    assert ours["callbacks"]["Reclustering"] == theirs["callbacks"]["Reclustering"]
    for name, weights in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], weights), name
    states = [c["optimizer_states"][0]["state"] for c in (ours, theirs)]
    assert states[0].keys() == states[1].keys()
    for number, state in states[1].items():
        assert all(torch.equal(states[0][number][name], value) for name, value in state.items())
    assert (out / "recalls.json").read_text() == (whole / "recalls.json").read_text()
