"""Training of place recognition: it runs, resumes exactly, stops early, refuses bad input."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data.place_sets.augmentation import Augmentation
from data.place_sets.photos import PlacePhotos
from data.places import read_places
from data.toy.city import make_toy_city
from models.losses.triplet import weak_triplet
from models.places.embedder import Embedder, EmbedderSettings
from models.places.place_model import load_place_model
from retrieval.descriptor_cache import Engine
from retrieval.train import engine_of, main, train
from retrieval.training.mining import Triplets
from retrieval.training.recipe import PlaceRecipe
from retrieval.training.task import PlaceTask, blocks_of
from retrieval.training.triplet_rounds import TripletBatch, TripletBatches, query_weights

# The smallest that still has several minings an epoch and several steps between them.
TINY = [
    *("--aggregation", "netvlad", "--clusters", "4", "--img_size", "32", "48"),
    *("--queries_per_epoch", "8", "--epochs", "2", "--cache_refresh_rate", "4"),
    *("--negatives", "2", "--negatives_pool", "10", "--train_batch", "2", "--lr", "1e-3"),
    *("--device", "cpu", "--workers", "1", "--brightness", "0.3", "--mining", "full"),
    *("--trained_blocks", "1"),
]


SLOW_2, SLOW_3 = (pytest.param(rounds, marks=pytest.mark.slow) for rounds in (2, 3))


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A few photos and 12 queries in each split."""
    directory = tmp_path_factory.mktemp("town") / "toy"
    make_toy_city(directory, (1, 1), step_m=35.0, queries=12, size=(32, 48))
    return directory


def run(town, out, *more):
    return main(["--data", str(town), "--out", str(out), *TINY, *more])


@pytest.fixture(scope="module")
def whole(town, tmp_path_factory):
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(town, out) == 0
    return out


def test_what_a_run_leaves(whole):
    model = load_place_model(whole)
    assert model.size == (32, 48)
    assert model.origin["settings"]["lr"] == 1e-3
    history = json.loads((whole / "recalls.json").read_text())
    assert [entry["epoch"] for entry in history] == [0, 1, 2]
    assert history[0]["R@1"]["n"] == 12
    assert history[0]["loss"] is None
    assert history[1]["loss"] > 0, history
    best = max(history, key=lambda entry: (entry["R@5"]["percent"], -entry["epoch"]))
    assert model.origin["validation"]["R@5"] == best["R@5"]
    names = sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert names == ["best.ckpt", "step000000006.ckpt", "step000000008.ckpt"]


@pytest.mark.parametrize("rounds", [1, SLOW_2, SLOW_3])
def test_killed_and_resumed_at_a_mining_is_the_run_that_was_never_stopped(
    town, whole, tmp_path, monkeypatch, rounds
):
    """The process dies in the round after `rounds` are saved, with steps of it taken."""
    steps = 0
    step = PlaceTask.training_step

    def dying(self, batch, index):
        nonlocal steps
        steps += 1
        if steps == 2 * rounds + 2:
            raise RuntimeError("killed")
        return step(self, batch, index)

    monkeypatch.setattr(PlaceTask, "training_step", dying)
    out = tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):
        run(town, out)
    monkeypatch.setattr(PlaceTask, "training_step", step)
    assert not (out / "model.safetensors").exists()
    assert run(town, out, "--resume") == 0
    last = [torch.load(folder / "checkpoints" / "step000000008.ckpt") for folder in (out, whole)]
    for name, weights in last[1]["state_dict"].items():
        assert torch.equal(last[0]["state_dict"][name], weights), name
    chosen = [load_file(folder / "model.safetensors") for folder in (out, whole)]
    assert all(torch.equal(chosen[0][name], weights) for name, weights in chosen[1].items())
    histories = [(folder / "recalls.json").read_text() for folder in (out, whole)]
    assert histories[0] == histories[1]


def test_a_run_changes_only_what_is_trained(town, whole):
    weights = torch.load(whole / "checkpoints" / "step000000008.ckpt")["state_dict"]
    fresh = Embedder(EmbedderSettings(aggregation="netvlad", clusters=4)).state_dict()
    changed = {
        name for name, value in fresh.items() if not torch.equal(weights[f"embedder.{name}"], value)
    }
    blocks = {name for name in changed if name.startswith("extractor.")}
    assert blocks
    # Of the last block alone; and batch norms keep their statistics.
    assert all("blocks.10." in name and "running" not in name for name in blocks), blocks
    assert {"aggregator.conv.weight", "aggregator.centroids"} <= changed


