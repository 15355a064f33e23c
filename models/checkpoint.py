"""Checkpoints that survive a crash: written beside their final name, flushed, then renamed.

Lightning's own writer puts its temporary file where the system keeps such files, possibly another
filesystem, so that a kill or a full disk can leave half a checkpoint under the final name; and it
swallows a PermissionError. Here the old checkpoint stays whole until the new one is on disk.
"""

from pathlib import Path
from typing import Any

import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from partitioning.atomic_file import atomic_path


class AtomicCheckpointIO(TorchCheckpointIO):
    """Save checkpoints atomically; read them without running code they might carry."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            OSError: the disk is full or may not be written to; what was at `path` is still whole.
        """
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            ValueError: it is not there or not readable.
        """
        try:
            return torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:  # torch raises half a dozen kinds for a damaged file
            raise ValueError(
                f"cannot read checkpoint {path} ({error}): put another one of its folder in its "
                "place, or start a new run"
            ) from error
