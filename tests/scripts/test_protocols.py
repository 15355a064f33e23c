"""test_vit.py on benchmarks: protocols, groups of photos, crops, comparisons, what is written."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import test_vit as testing  # under its own name, pytest would take it for a test
from data import benchmarks
from data.index import Index
from data.sample import safe_key
from data.shards import ShardWriter
from models.bundles.bundle import Bundle
from models.evaluation.local_mean import Positions

pytestmark = pytest.mark.usefixtures("no_pictures")
ROOT = Path(testing.__file__).parent


def test_everything_is_written_and_nothing_half(tested):
    out, _ = tested
    names = (
        "report.json table.csv table.md predictions.csv predictions.json errors_cdf.png world.png"
    )
    assert {path.name for path in out.iterdir()} == {*names.split(), "panel.png"}
    rows = pd.read_csv(out / "predictions.csv")
    assert list(rows.columns[:5]) == ["img_id", "p_key", "pred_class", "pred_lat", "pred_lng"]
    assert rows.p_key.value_counts().to_dict() == dict.fromkeys(
        ("coarse", "middle", "fine", "hierarchy"), 32
    )


def test_a_protocol_with_another_count_is_a_loud_warning(bundle, tmp_path, capsys):
    flags = f"--model {bundle} --shards {bundle}/synthetic/val --out {tmp_path} --workers 0"
    flags += " --device cpu --protocol im2gps"
    assert testing.main(flags.split()) == 0
    said = capsys.readouterr()
    assert "warning: Im2GPS has 237 photos, tested were 32" in said.err
    assert "NOT Im2GPS, 32 of 237 photos" in " ".join(said.out.split())
    report = json.loads((tmp_path / "report.json").read_text())
    manifest = (bundle / "synthetic" / "val" / "manifest.parquet").read_bytes()
    assert report["protocol"]["list_sha256"] == hashlib.sha256(manifest).hexdigest()


def test_a_protocol_with_its_count_passes(folder, on_folder, tmp_path, monkeypatch, capsys):
    protocol = benchmarks.Protocol("tiny", "Tiny", 32, "here")
    monkeypatch.setattr(benchmarks, "PROTOCOLS", {"tiny": protocol})
    assert on_folder(tmp_path / "a", "--protocol", "tiny", "--strict") == 0
    assert "Tiny, 32 of 32 photos" in " ".join(capsys.readouterr().out.split())
    (folder / "photos" / "7f" / "val_3.jpg").write_bytes(b"no photo")
    assert on_folder(tmp_path / "b", "--protocol", "tiny", "--strict") == 2
    assert "1 photos are missing or unreadable (" in capsys.readouterr().err
    assert not (tmp_path / "b" / "report.json").exists()


def test_authors_scenes_and_areas_of_a_table(folder, on_folder, tmp_path):
    table = pd.read_csv(folder / "t.csv")
    table["AUTHOR"] = [f"a{i % 4}" for i in range(32)]
    table["S3_Label"] = [i % 3 for i in range(32)]
    table["unique_city"] = "Lima"
    table.to_csv(folder / "t.csv", index=False)
    table[table.AUTHOR == "a1"].to_csv(folder / "train.csv", index=False)
    assert on_folder(tmp_path, "--train_csv", folder / "train.csv") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    rows = report["groups"]["authors not in training"]
    assert {row["photos"] for row in rows.values()} == {24}
    assert {name: row["photos"] for name, row in report["groups"]["scene"].items()} == {
        "indoor": 11,
        "natural": 11,
        "urban": 10,
    }
    assert report["areas"]["city"]["names lent by"] == "training"


def test_keys_of_shards_are_written_as_image_ids(bundle, hierarchical, tmp_path):
    index = Index.open(bundle / "synthetic" / "val")
    with ShardWriter(tmp_path / "shards") as writer:
        for i in range(3):
            sample = index.read(i)
            writer.write(safe_key(f"7f/{i}.jpg"), sample.jpg, sample.json, sample.seg_png)
    flags = f"--model {bundle} --shards {tmp_path}/shards --out {tmp_path}/out --workers 0"
    assert testing.main([*flags.split(), "--device", "cpu"]) == 0
    assert hierarchical(tmp_path / "out")["img_id"].tolist() == [f"7f/{i}.jpg" for i in range(3)]


def test_crops_local_mean_and_posteriors(tested, on_folder, hierarchical, tmp_path, monkeypatch):
    def somewhere(posterior, lat, lon):
        return Positions(np.full(len(posterior), 1.0), np.full(len(posterior), 2.0))

    monkeypatch.setattr("models.evaluation.accuracy.local_means", somewhere)
    more = ("--crops", 5, "--decode", "local", "--save_posteriors", "--batch_size", 7)
    assert on_folder(tmp_path, *more) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["crops"], report["decode"], report["photos"]) == (5, "local", 32)
    found, single = hierarchical(tmp_path), hierarchical(tested[0])
    assert (found.probability - single.probability).abs().max() > 1e-5  # it is hardly trained
    assert (found.pred_lat == 1).all()
    with np.load(tmp_path / "posteriors.npz", allow_pickle=False) as saved:
        np.testing.assert_allclose(saved["posterior"].sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(saved["posterior"].max(axis=1), found.probability, rtol=1e-5)


def positions(shards):
    index = Index.open(shards)
    return {index.key(i): (index.lat[i], index.lon[i]) for i in range(len(index))}


def test_comparing_two_tests_and_two_models(tested, bundle, tmp_path, capsys):
    out, _ = tested
    field = pd.read_csv(out / "predictions.csv").iloc[:, :5]
    field.to_csv(tmp_path / "b.csv", index=False)
    truth = positions(bundle / "synthetic" / "val")
    rows = [(key, *place) for key, place in truth.items()]
    pd.DataFrame(rows, columns=["IMG_ID", "LAT", "LON"]).to_csv(tmp_path / "t.csv", index=False)
    flags = f"--compare {out} {tmp_path}/b.csv --csv {tmp_path}/t.csv --out {tmp_path}/c"
    assert testing.main(flags.split()) == 0
    assert "McNemar p" in capsys.readouterr().out
    found = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert list(found["rows"]) == ["coarse", "middle", "fine", "hierarchy"]
    assert found["rows"]["hierarchy"]["median_difference_km"] == pytest.approx(0)
    flags = f"--compare {bundle} {bundle} --shards {bundle}/synthetic/val --out {tmp_path}/d"
    assert testing.main([*flags.split(), "--workers", "0", "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "d" / "comparison.json").read_text())
    assert found["photos"] == 32
    assert all(d["p"] == 1 for d in found["rows"]["fine"]["within_km"].values())
    assert (tmp_path / "d" / "a" / "report.json").exists()


def test_maps_for_a_model_of_photos_alone_are_refused_aloud(tmp_path, capsys):
    from models.predict import open_photos

    shape = {"inputs": "rgb", "num_cells": {}, "img_size": 32}
    photos_only = Bundle(tmp_path, {"architecture": shape}, None, None)
    with pytest.raises(ValueError, match="give a folder"):
        open_photos(photos_only, None, None, tmp_path / "seg", None, tmp_path)
    assert "is not used" in capsys.readouterr().err


def test_a_wrong_path_does_not_wait_for_torch(tmp_path):
    code = (
        "import sys, test_vit\n"
        f"assert test_vit.main(['--model', {str(tmp_path)!r}, '--shards', 'x']) == 2\n"
        "assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no model bundle" in done.stderr
