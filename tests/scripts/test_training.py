"""train_vit.py from end to end."""

import json

import numpy as np
import pandas as pd
import pytest
import simplejpeg
import torch
from safetensors.torch import load_file

import test_vit as testing  # under its own name, pytest would take it for a test
import train_vit as training
from data.shards import ShardWriter
from models.bundles.bundle import Bundle
from models.export import load_model, onnx_difference
from models.training.recipe_flags import parse_recipe
from models.training.recipes import RECIPES
from models.training.trainer import accelerator


def test_a_fast_run_leaves_a_whole_bundle_and_the_curves(bundle):
    opened = Bundle.open(bundle)
    assert onnx_difference(load_model(opened), bundle / "model.onnx") < 1e-4
    assert opened.calibration.photos == 32
    origin = opened.config["origin"]
    assert (origin["training photos"], origin["validation photos"]) == (96, 32)
    assert origin["settings"]["img_size"] == 32
    assert origin["name"] in (bundle / "README.md").read_text()
    metrics = pd.read_csv(bundle / "csv" / "metrics.csv")
    assert {"train/loss", "val/loss", "val/top1_fine", "val/within_25_km"} <= set(metrics.columns)
    assert metrics["step"].max() == 1
    assert list((bundle / "tensorboard").glob("events.out.tfevents.*"))
    assert (bundle / "checkpoints" / "step000000002.ckpt").is_file()
    assert not list(bundle.rglob("*.tmp"))


def test_a_fast_run_warns_of_nothing(fast_run):
    assert fast_run[1] == []


def test_a_model_learns_where_photos_are(train, shards):
    code, out, _ = train("learned", "--epochs 10 --lr 3e-3 --inputs rgb --min_scale 0.9")
    assert code == 0
    flags = ["--model", str(out), "--shards", str(shards / "val"), "--workers", "0"]
    assert testing.main([*flags, "--device", "cpu"]) == 0
    rows = json.loads((out / "test" / "report.json").read_text())["rows"]
    within = {name: row["within_km"]["750"] for name, row in rows.items()}
    for name in ("coarse", "hierarchical"):
        assert within[name]["low"] > within["prior"]["high"]
        assert rows[name]["median_km"] < rows["prior"]["median_km"] / 5


@pytest.mark.parametrize(
    ("flags", "levels"),
    [
        pytest.param("--s2_cells coarse --inputs rgb", ["coarse"], marks=pytest.mark.slow),
        ("--s2_cells middle --inputs seg", ["coarse", "middle"]),
    ],
)
def test_fewer_levels_and_other_inputs(flags, levels, train, shards):
    code, out, _ = train("few", f"--epochs 1 {flags}")
    assert code == 0
    opened = Bundle.open(out)
    heads = {n.split(".")[1] for n in load_file(out / "model.safetensors") if "cell_heads" in n}
    assert heads == set(levels) == set(opened.levels)
    flags = ["--model", str(out), "--shards", str(shards / "val"), "--workers", "0"]
    assert testing.main([*flags, "--device", "cpu"]) == 0
    table = json.loads((out / "test" / "report.json").read_text())
    assert list(table["rows"]) == [*levels, "hierarchical", "prior"]
    used = 21 if opened.config["architecture"]["inputs"] == "seg" else 32
    assert (table["photos"], opened.calibration.photos) == (used, used)
    assert len(table["unreadable"]) == 32 - used
    cells = opened.partition.levels[levels[-1]]
    answers = pd.read_csv(out / "test" / "predictions.csv")
    answers = answers[answers.p_key == "hierarchical"]["pred_lat"]
    assert set(np.round(answers, 6)) <= set(np.round(cells.lat, 6))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--backbone nonsense", "unknown backbone"),
        ("--backbone_args depth", "'depth' is not name=value"),
        ("--backbone_args nonsense=1", "does not take these arguments"),
        ("--precision 7", "Precision"),
        ("--lr 1e30", "the loss became"),
        ("--data /nowhere", "no shards in /nowhere/train"),
        ("--t_fine 500 1000", "would not nest"),
        ("--t_coarse 97 99 --t_middle 97 99 --t_fine 97 99", "lower t_min"),
    ],
)
def test_bad_input_of_train_vit(flags, message, train):
    code, _, error = train("bad", f"--epochs 1 {flags}")
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"seed"}))
def test_every_recipe_runs_in_the_small(name, train, tmp_path, monkeypatch):
    """The seed's is the one that all tests above run."""
    monkeypatch.setattr("models.export.export_onnx", lambda model, path: path.write_bytes(b""))
    assert training.main(["--recipe", name, "--fast", "--out", str(tmp_path / "run")]) == 0
    origin = Bundle.open(tmp_path / "run").config["origin"]
    assert origin["settings"]["recipe"] == name
    assert origin["settings"]["lr"] == RECIPES[name]().lr


