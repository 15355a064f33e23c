"""The commands of GeoWarp on a made-up town: train, go on, convert, re-rank with it."""

import json
import shutil

import pytest
import torch

from data.toy.city import make_toy_city
from models.places.embedder import Embedder, EmbedderSettings
from models.places.place_model import save_place_model
from models.warping.file import load_geowarp
from retrieval.test import main as run_test
from retrieval.train_geowarp import main, parse


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    directory = tmp_path_factory.mktemp("town") / "toy"
    make_toy_city(directory, (1, 1), step_m=40.0, queries=4, size=(32, 48))
    return directory


@pytest.fixture(scope="module")
def trained(town, tmp_path_factory):
    out = tmp_path_factory.mktemp("warp") / "run"
    arguments = ["--fast", "--data", str(town), "--out", str(out), "--device", "cpu"]
    assert main([*arguments, "--bank", "2"]) == 0
    return out


def test_a_training_leaves_a_model_and_its_history(trained):
    model = load_geowarp(trained)
    assert model.size == (48, 64)
    assert model.origin["settings"]["epochs"] == 2
    history = json.loads((trained / "history.json").read_text())
    assert [entry["epoch"] for entry in history] == [1, 2]
    assert all(entry["features_wise"] > 0 for entry in history)
    assert history[0]["identity_error"] == history[1]["identity_error"] > 0


def test_a_flag_that_is_given_counts_with_fast():
    def parsed(*flags):
        recipe, settings, _ = parse(["--fast", "--out", "x", *flags])
        return recipe.img_size, settings.epochs, settings.shape

    assert parsed() == ((48, 64), 2, (1, 2))
    given = ("--img_size", "32", "--iterations_per_epoch", "3", "--train_batch", "4")
    assert parsed("--epochs", "0", *given) == ((32,), 0, (3, 4))
    assert parsed("--epochs", "100")[1] == 100


def test_a_run_does_not_go_on_with_other_photos(trained, town, tmp_path, capsys):
    other = shutil.copytree(town, tmp_path / "moved")
    again = ["--fast", "--bank", "2", "--out", str(trained), "--device", "cpu", "--resume"]
    assert main([*again, "--data", str(other)]) == 0  # a set may be moved
    held_out = min((other / "images" / "val" / "database").iterdir())
    held_out.rename(held_out.with_name(held_out.name.replace(".jpg", "x.jpg")))
    assert main([*again, "--data", str(other)]) == 2
    told = capsys.readouterr().err
    assert "was begun on other photos (photos held out: " in told
    assert "photos to learn from" not in told


def test_a_run_does_not_go_on_with_a_model_trained_anew(town, tmp_path, capsys):
    def write_model(seed):
        torch.manual_seed(seed)
        settings = EmbedderSettings("test_resnet", "gem", img_size=32)
        save_place_model(tmp_path / "model", Embedder(settings, pretrained=False), (32, 48), {})

    write_model(0)
    alone = ["--consistency_w", "0", "--features_wise_w", "0", "--bank", "2", "--epochs", "1"]
    run = ["--fast", *alone, "--data", str(town), "--out", str(tmp_path / "run"),
           "--model", str(tmp_path / "model"), "--device", "cpu"]  # fmt: skip
    assert main(run) == 0
    write_model(1)
    assert main([*run, "--resume"]) == 2
    assert "other settings: model_sha256 " in capsys.readouterr().err


def test_a_test_shows_recall_before_and_after(trained, town, tmp_path, capsys):
    common = ["--data", str(town), "--img_size", "32", "48", "--aggregation", "gem",
              "--device", "cpu"]  # fmt: skip
    rerank = ["--rerank", "geowarp", "--rerank_model", str(trained), "--rerank_top", "3"]
    assert run_test([*common, "--out", str(tmp_path / "plain")]) == 0
    assert run_test([*common, *rerank, "--out", str(tmp_path / "again")]) == 0
    told = capsys.readouterr()
    assert "| before re-ranking | 4 |" in told.out
    assert "re-ranking: R@1 " in told.err
    plain, again = (
        json.loads((tmp_path / name / "recalls.json").read_text()) for name in ("plain", "again")
    )
    assert again["by_condition"]["before re-ranking"] == plain["recalls"]
    assert again["recalls"]["R@5"] == plain["recalls"]["R@5"]  # the same five in another order
    assert again["rerank"]["queries_asked"] == 4
    close = [*rerank, "--rerank_only_if_close", "0", "--out", str(tmp_path / "none")]
    assert run_test([*common, *close]) == 0
    none = json.loads((tmp_path / "none" / "recalls.json").read_text())
    assert none["rerank"]["queries_asked"] == 0
    assert none["recalls"] == plain["recalls"]


def test_public_weights_become_a_model(trained, tmp_path, capsys):
    weights = load_geowarp(trained).model.regression.state_dict()
    torch.save(weights, tmp_path / "homography_regression.torch")
    files = ["--regression", str(tmp_path / "homography_regression.torch")]
    out = tmp_path / "converted"
    assert main([*files, "--epochs", "0", "--img_size", "64", "--out", str(out)]) == 0
    converted = load_geowarp(out).model.regression.state_dict()
    assert all(torch.equal(converted[name], value) for name, value in weights.items())
    assert "not trained here" in capsys.readouterr().out


def test_refusals_say_what_to_do(trained, town, tmp_path, capsys):
    def error(run, *arguments):
        assert run([*arguments, "--device", "cpu"]) == 2
        return capsys.readouterr().err

    common = ["--data", str(town), "--img_size", "32"]
    again = [*common, "--out", str(trained)]
    assert "go on with it by --resume" in error(main, *again)
    assert "other settings: img_size" in error(main, *again, "--resume")
    new = [*common, "--out", str(tmp_path / "new")]
    assert "--qp_threshold" in error(main, *new, "--qp_threshold", "0", "--ss_w", "0")
    assert "holds no config.json" in error(main, *new, "--model", str(tmp_path))
    assert "no folder" in error(main, "--data", str(tmp_path), "--out", str(tmp_path / "b"))
    oblong = ["--backbone", "vit_tiny_patch16_224", "--no-pretrained", "--img_size", "32", "48"]
    assert "a transformer takes squares" in error(main, *new, *oblong)
    test = [*common, "--aggregation", "gem", "--out", str(tmp_path / "tested")]
    assert "--rerank needs --rerank_model" in error(run_test, *test, "--rerank", "geowarp")
    assert "go with --rerank" in error(run_test, *test, "--rerank_model", "x")
    lost = ["--rerank", "geowarp", "--rerank_model", str(tmp_path)]
    assert "train_geowarp --out DIR" in error(run_test, *test, *lost)
    for wrong in (["--k", "1"], ["--lr", "-1"], ["--model", "a", "--features", "b"]):
        with pytest.raises(SystemExit):
            main([*new, *wrong])
