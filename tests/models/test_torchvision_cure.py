"""torchvision, timm and Lightning import beside a CPU torch."""

import builtins
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import models.torchvision_cure as torchvision_cure

ROOT = Path(torchvision_cure.__file__).parent.parent


def test_torchvision_imports_after_it_in_a_new_process():
    program = (
        "import models.torchvision_cure as cure\n"
        "import torch, torchvision, timm\n"
        "from torchvision.transforms import v2\n"
        "cure.cure()\n"
        "torch.ops.torchvision.nms\n"
        "assert torchvision.ops.nms"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_time_changes_nothing():
    import torchvision

    before = torch.ops.torchvision.nms, torchvision_cure._library
    torchvision_cure.cure()
    assert (torch.ops.torchvision.nms, torchvision_cure._library) == before
    assert sys.modules["torchvision"] is torchvision


def test_another_failure_is_not_hidden(monkeypatch):
    real = builtins.__import__

    def broken(name, *more):
        if name == "torchvision":
            raise RuntimeError("another reason")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(RuntimeError, match="another reason"):
        torchvision_cure.cure()
