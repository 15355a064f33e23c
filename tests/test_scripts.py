"""The two scripts from end to end, on synthetic shards."""

import contextlib
import io
import json
import math
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # an unreachable hub answers at once

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import models.export
import test_vit as testing  # under its own name, pytest would take it for a test
import train_vit as training
from data.index import Index
from data.synthetic import write_synthetic_shards
from data.transforms import EvalTransform
from models.bundle import Bundle
from models.export import load_model, onnx_difference

ROOT = Path(training.__file__).parent
THRESHOLDS = "--t_coarse 2 40 --t_middle 2 20 --t_fine 2 10"
TINY = (
    "--backbone vit_tiny_patch16_224 --no-pretrained --img_size 32 --batch_size 16 --workers 0 "
    "--backbone_args patch_size=8,embed_dim=24,depth=2,num_heads=2 --device cpu " + THRESHOLDS
)
IS_SEEN_BY_DEFAULT = (UserWarning, FutureWarning, RuntimeWarning)


@pytest.fixture(scope="module")
def fast_run(tmp_path_factory):
    """The bundle of a --fast run and the warnings it gave."""
    out = tmp_path_factory.mktemp("fast")
    with warnings.catch_warnings(record=True) as noise:
        warnings.simplefilter("always")
        assert training.main(["--fast", "--out", str(out)]) == 0
    return out, [w for w in noise if issubclass(w.category, IS_SEEN_BY_DEFAULT)]


@pytest.fixture(scope="module")
def bundle(fast_run):
    return fast_run[0]


@pytest.fixture(scope="module")
def tested(bundle, tmp_path_factory):
    """Where test_vit wrote its results on the validation shards, and what it printed."""
    out = tmp_path_factory.mktemp("tested")
    flags = ["--model", bundle, "--out", out, "--shards", bundle / "synthetic" / "val"]
    flags += ["--workers", "0", "--device", "cpu"]
    printed, complaints = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaints):
        assert testing.main([str(flag) for flag in flags]) == 0
    assert complaints.getvalue() == ""
    return out, printed.getvalue()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_synthetic_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture
def train(shards, tmp_path, monkeypatch, capsys):
    """`train("run", "--epochs 2 ...")` -> exit code, output directory, error text."""
    monkeypatch.setattr(models.export, "export_onnx", lambda model, path: path.write_bytes(b""))

    def run(name, flags, data=shards):
        capsys.readouterr()
        out = tmp_path / name
        code = training.main(f"--data {data} --out {out} {TINY} {flags}".split())
        return code, out, capsys.readouterr().err

    return run


def distance_km(lat1, lon1, lat2, lon2):
    a, b, c, d = map(math.radians, (lat1, lon1, lat2, lon2))
    h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(h))


def truth_of(shards):
    index = Index.open(shards)
    return {index.key(i): (index.lat[i], index.lon[i]) for i in range(len(index))}


def assert_row(row, errors):
    for km in testing.THRESHOLDS_KM:
        share = row["within_km"][str(km)]
        assert share["hits"] == sum(error <= km for error in errors)
        assert share["percent"] == pytest.approx(100 * share["hits"] / len(errors))
        assert 0 <= share["low"] <= share["percent"] <= share["high"] <= 100
        assert share["low"] < share["high"]
    assert row["median_km"] == pytest.approx(np.median(errors), rel=1e-9)
    assert row["median_km_95"][0] <= row["median_km"] <= row["median_km_95"][1]


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
    assert (bundle / "checkpoints" / "last.ckpt").is_file()
    assert not list(bundle.rglob("*.tmp"))


def test_a_fast_run_warns_of_nothing(fast_run):
    assert [str(w.message) for w in fast_run[1]] == []


def test_the_table_counts_what_predictions_and_truth_say(tested, bundle):
    out, printed = tested
    table = json.loads((out / "table.json").read_text())
    predictions = pd.read_csv(out / "predictions.csv")
    truth = truth_of(bundle / "synthetic" / "val")
    assert set(predictions["img_id"]) == set(truth)
    errors = [
        distance_km(p.pred_lat, p.pred_lng, *truth[p.img_id]) for p in predictions.itertuples()
    ]
    np.testing.assert_allclose(predictions["error_km"], errors, rtol=1e-9)
    assert predictions["probability"].between(0, 1).all()
    assert list(table["rows"]) == ["coarse", "middle", "fine", "hierarchical", "prior"]
    assert table["photos"] == 32
    assert_row(table["rows"]["hierarchical"], errors)
    for text in (*table["rows"], "2500 km", "median km", "region 90%", "of 32 photos"):
        assert text in printed
    share = table["rows"]["hierarchical"]["within_km"]["2500"]
    assert f"{share['percent']:.1f} ({share['hits']})" in printed


