"""Checkpoints: whole or not at all, the last two kept, damage found and passed over."""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from models.training.checkpoint import (
    AtomicCheckpointIO,
    checkpoints_in,
    newest_readable,
    prune,
    step_path,
    verify,
)

WEIGHTS = 20_000


def save(directory, step):
    path = step_path(directory, step)
    AtomicCheckpointIO().save_checkpoint({"step": step, "w": torch.full((WEIGHTS,), step)}, path)
    return path


def test_round_trip(tmp_path):
    path = tmp_path / "deep" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 3, "weights": torch.ones(2)}, path)
    read = AtomicCheckpointIO().load_checkpoint(path)
    assert read["step"] == 3
    assert torch.equal(read["weights"], torch.ones(2))
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_the_file_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """The order of the system's calls: sync the temporary, rename it, sync the directory."""
    calls = []
    sync, rename = os.fsync, type(tmp_path).replace

    def synced(descriptor):
        calls.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        sync(descriptor)

    def renamed(path, target):
        calls.append(("rename", str(path)))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(type(tmp_path), "replace", renamed)
    path = save(tmp_path, 1)
    temporary = next(name for what, name in calls if what == "rename")
    assert calls == [("sync", temporary), ("rename", temporary), ("sync", str(tmp_path))]
    assert Path(temporary).parent == path.parent  # the same filesystem


def test_the_last_two_are_kept_and_the_newest_is_taken(tmp_path):
    for step in (5, 900, 1000, 20_000):  # by number, not by spelling
        save(tmp_path, step)
        prune(tmp_path)
        assert AtomicCheckpointIO().load_checkpoint(newest_readable(tmp_path))["step"] == step
    assert [p.name for p in checkpoints_in(tmp_path)] == [
        "step000020000.ckpt",
        "step000001000.ckpt",
    ]
    assert newest_readable(tmp_path / "elsewhere") is None


class FullDisk:
    """A file on a disk with so many bytes left."""

    def __init__(self, file, left):
        self.file, self.left = file, left

    def write(self, data):
        size = memoryview(data).nbytes
        if size > self.left:
            self.file.write(memoryview(data).cast("B")[: self.left])
            raise OSError(28, "No space left on device")
        self.left -= size
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("left", [0, 1, 700, 5_000, 80_000])
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch, left):
    old = save(tmp_path, 1)
    before, write = old.read_bytes(), torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: write(state, FullDisk(file, left)))
    for step in (1, 2):
        with pytest.raises(OSError, match=r"step.*No space left.*go on with --resume") as caught:
            save(tmp_path, step)
        assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [old.name]
    assert old.read_bytes() == before


def test_a_limit_of_the_system_leaves_the_old_checkpoint(tmp_path):
    """The same with a real write that the kernel refuses, in a process of its own."""
    old = save(tmp_path, 1)

    def limited(connection):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            save(tmp_path, 2)
        except OSError as error:
            connection.send(str(error))
        connection.close()

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=limited, args=(theirs,))
    process.start()
    process.join(30)
    assert ours.poll(1)
    assert "File too large" in ours.recv()
    assert [p.name for p in tmp_path.iterdir()] == [old.name]
    assert AtomicCheckpointIO().load_checkpoint(old)["step"] == 1


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04half"])
def test_an_unreadable_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(path)


def test_a_damaged_byte_of_the_state_is_found(tmp_path):
    """Wherever it is: either the checksums tell, or what is read is what was written."""
    path = save(tmp_path, 7)
    good, places = path.read_bytes(), random.Random(0)
    found = 0
    for _ in range(60):
        place = places.randrange(len(good))
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        try:
            state = AtomicCheckpointIO().load_checkpoint(path)
        except ValueError:
            found += 1
        else:
            assert torch.equal(state["w"], torch.full((WEIGHTS,), 7))
            assert state["step"] == 7
    assert found > 50  # the state is nearly all of the file


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_passed_over_aloud(tmp_path, capsys, damage):
    older, newer = save(tmp_path, 1), save(tmp_path, 2)
    content = newer.read_bytes()
    middle = len(content) // 2
    newer.write_bytes(
        {
            "truncated": content[:middle],
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "empty": b"",
        }[damage]
    )
    assert newest_readable(tmp_path) == older
    assert newer.name in capsys.readouterr().err
    shutil.copy(newer, older)
    with pytest.raises(ValueError, match=r"none of the 2 checkpoints .* start a new run"):
        newest_readable(tmp_path)


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "bomb.ckpt"
    torch.save({"bomb": Bomb()}, path)
    with pytest.raises(ValueError, match=r"bomb\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def save_for_ever(directory, first):
    for step in range(first, first + 10_000):
        save(directory, step)
        prune(directory)


def kill_while_saving(directory, kills):
    """Kill a process that saves all the time, again and again; return the newest step at last."""
    newest, moments = 0, random.Random()
    for _ in range(kills):
        context = multiprocessing.get_context("fork")
        process = context.Process(target=save_for_ever, args=(directory, newest + 1))
        process.start()
        time.sleep(moments.uniform(0.01, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        for path in checkpoints_in(directory):
            verify(path)
            state = AtomicCheckpointIO().load_checkpoint(path)
            assert path == step_path(directory, state["step"])
            assert torch.equal(state["w"], torch.full((WEIGHTS,), state["step"]))
        if checkpoints_in(directory):
            step = int(newest_readable(directory).stem.removeprefix("step"))
            assert step >= newest
            newest = step
    prune(directory)
    assert len(checkpoints_in(directory)) == 2
    return newest


def test_kills_leave_no_unreadable_state(tmp_path):
    assert kill_while_saving(tmp_path, 15) > 0


@pytest.mark.slow
def test_a_hundred_kills_leave_no_unreadable_state(tmp_path):
    """Run by `make slow`."""
    assert kill_while_saving(tmp_path, 100) > 0
