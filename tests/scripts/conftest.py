"""Runs of the two scripts on synthetic shards."""

import contextlib
import io
import json
import multiprocessing
import os
import signal
import socket
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # an unreachable hub answers at once

import pandas as pd
import pytest
import torch

import models.export
import test_vit as testing  # under its own name, pytest would take it for a test
import train_vit as training
from data.index import Index
from data.synthetic import write_synthetic_shards
from models.training.geocell_task import GeocellTask

ROOT = Path(training.__file__).parent
THRESHOLDS = "--t_coarse 2 40 --t_middle 2 20 --t_fine 2 10"
TINY = (
    "--backbone vit_tiny_patch16_224 --no-pretrained --img_size 32 --batch_size 16 --workers 0 "
    "--backbone_args patch_size=8,embed_dim=24,depth=2,num_heads=2 --device cpu " + THRESHOLDS
)
IS_SEEN_BY_DEFAULT = (UserWarning, FutureWarning, RuntimeWarning)


@pytest.fixture(scope="session")
def fast_run(made_once):
    """The bundle of a --fast run and the warnings it gave."""

    def make(folder):
        with warnings.catch_warnings(record=True) as noise:
            warnings.simplefilter("always")
            assert training.main(["--fast", "--out", str(folder / "bundle")]) == 0
        seen = [str(w.message) for w in noise if issubclass(w.category, IS_SEEN_BY_DEFAULT)]
        (folder / "warnings.json").write_text(json.dumps(seen))

    folder = made_once("fast", make)
    return folder / "bundle", json.loads((folder / "warnings.json").read_text())


@pytest.fixture(scope="session")
def bundle(fast_run):
    return fast_run[0]


@pytest.fixture(scope="session")
def tested(bundle, made_once):
    """Where test_vit wrote its results on the validation shards, and what it printed."""

    def make(folder):
        flags = ["--model", bundle, "--out", folder / "out"]
        flags += ["--shards", bundle / "synthetic" / "val", "--workers", "0", "--device", "cpu"]
        printed, complaints = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaints):
            assert testing.main([str(flag) for flag in flags]) == 0
        assert complaints.getvalue() == ""
        (folder / "printed").write_text(printed.getvalue())

    folder = made_once("tested", make)
    return folder / "out", (folder / "printed").read_text()


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


def one_process(data, out, flags, kill_at, environment):
    """What runs in a child: train, and kill itself before batch `kill_at` of all."""
    os.environ.update(environment)
    sys.stdout = sys.stderr = (out.parent / f"{out.name}.log").open("a")
    torch.set_num_threads(1)
    models.export.export_onnx = lambda model, path: path.write_bytes(b"")
    start = GeocellTask.on_train_batch_start

    def counted(task, batch, batch_idx):
        step = task.trainer.num_training_batches * task.current_epoch + batch_idx
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return start(task, batch, batch_idx)

    GeocellTask.on_train_batch_start = counted
    sys.exit(training.main(f"--data {data} --out {out} {flags}".split()))


@pytest.fixture(scope="session")
def run():
    """`run(data, out, flags)`: train in forked processes, which need not import anything.

    One process for each of `environments`; the first kills itself before batch `kill_at`. When one
    is killed the rest are killed, and all of them after `limit_s`. Returns their exit codes.
    """
    if torch.cuda.is_available():
        pytest.skip("CUDA does not survive a fork; this is tested on the CPU")
    context = multiprocessing.get_context("fork")

    def start(data, out, flags, kill_at=-1, environments=({},), limit_s=100):
        processes = [
            context.Process(target=one_process, args=(data, out, flags, place, environment))
            for place, environment in zip(
                [kill_at, *[-1] * (len(environments) - 1)], environments, strict=True
            )
        ]
        for process in processes:
            process.start()
        deadline = time.monotonic() + limit_s
        while any(p.is_alive() for p in processes):
            time.sleep(0.01)
            if any(p.exitcode for p in processes) or time.monotonic() > deadline:
                for process in processes:
                    process.kill()
        for process in processes:
            process.join()
        return [p.exitcode for p in processes]

    return start


@pytest.fixture(scope="session")
def two_ranks():
    """`two_ranks(restarts=0)`: what torchrun puts into the environments of two processes."""

    def environments(restarts=0):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
        shared |= {"LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
        shared |= {"TORCHELASTIC_RESTART_COUNT": str(restarts), "OMP_NUM_THREADS": "1"}
        return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]

    return environments


@pytest.fixture
def no_pictures(tested, monkeypatch):
    """Draw for `tested` alone: three pictures take longer than all the rest of a small test."""
    for name in ("error_plots.draw_errors", "error_plots.draw_world", "photo_panel.draw_panel"):
        monkeypatch.setattr(f"models.evaluation.{name}", lambda *_: None)


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


@pytest.fixture
def on_folder(bundle, folder):
    """`on_folder(out, "--flag", ...)` tests the bundle on the folder; its exit code."""

    def run(out, *more):
        flags = ["--model", bundle, "--images", folder / "photos", "--csv", folder / "t.csv"]
        flags += ["--seg", folder / "seg", "--out", out, "--workers", "0", "--device", "cpu", *more]
        return testing.main([str(flag) for flag in flags])

    return run


@pytest.fixture
def hierarchical():
    """`hierarchical(directory)` -> the hierarchical answers of its predictions.csv."""

    def read(directory):
        table = pd.read_csv(directory / "predictions.csv", dtype={"img_id": str})
        return table[table.p_key == "hierarchy"].reset_index(drop=True)

    return read
