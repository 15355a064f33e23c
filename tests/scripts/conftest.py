"""Runs of the two scripts on synthetic shards."""

import contextlib
import io
import os
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # an unreachable hub answers at once

import pytest

import models.export
import test_vit as testing  # under its own name, pytest would take it for a test
import train_vit as training
from data.synthetic import write_synthetic_shards

ROOT = Path(training.__file__).parent
THRESHOLDS = "--t_coarse 2 40 --t_middle 2 20 --t_fine 2 10"
TINY = (
    "--backbone vit_tiny_patch16_224 --no-pretrained --img_size 32 --batch_size 16 --workers 0 "
    "--backbone_args patch_size=8,embed_dim=24,depth=2,num_heads=2 --device cpu " + THRESHOLDS
)
IS_SEEN_BY_DEFAULT = (UserWarning, FutureWarning, RuntimeWarning)


@pytest.fixture(scope="session")
def fast_run(tmp_path_factory):
    """The bundle of a --fast run and the warnings it gave."""
    out = tmp_path_factory.mktemp("fast")
    with warnings.catch_warnings(record=True) as noise:
        warnings.simplefilter("always")
        assert training.main(["--fast", "--out", str(out)]) == 0
    return out, [w for w in noise if issubclass(w.category, IS_SEEN_BY_DEFAULT)]


@pytest.fixture(scope="session")
def bundle(fast_run):
    return fast_run[0]


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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