def test_rows_of_levels_and_prior(tested, bundle):
    table = json.loads((tested[0] / "table.json").read_text())
    opened, index = Bundle.open(bundle), Index.open(bundle / "synthetic" / "val")
    model, transform = load_model(opened), EvalTransform(32)
    errors = {name: [] for name in ("coarse", "middle", "fine", "prior")}
    fine = opened.partition.fine
    most = max(range(len(fine)), key=lambda c: (fine.photos[c], -c))
    for i in range(len(index)):
        jpg, png = index.read_images(i)
        rgb, seg = transform(pixels_of(jpg).permute(2, 0, 1), png and pixels_of(png))
        seg = torch.zeros(32, 32, dtype=torch.uint8) if seg is None else seg
        with torch.inference_mode():
            said = model(rgb[None], seg[None], torch.tensor([png is not None]))
        for level, logits in said.cells.items():
            cells, best = opened.partition.levels[level], int(logits[0].argmax())
            truth = index.lat[i], index.lon[i]
            errors[level].append(distance_km(cells.lat[best], cells.lon[best], *truth))
        errors["prior"].append(
            distance_km(fine.lat[most], fine.lon[most], index.lat[i], index.lon[i])
        )
    for name, values in errors.items():
        assert_row(table["rows"][name], values)


def pixels_of(data):
    return torch.from_numpy(np.array(Image.open(io.BytesIO(data))))


@pytest.fixture
def folder(bundle, tmp_path):
    """The validation photos as files, with ids in folders, and their table."""
    index = Index.open(bundle / "synthetic" / "val")
    rows = []
    for i in range(len(index)):
        jpg, png = index.read_images(i)
        for kind, suffix, data in (("photos", ".jpg", jpg), ("seg", ".png", png)):
            path = tmp_path / kind / "7f" / f"{index.key(i)}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if data:
                path.write_bytes(data)
        rows.append((f"7f/{index.key(i)}.jpg", index.lat[i], index.lon[i]))
    pd.DataFrame(rows, columns=["IMG_ID", "LAT", "LON"]).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path


def on_folder(bundle, folder, out, *more):
    flags = ["--model", bundle, "--images", folder / "photos", "--csv", folder / "t.csv"]
    flags += ["--seg", folder / "seg", "--out", out, "--workers", "0", "--device", "cpu", *more]
    return testing.main([str(flag) for flag in flags])


def test_a_folder_gives_what_the_shards_give(tested, bundle, folder, tmp_path):
    assert on_folder(bundle, folder, tmp_path / "out", "--batch_size", 5) == 0
    expected = pd.read_csv(tested[0] / "predictions.csv")
    found = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert found["img_id"].tolist() == [f"7f/{key}.jpg" for key in expected["img_id"]]
    for column in ("pred_lat", "pred_lng", "error_km", "probability"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-5)


def test_what_cannot_be_used_is_counted_and_listed(bundle, folder, tmp_path, capsys):
    good = pd.read_csv(folder / "t.csv")
    first = good["IMG_ID"][0]
    rows = [("nan", "", 3), ("swapped", 120, 10), ("far", 10, 700), (first, 5, 5)]
    bad = pd.DataFrame([*rows, ("7f/gone", 1, 2), ("../t", 1, 2)], columns=good.columns)
    pd.concat([good, bad]).to_csv(folder / "t.csv", index=False)
    (folder / "photos" / "7f" / "val_3.jpg").write_bytes(b"\xff\xd8 no photo")
    (folder / "photos" / "t.jpg").unlink(missing_ok=True)
    shutil.copy(folder / "photos" / "7f" / "val_0.jpg", folder / "t.jpg")  # ../t leads here
    out = tmp_path / "out"
    assert on_folder(bundle, folder, out) == 0
    table = json.loads((out / "table.json").read_text())
    assert table["photos"] == 31
    assert table["refused_rows"] == 4
    assert len(table["unreadable"]) == 3
    for name in ("val_3", "7f/gone", "../t"):
        assert any(name in text for text in table["unreadable"])
    refused = pd.read_csv(out / "refused.csv")
    assert refused["row"].tolist() == [33, 34, 35, 36]
    assert not list(bundle.rglob("refused.csv"))
    printed = capsys.readouterr().out
    assert "4 rows of the table were refused" in printed
    assert "3 photos could not be read" in printed


