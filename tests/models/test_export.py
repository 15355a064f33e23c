"""What the export refuses; that ONNX and torch agree is tested in test_bundle.py."""

import hashlib
import json
import sys

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import save_file

import models.export as export
from models.bundles.bundle import Bundle
from models.evaluation.author_hashes import author_hashes
from models.evaluation.calibration import Calibration
from models.weights import misfit


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


@pytest.mark.parametrize("change", [{"img_size": 64}, {"width": 3}, {"backbone": "no_such_net"}])
def test_weights_of_another_architecture_are_refused(change, saved):
    bundle = saved[1]
    path = bundle.path / "config.json"
    config = json.loads(path.read_text())
    config["architecture"].update(change)
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not fit"):
        export.load_model(Bundle.open(bundle.path))


def test_weights_of_another_training_are_refused(saved, build):
    """Of the same shapes: without the hash nothing would show it."""
    bundle = saved[1]
    torch.nn.init.ones_(saved[0].scene_head.weight)
    save_file(saved[0].state_dict(), bundle.path / "model.safetensors")
    with pytest.raises(ValueError, match="weights of another training"):
        export.load_model(bundle)


def test_a_misfit_is_counted_and_shown():
    ones = torch.ones
    wanted = {"a": ones(2), "b": ones(3), "c": ones(1)}
    assert misfit(wanted, wanted) == ""
    told = misfit(wanted, {"a": ones(2), "b": ones(4, 1), "d": ones(1), "e": ones(1)})
    assert "lacks 1 of the model's tensors, such as c" in told
    assert "2 of its tensors are not the model's, such as d" in told
    assert "1 have other shapes, such as b, (4, 1) in the file and (3,) in the model" in told


def test_config_lists_every_file_with_its_hash(build, partition, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "export_onnx", lambda model, path: path.write_bytes(b"onnx"))
    (tmp_path / "authors.npy").write_bytes(b"of the model before")
    authors = ["Ann", "Bob", "", "Ann"]
    origin = {"name": "b", "chosen weights": "best: val/loss 1.2", "settings": {"lr": 1e-3}}
    found = export.save_bundle(build(), partition, Calibration(), tmp_path, origin, authors)
    there = {p.name for p in tmp_path.iterdir()}
    assert set(found.config["files"]) == there - {"config.json", "README.md"}
    assert set(found.authors) == set(author_hashes(["Ann", "Bob"]))
    found.verify()
    card = (tmp_path / "README.md").read_text()
    assert "best: val/loss 1.2" in card
    for name, sha256 in found.config["files"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == sha256
        assert f"| {name} | {sha256} |" in card
    again = export.save_bundle(build(), partition, Calibration(), tmp_path, origin)
    assert again.authors is None


def test_the_cards_head_is_what_the_hub_reads(saved):
    card = ModelCard.load(saved[1].path / "README.md")
    assert card.data.library_name == "groundfix"
    assert "pytorch_model_hub_mixin" in card.data.tags


def test_a_second_export_keeps_the_hashes_true(saved, monkeypatch):
    bundle = saved[1]

    def another(model, path):
        path.write_bytes(b"another export")
        return 1e-6

    monkeypatch.setattr(export, "export_onnx", another)
    (bundle.path / "model.onnx").write_bytes(b"altered")
    with pytest.raises(ValueError, match=r"model\.onnx not as"):
        bundle.verify()
    assert export.export_again(bundle) == 1e-6
    Bundle.open(bundle.path).verify()


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [
        {"inputs": "rgb"},
        {"inputs": "seg", "seg_channels": 6},
        {"fusion": "late", "seg_channels": 6},
        {"inputs": "rgb", "backbone": "efficientnet_lite0", "args": {}, "img_size": 64},
        {"inputs": "rgb", "descriptor_dim": 16, "scene_classes": 16},
    ],
    ids=str,
)
def test_onnx_agrees_for_every_kind_of_model(shape, build, tmp_path):
    """`make slow`."""
    assert export.export_onnx(build(**shape), tmp_path / "m.onnx") <= export.PARITY_TOLERANCE


def test_command_line(saved, monkeypatch, capsys):
    bundle = saved[1]
    monkeypatch.setattr(export, "export_again", lambda bundle: 2e-6)
    monkeypatch.setattr(sys, "argv", ["export", str(bundle.path)])
    assert export.main() == 0
    assert "within 2.0e-06 of torch" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["export", str(bundle.path / "none")])
    assert export.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no model bundle in")
    assert error.count("\n") == 1