def test_it_stops_when_nothing_gets_better(town, tmp_path):
    assert run(town, tmp_path / "run", "--lr", "0", "--epochs", "9", "--patience", "1") == 0
    history = json.loads((tmp_path / "run" / "recalls.json").read_text())
    assert len(history) == 2  # before training, and one epoch that changed nothing
    assert (
        run(town, tmp_path / "run", "--lr", "0", "--epochs", "9", "--patience", "1", "--resume")
        == 0
    )
    assert len(json.loads((tmp_path / "run" / "recalls.json").read_text())) == 2


def test_refusals_say_what_to_do(town, whole, tmp_path, capsys):
    def error(*arguments):
        assert main(list(arguments)) == 2
        return capsys.readouterr().err

    at = ["--data", str(town), "--out"]
    assert "go on with it by --resume" in error(*at, str(whole), *TINY)
    assert "lr 0.001, now 0.5" in error(*at, str(whole), *TINY, "--resume", "--lr", "0.5")
    assert "no checkpoint in" in error(*at, str(tmp_path / "a"), *TINY, "--resume")
    assert "no folder" in error("--data", str(tmp_path), "--out", str(tmp_path / "a"))
    out = str(tmp_path / "b")
    assert "goes with mac, spoc" in error(*at, out, *TINY, "--aggregation", "cls")
    assert "has 11 blocks" in error(*at, out, *TINY, "--trained_blocks", "12")
    assert "nothing to train" in error(*at, out, *TINY, "--aggregation", "mac", "--freeze_backbone")
    assert "do not fill a batch" in error(*at, out, *TINY, "--train_batch", "5")
    if not torch.cuda.is_available():
        assert "no GPU is visible" in error(*at, out, *TINY, "--device", "cuda")


def test_an_unreadable_photo_is_counted_and_stops_nothing(tmp_path, capsys):
    make_toy_city(tmp_path / "toy", (1, 1), step_m=35.0, queries=12, size=(32, 48))
    for split in ("train", "val"):
        for part in ("database", "queries"):
            first = min((tmp_path / "toy" / "images" / split / part).iterdir())
            first.write_bytes(first.read_bytes()[:300])
    out = tmp_path / "run"
    assert run(tmp_path / "toy", out, "--queries_per_epoch", "12", "--cache_refresh_rate", "12",
               "--epochs", "1") == 0  # fmt: skip
    assert "4 photos could not be read" in capsys.readouterr().err
    assert json.loads((out / "recalls.json").read_text())[0]["R@1"]["n"] == 12


