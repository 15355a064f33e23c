"""test_vit.py from end to end; and what both scripts say of themselves."""

import io
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import test_vit as testing  # under its own name, pytest would take it for a test
import train_vit as training
from data.index import Index
from data.transforms import EvalTransform
from models.bundles.bundle import Bundle
from models.export import load_model

pytestmark = pytest.mark.usefixtures("no_pictures")
ROOT = Path(training.__file__).parent
THRESHOLDS_KM = (1, 25, 200, 750, 2500)


def distance_km(lat1, lon1, lat2, lon2):
    a, b, c, d = map(math.radians, (lat1, lon1, lat2, lon2))
    h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(h))


def truth_of(shards):
    index = Index.open(shards)
    return {index.key(i): (index.lat[i], index.lon[i]) for i in range(len(index))}


def assert_row(row, errors):
    for km in THRESHOLDS_KM:
        share = row["within_km"][str(km)]
        assert share["hits"] == sum(error <= km for error in errors)
        assert share["percent"] == pytest.approx(100 * share["hits"] / len(errors))
        assert 0 <= share["low"] <= share["percent"] <= share["high"] <= 100
        assert share["low"] < share["high"]
    assert row["median_km"] == pytest.approx(np.median(errors), rel=1e-9)
    assert row["median_km_95"][0] <= row["median_km"] <= row["median_km_95"][1]


def test_the_table_counts_what_predictions_and_truth_say(tested, bundle, hierarchical):
    out, printed = tested
    table = json.loads((out / "report.json").read_text())
    predictions = hierarchical(out)
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
    table = json.loads((tested[0] / "report.json").read_text())
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


def test_a_folder_gives_what_the_shards_give(tested, on_folder, hierarchical, tmp_path):
    assert on_folder(tmp_path / "out", "--batch_size", 5) == 0
    expected, found = hierarchical(tested[0]), hierarchical(tmp_path / "out")
    assert found["img_id"].tolist() == [f"7f/{key}.jpg" for key in expected["img_id"]]
    for column in ("pred_lat", "pred_lng", "error_km", "probability"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-5)


def test_what_cannot_be_used_is_counted_and_listed(bundle, folder, on_folder, tmp_path, capsys):
    good = pd.read_csv(folder / "t.csv")
    first = good["IMG_ID"][0]
    rows = [("nan", "", 3), ("swapped", 120, 10), ("far", 10, 700), (first, 5, 5)]
    bad = pd.DataFrame([*rows, ("7f/gone", 1, 2), ("../t", 1, 2)], columns=good.columns)
    pd.concat([good, bad]).to_csv(folder / "t.csv", index=False)
    (folder / "photos" / "7f" / "val_3.jpg").write_bytes(b"\xff\xd8 no photo")
    (folder / "photos" / "t.jpg").unlink(missing_ok=True)
    shutil.copy(folder / "photos" / "7f" / "val_0.jpg", folder / "t.jpg")  # ../t leads here
    out = tmp_path / "out"
    assert on_folder(out) == 0
    table = json.loads((out / "report.json").read_text())
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


def test_maps_of_another_size(folder, on_folder, tmp_path, capsys):
    for path in (folder / "seg").rglob("*.png"):
        Image.fromarray(np.zeros((20, 30), np.uint8)).save(path)
    for path in (folder / "photos" / "7f").glob("*.jpg"):
        if not (folder / "seg" / "7f" / f"{path.stem}.png").exists():
            path.unlink()
    assert on_folder(tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "7f/val_1.jpg is 40 x 40 and its segmentation map 30 x 20" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--model {tmp} --shards {val}", "no model bundle in"),
        ("--model {bundle} --shards {val} --protocol im2gps4k", "there are im2gps, im2gps3k"),
        ("--model {bundle} --shards {val} --protocol im2gps --strict", "tested were 32; the table"),
        ("--model {bundle} --shards {val} --train_csv {tmp}/none.csv", "none.csv"),
        ("--model {bundle} --shards {val} --train_csv {tmp}/t.csv", "names no author and no area"),
        ("--compare {tmp} {bundle}", "predictions.csv"),
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
    "flags",
    [
        "--model m",
        "--model m --images a",
        "--model m --csv a",
        "--model m --shards a --images b --csv c",
        "--model m --shards a --seg b",
        "--shards a",
        "--model m --compare a b",
        "--model m --compare a b --shards c",
        "--compare a b --images c",
        "--model m --shards a --crops 3",
    ],
)
def test_test_vit_wants_one_source(flags):
    with pytest.raises(SystemExit, match="2"):
        testing.main(flags.split())


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
