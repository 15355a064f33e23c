"""Checkpoints: whole or not at all."""

import pytest
import torch

from models.checkpoint import AtomicCheckpointIO


def test_round_trip(tmp_path):
    path = tmp_path / "deep" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 3, "weights": torch.ones(2)}, path)
    read = AtomicCheckpointIO().load_checkpoint(path)
    assert read["step"] == 3
    assert torch.equal(read["weights"], torch.ones(2))


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)

    def disk_full(_, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.checkpoint.torch.save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    monkeypatch.undo()
    assert AtomicCheckpointIO().load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04half"])
def test_an_unreadable_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(path)


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "bomb.ckpt"
    torch.save({"bomb": Bomb()}, path)
    with pytest.raises(ValueError, match=r"bomb\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(path)
    assert not (tmp_path / "ran").exists()