@pytest.mark.slow
def test_the_fast_run_needs_no_data(tmp_path):
    assert main(["--fast", "--out", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert load_place_model(tmp_path / "run").size == (48, 64)


@pytest.fixture(scope="module")
def embedder():
    torch.manual_seed(0)
    return Embedder(EmbedderSettings(aggregation="gem"), pretrained=False)


def test_the_loss_of_a_step_is_that_of_its_readable_triplets(embedder):
    task = PlaceTask(embedder, PlaceRecipe(aggregation="gem"))
    task.eval()
    pictures = torch.randint(0, 256, (3, 4, 3, 32, 32), dtype=torch.uint8)
    batch = TripletBatch(pictures, torch.tensor([True, False, True]))
    task.log = lambda *a, **k: None
    loss = task.training_step(batch, 0)
    shown = (pictures.float() / 255 - embedder.extractor.mean[0]) / embedder.extractor.std[0]
    found = [embedder(shown[i]) for i in (0, 2)]
    expected = [weak_triplet(d[:1], d[1:2], d[None, 2:]) for d in found]
    torch.testing.assert_close(loss, sum(expected) / 2, atol=1e-5, rtol=1e-4)
    nothing = task.training_step(TripletBatch(pictures, torch.zeros(3, dtype=torch.bool)), 0)
    assert float(nothing.detach()) == 0
    nothing.backward()  # every process must have a gradient to share


def test_only_queries_are_augmented_and_every_triplet_has_its_own_seed(town):
    places = read_places(town, "train", 10)
    photos = [PlacePhotos(p.paths, (32, 48)) for p in (places.queries, places.database)]
    triplets = Triplets(
        np.array([0, 0, 1]), np.array([2, 2, 3]), np.array([[9, 8], [9, 8], [7, 6]])
    )
    batches = TripletBatches(triplets, *photos, Augmentation(flip=1.0), [1, 2, 3], 1, 2)
    assert len(batches) == 3
    for number, batch in enumerate(batches):
        query, positive, *negatives = batch.pictures[0]
        row = int(triplets.queries[number])
        assert torch.equal(query, photos[0][row][0].flip(-1))
        assert torch.equal(positive, photos[1][int(triplets.positives[number])][0])
        for picture, other in zip(negatives, triplets.negatives[number], strict=True):
            assert torch.equal(picture, photos[1][int(other)][0])
    lit = TripletBatches(triplets, *photos, Augmentation(brightness=0.5), [1, 2, 3], 3, 2)
    first, second, _ = next(iter(lit)).pictures
    assert not torch.equal(first[0], second[0])  # one query, two seeds


def test_night_and_sideways_queries_weigh_more(town):
    queries = read_places(town, "train").queries
    paths = [p.with_name(p.name.replace("@day@", "@night_sideways@")) if i < 3 else p
             for i, p in enumerate(queries.paths)]  # fmt: skip
    weights = query_weights(replace(queries, paths=paths))
    assert weights[:3].tolist() == [1 + 2 * len(queries) / 3] * 3
    assert weights[3:].tolist() == [1.0] * (len(queries) - 3)


def test_blocks_of_each_kind_of_network():
    from models.places.local_features import build_extractor

    for name, count in (("efficientnet_lite0", 11), ("resnet18", 7), ("test_vit", 1)):
        extractor = build_extractor(name, 64, pretrained=False)
        assert len(blocks_of(extractor)) >= count


def test_engines_default_to_single_precision_on_a_cpu():
    assert engine_of(PlaceRecipe(device="cpu")) == Engine(torch.device("cpu"), 16, 2, False)
    assert engine_of(PlaceRecipe(device="cpu", precision="bf16-mixed")).is_bf16


@pytest.mark.slow
def test_two_ranks_equal_one(town, tmp_path):
    """Half the batch on each of two processes: the same queries a step, the same weights.

    Run by `make slow`.
    """
    flags = ["--aggregation", "gem", "--freeze_norms", "--epochs", "1", "--mining", "partial"]
    alone, both = tmp_path / "alone", tmp_path / "both"
    assert run(town, alone, *flags, "--train_batch", "4") == 0
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
    ]
    given = [*TINY, *flags, "--train_batch", "2", "--data", str(town), "--out", str(both)]
    subprocess.run([*command, "-m", "retrieval.train", *given], check=True, timeout=110)
    ours, theirs = (
        torch.load(folder / "checkpoints" / "step000000002.ckpt")["state_dict"]
        for folder in (both, alone)
    )
    for name, weights in theirs.items():
        # Adam divides by the gradient's size: rounding of a tiny gradient is not tiny.
        torch.testing.assert_close(ours[name], weights, atol=2e-3, rtol=1e-2, msg=name)
    moved = Embedder(EmbedderSettings(aggregation="gem")).state_dict()["aggregator.pool.p"]
    assert abs(float(theirs["embedder.aggregator.pool.p"] - moved)) > 1e-4
    histories = [json.loads((folder / "recalls.json").read_text()) for folder in (both, alone)]
    assert histories[0][0]["R@5"] == histories[1][0]["R@5"]
    assert histories[0][1]["loss"] == pytest.approx(histories[1][1]["loss"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("aggregation", ["gem", "netvlad"])
def test_training_raises_recall_in_a_district_it_never_saw(aggregation, tmp_path):
    """SYNTHETIC town; the test district has houses of its own. Run by `make slow`; minutes."""
    from models.evaluation.paired_test import difference_interval, mcnemar
    from retrieval.learning import compare_with_untrained

    compared = compare_with_untrained(tmp_path, aggregation)
    low, _ = difference_interval(compared.only_before, compared.only_after, compared.queries)
    assert compared.only_after > compared.only_before
    assert low > 0
    assert mcnemar(compared.only_before, compared.only_after) < 0.01


def test_train_returns_the_model(town, tmp_path):
    recipe = PlaceRecipe(
        str(town), str(tmp_path / "run"), aggregation="gem", img_size=(32, 48), epochs=1,
        queries_per_epoch=2, cache_refresh_rate=2, negatives=1, negatives_pool=4, train_batch=2,
        device="cpu",
    )  # fmt: skip
    model = train(recipe)
    assert model.sha256 == load_place_model(tmp_path / "run").sha256
