"""Training stopped and resumed."""

import pandas as pd
import torch
from safetensors.torch import load_file

import models.training.checkpoint_keeper
from models.training.checkpoint import checkpoints_in

OTHER_SETTINGS = (
    ("--batch_size 8", "batch_size 16 (now 8)"),
    ("--lr 0.1", "lr 0.0003 (now 0.1)"),
    ("--inputs rgb", "inputs 'both' (now 'rgb')"),
    ("--img_size 40", "img_size 32 (now 40)"),
    ("--t_fine 2 5", "t_fine (2, 10) (now (2, 5))"),
)


def test_resuming_repeats_the_run_bit_for_bit(train, monkeypatch):
    # dropout, so that the network's own random numbers matter too
    flags = "--epochs 3 --backbone_args patch_size=8,embed_dim=24,depth=2,num_heads=2,drop_rate=0.3"
    flags += ",drop_path_rate=0.2,proj_drop_rate=0.2"
    assert train("whole", flags)[0] == 0

    def stop(keeper, trainer, module):
        if trainer.current_epoch == 2:
            raise OSError("pulled the plug")

    keeper = models.training.checkpoint_keeper.CheckpointKeeper
    monkeypatch.setattr(keeper, "on_train_epoch_start", stop)
    code, out, error = train("halves", flags)
    assert (code, "pulled the plug" in error) == (2, True)
    first_half = (out / "csv" / "metrics.csv").read_text()
    assert not (out / "config.json").exists()
    monkeypatch.undo()
    monkeypatch.setattr("models.export.export_onnx", lambda model, path: path.write_bytes(b""))

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


def test_a_damaged_checkpoint_falls_back_to_the_one_before(train):
    """Epoch 3 is trained again from the end of epoch 2: the same file, byte for byte."""
    code, out, _ = train("damaged", "--epochs 3 --inputs rgb")
    assert code == 0
    newest, older = checkpoints_in(out / "checkpoints")
    whole = torch.load(newest, weights_only=True)
    newest.write_bytes(newest.read_bytes()[:-9_000])
    code, _, error = train("damaged", "--epochs 3 --inputs rgb --resume")
    assert (code, newest.name in error, "trying the one before it" in error) == (0, True, True)
    again = torch.load(newest, weights_only=True)
    for name, weights in whole["state_dict"].items():
        assert torch.equal(weights, again["state_dict"][name]), name
    for path in (newest, older):
        path.write_bytes(b"PK half a checkpoint")
    code, _, error = train("damaged", "--epochs 3 --inputs rgb --resume")
    assert (code, "none of the 2 checkpoints" in error) == (2, True)


def test_nothing_to_resume(train):
    code, out, error = train("new", "--resume")
    assert (code, "no checkpoint" in error, "leave out --resume" in error) == (2, True, True)
    assert not out.exists()