def test_maps_of_another_size(bundle, folder, tmp_path, capsys):
    for path in (folder / "seg").rglob("*.png"):
        Image.fromarray(np.zeros((20, 30), np.uint8)).save(path)
    for path in (folder / "photos" / "7f").glob("*.jpg"):
        if not (folder / "seg" / "7f" / f"{path.stem}.png").exists():
            path.unlink()
    assert on_folder(bundle, folder, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "7f/val_1.jpg is 40 x 40 and its segmentation map 30 x 20" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--model {tmp} --shards {val}", "no model bundle in"),
        ("--model {bundle} --shards {tmp}", "no manifest.parquet"),
        ("--model {bundle} --images {tmp}/none --csv {tmp}/t.csv", "no folder"),
        ("--model {bundle} --images {tmp} --csv {tmp}/none.csv", "none.csv"),
        ("--model {bundle} --images {tmp} --csv {tmp}/t.csv", "none of the 32 photos"),
        ("--model {bundle} --images {tmp}/photos --csv {tmp}/t.csv --seg {tmp}/no", "no folder"),
        ("--model {bundle} --shards {val} --batch_size 0", "batch_size"),
    ],
)
def test_bad_input_of_test_vit(flags, message, bundle, folder, capsys):
    places = {"tmp": folder, "bundle": bundle, "val": bundle / "synthetic" / "val"}
    assert testing.main(flags.format(**places).split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "flags", ["", "--images a", "--csv a", "--shards a --images b --csv c", "--shards a --seg b"]
)
def test_test_vit_wants_one_source(flags):
    with pytest.raises(SystemExit, match="2"):
        testing.main(["--model", "m", *flags.split()])


@pytest.mark.parametrize(("hits", "errors"), [(0, [9.0] * 25), (25, [0.5] * 25)])
def test_an_interval_of_none_or_all_has_a_width(hits, errors):
    share = testing.share_within(np.array(errors), 1)
    z2 = 1.959964**2  # Wilson's bound at 0 and n of n cases: n / (n + z2)
    low, high = (0, z2 / (25 + z2)) if hits == 0 else (25 / (25 + z2), 1)
    assert (share["hits"], share["percent"]) == (hits, 4 * hits)
    assert (share["low"], share["high"]) == pytest.approx((100 * low, 100 * high), abs=1e-4)


def test_an_interval_of_some_covers_as_a_normal_one_nearly():
    errors = np.repeat([0.5, 9.0], [60, 140])
    share = testing.share_within(errors, 1)
    half = 100 * 1.96 * math.sqrt(0.3 * 0.7 / 200)
    assert (share["low"], share["high"]) == pytest.approx((30 - half, 30 + half), abs=1.2)