@pytest.mark.parametrize(
    "flags",
    [
        "--inputs rgb",
        "--inputs seg",
        "--fusion late",
        "--scene_weight 0",
        "--single_level",
        "--smoothing_km 300 --consistency 0.1 --label_smoothing 0.1",
        "--imbalance logit_adjustment",
        "--retrieval_loss multi_similarity --descriptor_dim 8",
        "--retrieval_loss cosface --descriptor_dim 8",
        "--freeze_backbone",
        "--freeze_backbone --embed_once",
        "--lora_rank 2 --ema 0.9",
        "--precision bf16-mixed --accumulate 2 --ema 0.9 --layer_decay 0.7 --schedule one_cycle",
    ],
)
def test_ablations_and_options_are_one_flag_each(train, flags):
    code, out, error = train("one", f"--epochs 1 {flags}")
    assert (code, "error" in error, "warning" in error) == (0, False, False), error
    opened = Bundle.open(out)
    assert opened.levels == (("fine",) if "single" in flags else ("coarse", "middle", "fine"))
    assert opened.calibration.photos == (21 if flags == "--inputs seg" else 32)


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ("", "best: val/loss "),
        ("--select last", "last, after 18 steps"),
        ("--ema 0.5", "best of the running average: val/loss "),
        ("--ema 0.5 --select ema", "last of the running average, after 18 steps"),
        ("--ema 0.5 --select last", "last, after 18 steps"),
    ],
)
def test_the_bundle_holds_the_chosen_weights_and_says_which(train, flags, chosen):
    """A learning rate that spoils the weights after the first epoch: best is not last."""
    code, out, _ = train("chosen", f"--epochs 3 --inputs rgb --schedule constant --lr 0.05 {flags}")
    assert code == 0
    card = (out / "README.md").read_text()
    assert f"chosen weights: {chosen}" in card
    weights = load_file(out / "model.safetensors")
    folder = out / "checkpoints"
    saved = torch.load(folder / "best.ckpt", weights_only=True)
    assert saved["step"] in (6, 12, 18)
    losses = pd.read_csv(out / "csv" / "metrics.csv").dropna(subset="val/loss")
    assert saved["val/loss"] == pytest.approx(losses["val/loss"].min())
    if chosen.startswith("best"):
        state = saved["weights"]
    else:
        state = torch.load(folder / "step000000018.ckpt", weights_only=True)["state_dict"]
    prefix = "average.module." if "average" in chosen else "model."
    for name, tensor in weights.items():
        assert torch.equal(tensor, state[prefix + name]), name


def test_low_rank_updates_are_in_the_bundles_weights(train):
    """Merged: plain layers, changed where LoRA reaches, as they were elsewhere."""
    plain = train("plain", "--epochs 1 --freeze_backbone")[1]
    code, out, _ = train("lora", "--epochs 1 --lora_rank 2 --lr 0.01 --select last")
    assert code == 0
    before, after = (load_file(folder / "model.safetensors") for folder in (plain, out))
    assert before.keys() == after.keys()
    changed = {n for n, w in after.items() if not torch.equal(w, before[n]) and "encoder" in n}
    assert any("attn.qkv.weight" in name for name in changed)
    assert all(("blocks" in n and n.endswith("weight")) or "fusion" in n for n in changed)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_compiled_model_trains_the_same(train):
    """Needs a C++ compiler on a CPU. Run by `make slow`."""
    outs = []
    for name, flags in (("plain", ""), ("compiled", "--compile")):
        code, out, error = train(name, f"--epochs 2 {flags}")
        assert code == 0, error
        outs.append(load_file(out / "model.safetensors"))
    for name, weights in outs[0].items():
        torch.testing.assert_close(outs[1][name], weights, atol=2e-3, rtol=1e-2, msg=name)


@pytest.fixture
def jpeg_of_grey():
    return simplejpeg.encode_jpeg(np.full((40, 40, 3), 128, np.uint8))


def test_a_map_only_model_needs_maps(train, tmp_path, jpeg_of_grey):
    for split in ("train", "val"):
        with ShardWriter(tmp_path / "d" / split) as writer:
            for i in range(4):
                writer.write(f"p{i}", jpeg_of_grey, {"lat": 1.0, "lon": 1.0}, None)
    code, _, error = train(
        "maps", "--inputs seg --t_coarse 1 9 --t_middle 1 9 --t_fine 1 9", tmp_path / "d"
    )
    assert (code, "no photo in" in error, "segmentation map" in error) == (2, True, True)


@pytest.mark.parametrize(
    ("flags", "devices"),
    [
        ("", [0]),
        ("--cuda_base cuda:2", [2]),
        ("--cuda_base cuda", [0]),
        ("--device_ids 1", [1]),
        ("--device_ids 0 1", [0, 1]),
    ],
)
def test_gpus(flags, devices, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    recipe = parse_recipe("", f"--data d --out o {flags}".split())
    assert accelerator(recipe) == {
        "accelerator": "gpu",
        "devices": devices,
        "num_nodes": 1,
    }
    on_cpu = parse_recipe("", ["--data", "d", "--out", "o", "--device", "cpu"])
    assert accelerator(on_cpu)["accelerator"] == "cpu"


@pytest.mark.parametrize("flags", ["--cuda_base gpu0", "--cuda_base cuda:x", "--device_ids 4"])
def test_gpus_that_are_not_there(flags, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    recipe = parse_recipe("", f"--data d --out o {flags}".split())
    with pytest.raises(ValueError, match=r"cuda:0|not visible"):
        accelerator(recipe)
