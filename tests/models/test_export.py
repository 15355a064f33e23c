"""What the export refuses; that ONNX and torch agree is tested in test_bundle.py."""

import json
import sys

import pytest
import torch

import models.export as export
from models.bundle import Bundle
from models.calibration import Calibration


class FakeProgram:
    def save(self, path, external_data):
        path.write_bytes(b"new")


@pytest.fixture
def saved(build, partition, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "export_onnx", lambda model, path: path.write_bytes(b""))
    model = build("both")
    bundle = export.save_bundle(model, partition, Calibration(), tmp_path / "b", {"name": "b"})
    monkeypatch.undo()
    return model, bundle


def test_weights_come_back_as_they_were(saved, photos):
    model, bundle = saved
    loaded = export.load_model(bundle)
    assert not loaded.training
    for name, weights in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weights), name
    assert bundle.model_sha256 == export.sha256_of(bundle.path / "model.safetensors")
    assert Bundle.open(bundle.path).config == bundle.config


@pytest.mark.parametrize("difference", [1.0, float("nan")])
def test_an_export_that_differs_keeps_the_old_file(difference, build, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: FakeProgram())
    monkeypatch.setattr(export, "onnx_difference", lambda *_: difference)
    with pytest.raises(ValueError, match="differs from the torch model by"):
        export.export_onnx(build("both"), path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == b"old"
    monkeypatch.setattr(export, "onnx_difference", lambda *_: 1e-5)
    assert export.export_onnx(build("both"), path) == 1e-5
    assert path.read_bytes() == b"new"


def test_damaged_weights_are_named(saved):
    bundle = saved[1]
    weights = bundle.path / "model.safetensors"
    whole = weights.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\xff" * 100):
        weights.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors does not fit"):
            export.load_model(bundle)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors: copy the bundle"):
        export.load_model(bundle)


@pytest.mark.parametrize("change", [{"img_size": 64}, {"width": 3}, {"num_cells": {"fine": 2}}])
def test_weights_of_another_architecture_are_refused(change, saved):
    bundle = saved[1]
    path = bundle.path / "config.json"
    config = json.loads(path.read_text())
    config["architecture"].update(change)
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not fit"):
        export.load_model(Bundle.open(bundle.path))


def test_command_line(saved, monkeypatch, capsys):
    bundle = saved[1]
    monkeypatch.setattr(export, "export_onnx", lambda model, path: 2e-6)
    monkeypatch.setattr(sys, "argv", ["export", str(bundle.path)])
    assert export.main() == 0
    assert "within 2.0e-06 of torch" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["export", str(bundle.path / "none")])
    assert export.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no model bundle in")
    assert error.count("\n") == 1
