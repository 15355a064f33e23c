"""The command that tests place recognition, on a made-up town."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.place_sets.photos import PlacePhotos
from data.places import read_places
from data.toy.city import make_toy_city
from models.places.embedder import Embedder, EmbedderSettings
from models.places.place_model import save_place_model
from retrieval.descriptor_cache import Engine, describe
from retrieval.test import main, parse, run
from retrieval.testing import place_search
from retrieval.testing.batch_audit import audit_batches
from retrieval.testing.query_methods import METHODS

SIZE = (32, 48)


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    directory = tmp_path_factory.mktemp("town") / "toy"
    make_toy_city(directory, (1, 1), step_m=20.0, queries=12, size=SIZE, night_share=0.5)
    return directory


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    embedder = Embedder(EmbedderSettings(aggregation="gem", img_size=32))
    directory = tmp_path_factory.mktemp("model") / "gem"
    save_place_model(directory, embedder, SIZE, {})
    return directory


@pytest.fixture
def tested(model, town, tmp_path):
    """Run the command; its report."""

    def run(*more, data=town):
        out = tmp_path / "out"
        arguments = ["--model", str(model), "--data", str(data), "--out", str(out), *more]
        assert main([*arguments, "--device", "cpu"]) == 0
        report = out / "recalls.json"
        return out, json.loads(report.read_text()) if report.exists() else None

    return run


def test_recall_is_that_of_a_plain_loop(tested, model, town):
    from models.places.place_model import load_place_model

    _, report = tested()
    places = read_places(town, "test")
    embedder = load_place_model(model).embedder
    described = [
        describe(embedder, PlacePhotos(photos.paths, SIZE), engine=Engine(batch=1))[:, 0]
        for photos in (places.queries, places.database)
    ]
    for k in (1, 5, 10, 20):
        hits = 0
        for query, descriptor in enumerate(described[0]):
            nearest = np.argsort(((described[1] - descriptor) ** 2).sum(axis=1))[:k]
            apart = places.database.utm_m[nearest] - places.queries.utm_m[query]
            hits += bool((np.hypot(*apart.T) <= 25).any())
        assert report["recalls"][f"R@{k}"]["hits"] == hits
    assert report["by_condition"].keys() == {"day", "night"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_with_pca(tested, method):
    out, report = tested(
        "--test_method", method, "--pca_dim", "6", "--whiten", "--save_descriptors",
        "--crop_px", "32",
    )  # fmt: skip
    assert report["dim"] == 6
    stored = np.load(out / "descriptors" / "queries.npy")
    assert stored.shape == (
        12,
        5 if method in ("nearest_crop", "maj_voting", "crop_voting") else 1,
        6,
    )
    np.testing.assert_allclose(np.linalg.norm(stored, axis=2), 1, rtol=1e-4)


def test_saved_descriptors_panels_and_predictions(tested, town):
    out, _ = tested("--save_descriptors", "--save_panels", "3", "--descriptor_dtype", "float16",
                    "--recall_values", "1", "3")  # fmt: skip
    stored = np.load(out / "descriptors" / "database.npy")
    assert stored.dtype == np.float16
    assert stored.shape[:2] == (34, 1)
    assert len(list((out / "panels").iterdir())) == 3
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert len(rows) == 12 * 3
    assert all((float(row["distance_m"]) <= 25) == (row["is_right"] == "1") for row in rows)


def test_without_being_asked_no_descriptors_are_left(tested):
    out, _ = tested()
    assert sorted(path.name for path in out.iterdir()) == [
        "predictions.csv",
        "recalls.csv",
        "recalls.json",
        "recalls.md",
    ]


def test_one_photo_at_a_time_is_the_same(tested):
    _, alone = tested("--batch", "1")
    _, together = tested("--batch", "8")
    assert alone["recalls"] == together["recalls"]


def test_unlabelled_photos_get_predictions_only(tested, town, tmp_path):
    for part in ("database", "queries"):
        folder = tmp_path / "plain" / "images" / "test" / part
        folder.mkdir(parents=True)
        for number, path in enumerate(sorted((town / "images/test" / part).iterdir())[:4]):
            (folder / f"photo{number}.jpg").write_bytes(path.read_bytes())
    out, report = tested("--no_labels", "--save_panels", "1", data=tmp_path / "plain")
    assert report is None
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert len(rows) == 16  # each query names all four, though twenty were asked for
    assert {row["is_right"] for row in rows} == {""}


def test_unreadable_photos_are_counted_and_never_answers(tested, tmp_path, capsys):
    make_toy_city(tmp_path / "toy", (1, 1), step_m=20.0, queries=12, size=SIZE)
    root = tmp_path / "toy" / "images" / "test"
    lost = [min((root / part).iterdir()) for part in ("database", "queries")]
    for path in lost:
        path.write_bytes(path.read_bytes()[:400])
    out, report = tested(data=tmp_path / "toy")
    assert report["unreadable"] == {"database": 1, "queries": 1}
    assert report["recalls"]["R@1"]["n"] == 12
    assert str(lost[0]) in capsys.readouterr().err
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert lost[0].name not in {row["photo"] for row in rows}
    assert lost[1].name not in {row["query"] for row in rows}


def test_the_audit_passes_an_honest_model(tested, capsys):
    _, report = tested("--audit")
    assert report["batch_audit"].startswith("batch audit passed: 12 queries")
    assert "0 first answers differ" in capsys.readouterr().err


def test_the_audit_finds_a_model_that_mixes_its_batch(town, monkeypatch):
    embedder = Embedder(EmbedderSettings(aggregation="gem"), pretrained=False).eval()
    places = read_places(town, "test")
    paths, database = places.queries.paths, np.eye(34, embedder.dim, dtype=np.float32)
    assert audit_batches(embedder, paths, database, SIZE, Engine()).is_passed
    honest = embedder.aggregate

    def mixed(features):
        found = honest(features)
        return found + 0.1 * found.mean(dim=0, keepdim=True)

    monkeypatch.setattr(embedder, "aggregate", mixed)
    audit = audit_batches(embedder, paths, database, SIZE, Engine())
    assert not audit.is_passed
    assert "FAILED" in str(audit)


def test_untrained_features_and_checkpoints_of_the_benchmark(town, tmp_path, capsys):
    common = ["--data", str(town), "--device", "cpu", "--img_size", "32", "48"]
    out = ["--out", str(tmp_path / "out")]
    untrained = ["--aggregation", "netvlad", "--clusters", "4"]
    assert main([*common, *untrained, *out]) == 0
    facts = json.loads((tmp_path / "out" / "recalls.json").read_text())
    assert (facts["aggregation"], facts["dim"], facts["model"]) == ("netvlad", 448, "not saved")
    embedder = Embedder(EmbedderSettings("resnet18", "gem", is_unit=False), pretrained=False)
    theirs = {
        (
            "aggregation.1.p"
            if name == "aggregator.pool.p"
            else name.replace("extractor.network", "backbone")
        ): value
        for name, value in embedder.state_dict().items()
    }
    theirs["aggregation.1.p"] = theirs["aggregation.1.p"].reshape(1)
    path = tmp_path / "best_model.pth"
    torch.save({"model_state_dict": theirs}, path)
    of_theirs = ["--checkpoint", str(path), "--backbone", "resnet18", "--aggregation", "gem"]
    assert main([*common, *of_theirs, *out]) == 0
    assert json.loads((tmp_path / "out" / "recalls.json").read_text())["is_unit"] is False
    assert main([*common, *of_theirs[:-1], "netvlad", *out]) == 2
    assert "weights missing" in capsys.readouterr().err


RERANK = ["--rerank", "geowarp", "--rerank_model", "runs/warp"]


@pytest.fixture
def asked(monkeypatch):
    """What `retrieval.test` asks to be tested and searched: `asked(flags)`, nothing is done."""
    found = []

    def evaluate(model, job, settings, engine):
        found.append((job, settings))
        raise ValueError("not here")

    monkeypatch.setattr("retrieval.testing.evaluation.evaluate", evaluate)
    monkeypatch.setattr("retrieval.test.build_joined_model", lambda *_: None)

    def ask(*flags):
        options, recipe = parse(["--model", "runs/m", "--data", "x", "--device", "cpu", *flags])
        with pytest.raises(ValueError, match="not here"):
            run(options, recipe)
        return found[-1]

    return ask


def test_as_many_are_searched_as_are_sorted_anew(asked):
    few = ["--recall_values", "1", "2"]
    assert asked(*few)[1].depth == 2
    assert asked(*few, *RERANK)[1].depth == 5
    assert asked(*few, *RERANK, "--rerank_top", "30")[1].depth == 30
    assert asked(*RERANK)[1].depth == 20


def test_results_of_another_test_have_another_folder(asked):
    pca = ["--pca_dim", "8"]
    close = [*RERANK, "--rerank_only_if_close", "0.1", "--rerank_warp", "photos"]
    every = [[], pca, [*pca, "--whiten"], RERANK, [*RERANK, "--rerank_top", "9"], close,
             [*RERANK, *pca], [*RERANK[:3], "runs/other"], ["--img_size", "48", "64"],
             ["--val_positives_dist_threshold", "10"], ["--data", "other/town"]]  # fmt: skip
    folders = [asked(*flags)[0].out for flags in every]
    assert len(set(folders)) == len(every)
    assert folders[0] == Path("runs/m/x-test-hard_resize")
    assert folders[2].name == "x-test-hard_resize-pca8_whitened"
    assert folders[5].name == "x-test-hard_resize-geowarp-warp-top5-close0.1-photos"
    assert folders[8].name == "x-test-hard_resize-48x64"
    assert folders[9].name == "x-test-hard_resize-10m"
    assert folders[10].name == "town-test-hard_resize"


def test_refusals_say_what_to_do(model, town, tmp_path, capsys):
    def error(*arguments, data=town):
        out = ["--out", str(tmp_path / "out"), "--device", "cpu"]
        assert main(["--model", str(model), "--data", str(data), *out, *arguments]) == 2
        return capsys.readouterr().err

    assert "can be 1 to 33" in error("--pca_dim", "60")
    assert "within 0.001 m" in error("--val_positives_dist_threshold", "0.001")
    assert "no folder" in error(data=tmp_path)
    empty = tmp_path / "empty" / "test"
    for part in ("database", "queries"):
        (empty / part).mkdir(parents=True)
    assert "the database has no photo" in error(data=tmp_path / "empty")
    assert "0 photos of the database, 0 queries" in error("--no_labels", data=tmp_path / "empty")
    (empty / "database" / "holiday.jpg").write_bytes(b"")
    assert "1 were refused: holiday.jpg: not named @" in error(data=tmp_path / "empty")
    for wrong in (["--whiten"], ["--recall_values", "0"], ["--checkpoint", "a.pth"]):
        with pytest.raises(SystemExit):
            error(*wrong)


def test_a_database_of_unreadable_photos_is_refused(model, tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(3)]
    for path in paths:
        path.write_bytes(b"no")
    embedder = Embedder(EmbedderSettings(aggregation="gem"), pretrained=False)
    settings = place_search.SearchSettings()
    with pytest.raises(ValueError, match="no photo of the database could be read"):
        place_search.search_places(embedder, paths, paths, SIZE, tmp_path / "d", settings, Engine())
    for changes in ({"method": "x"}, {"depth": 0}, {"dtype": "int8"}):
        with pytest.raises(ValueError, match="must"):
            place_search.SearchSettings(**changes)
