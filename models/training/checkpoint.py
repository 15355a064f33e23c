"""Checkpoints that survive a crash: written beside their final name, flushed, then renamed.

Lightning's own writer puts its temporary file where the system keeps such files, possibly another
filesystem, so that a kill or a full disk can leave half a checkpoint under the final name; and it
swallows a PermissionError. Here the old checkpoint stays whole until the new one is on disk, the
last two are kept, and one that was damaged later is found by its checksums and passed over.
"""

import sys
import zipfile
from pathlib import Path
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from partitioning.atomic_file import atomic_path

KEPT = 2


class AtomicCheckpointIO(TorchCheckpointIO):
    """Save checkpoints atomically; read them without running code they might carry."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            OSError: the disk is full or may not be written to; what was at `path` is still whole.
        """
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"cannot write checkpoint {path} ({_first_cause(error)}): the ones before it are "
                "whole; make room there and go on with --resume"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint whose checksums hold.

        Raises:
            ValueError: it is not there or not readable.
        """
        try:
            verify(Path(path))
            return torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:  # torch raises half a dozen kinds for a damaged file
            raise ValueError(
                f"cannot read checkpoint {path} ({error}): remove it to go on from the one before "
                "it, or start a new run"
            ) from error


def _first_cause(error: BaseException) -> BaseException:
    """What a failed `torch.save` failed of: closing its archive then fails too, and is louder."""
    while isinstance(error.__context__, (OSError, RuntimeError)):
        error = error.__context__
    return error


def verify(path: Path) -> None:
    """Read a checkpoint through and compare its checksums: torch files are zip archives.

    Raises:
        ValueError: it is damaged.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if damaged:
        raise ValueError(f"{path} is damaged: the checksum of {damaged} does not hold")


def step_path(directory: Path, step: int) -> Path:
    """Where the checkpoint after so many optimiser steps lies."""
    return directory / f"step{step:09d}.ckpt"


def checkpoints_in(directory: Path) -> list[Path]:
    """The checkpoints to resume from, the newest first."""
    return sorted(directory.glob("step*.ckpt"), reverse=True)


def newest_readable(directory: Path) -> Path | None:
    """The newest checkpoint that is whole, None where there is none at all.

    Damaged ones are named on stderr and passed over.

    Raises:
        ValueError: there are some and all are damaged.
    """
    found = checkpoints_in(directory)
    for path in found:
        try:
            verify(path)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"warning: {error}; trying the one before it\n")
        else:
            return path
    if found:
        raise ValueError(
            f"none of the {len(found)} checkpoints in {directory} can be read: start a new run"
        )
    return None


def prune(directory: Path) -> None:
    """Remove all but the newest checkpoints."""
    for path in checkpoints_in(directory)[KEPT:]:
        path.unlink(missing_ok=True)