def test_help_is_quick_and_complete():
    code = (
        "import sys, runpy\n"
        "sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'numpy', 'pandas', 'timm', 'pytorch_lightning'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    for script in ("train_vit.py", "test_vit.py"):
        command = [sys.executable, "-c", code, script]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "--workers" in done.stdout


def test_resuming_repeats_the_run_bit_for_bit(train, monkeypatch):
    from pytorch_lightning import Callback

    class Stop(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 2:
                raise OSError("pulled the plug")

    # dropout, so that the network's own random numbers matter too
    flags = "--epochs 3 --backbone_args patch_size=8,embed_dim=24,depth=2,num_heads=2,drop_rate=0.3"
    flags += ",drop_path_rate=0.2,proj_drop_rate=0.2"
    assert train("whole", flags)[0] == 0
    build = training.build_trainer

    def stopping(recipe, out):
        trainer = build(recipe, out)
        trainer.callbacks.append(Stop())
        return trainer

    monkeypatch.setattr(training, "build_trainer", stopping)
    code, out, error = train("halves", flags)
    assert (code, "pulled the plug" in error) == (2, True)
    first_half = (out / "csv" / "metrics.csv").read_text()
    assert not (out / "config.json").exists()
    monkeypatch.setattr(training, "build_trainer", build)

    for other, message in (
        ("--batch_size 8", "batch_size 16 (now 8)"),
        ("--lr 0.1", "lr 0.0003 (now 0.1)"),
        ("--inputs rgb", "inputs 'both' (now 'rgb')"),
        ("--img_size 40", "img_size 32 (now 40)"),
        ("--t_fine 2 5", "t_fine (2, 10) (now (2, 5))"),
    ):
        code, _, error = train("halves", f"{flags} --resume {other}")
        assert (code, error.count("\n")) == (2, 1)
        assert message in error

    assert train("halves", f"{flags} --resume")[0] == 0
    assert (out / "csv" / "metrics.csv").read_text() == first_half
    last = sorted(out.glob("csv-*"), key=lambda p: p.stat().st_mtime)[-1]
    assert pd.read_csv(last / "metrics.csv")["epoch"].dropna().unique().tolist() == [2]
    whole, halves = (load_file(out.parent / n / "model.safetensors") for n in ("whole", "halves"))
    assert whole.keys() == halves.keys()
    for name, weights in whole.items():
        assert torch.equal(weights, halves[name]), name

    code, _, error = train("halves", flags)
    assert (code, "holds a run" in error) == (2, True)
    (out / "checkpoints" / "last.ckpt").write_bytes(b"PK half a checkpoint")
    code, _, error = train("halves", f"{flags} --resume")
    assert (code, str(out / "checkpoints" / "last.ckpt") in error) == (2, True)


def test_nothing_to_resume(train):
    code, out, error = train("new", "--resume")
    assert (code, "no checkpoint" in error, "leave out --resume" in error) == (2, True, True)
    assert not out.exists()


def test_a_model_learns_where_photos_are(train, shards):
    code, out, _ = train("learned", "--epochs 10 --lr 3e-3 --inputs rgb --min_scale 0.9")
    assert code == 0
    flags = ["--model", str(out), "--shards", str(shards / "val"), "--workers", "0"]
    assert testing.main([*flags, "--device", "cpu"]) == 0
    rows = json.loads((out / "test" / "table.json").read_text())["rows"]
    within = {name: row["within_km"]["750"] for name, row in rows.items()}
    for name in ("coarse", "hierarchical"):
        assert within[name]["low"] > within["prior"]["high"]
        assert rows[name]["median_km"] < rows["prior"]["median_km"] / 5


@pytest.mark.parametrize(
    ("flags", "levels"),
    [
        ("--s2_cells coarse --inputs rgb", ["coarse"]),
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
    table = json.loads((out / "test" / "table.json").read_text())
    assert list(table["rows"]) == [*levels, "hierarchical", "prior"]
    used = 21 if opened.config["architecture"]["inputs"] == "seg" else 32
    assert (table["photos"], opened.calibration.photos) == (used, used)
    assert len(table["unreadable"]) == 32 - used
    cells = opened.partition.levels[levels[-1]]
    answers = pd.read_csv(out / "test" / "predictions.csv")["pred_lat"]
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


@pytest.fixture
def jpeg_of_grey():
    import simplejpeg

    return simplejpeg.encode_jpeg(np.full((40, 40, 3), 128, np.uint8))


def test_a_map_only_model_needs_maps(train, tmp_path, jpeg_of_grey):
    from data.shards import ShardWriter

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
    recipe = training.parse_recipe("", f"--data d --out o {flags}".split())
    assert training.accelerator(recipe) == {"accelerator": "gpu", "devices": devices}
    on_cpu = training.parse_recipe("", ["--data", "d", "--out", "o", "--device", "cpu"])
    assert training.accelerator(on_cpu)["accelerator"] == "cpu"


@pytest.mark.parametrize("flags", ["--cuda_base gpu0", "--cuda_base cuda:x", "--device_ids 4"])
def test_gpus_that_are_not_there(flags, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    recipe = training.parse_recipe("", f"--data d --out o {flags}".split())
    with pytest.raises(ValueError, match=r"cuda:0|not visible"):
        training.accelerator(recipe)
