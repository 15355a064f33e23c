"""Training stopped and resumed."""

import pandas as pd
import torch
from pytorch_lightning import Callback
from safetensors.torch import load_file

import train_vit as training

OTHER_SETTINGS = (
    ("--batch_size 8", "batch_size 16 (now 8)"),
    ("--lr 0.1", "lr 0.0003 (now 0.1)"),
    ("--inputs rgb", "inputs 'both' (now 'rgb')"),
    ("--img_size 40", "img_size 32 (now 40)"),
    ("--t_fine 2 5", "t_fine (2, 10) (now (2, 5))"),
)


class Stop(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            raise OSError("pulled the plug")


def test_resuming_repeats_the_run_bit_for_bit(train, monkeypatch):
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

    for other, message in OTHER_SETTINGS:
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
