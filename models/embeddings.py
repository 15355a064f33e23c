"""Encode every photo once with a frozen encoder, and train heads on what it said.

Encoding is all the work of a frozen backbone, and without augmentation it says the same in every
epoch. The summaries go to disk in parts, half precision, each part whole or not at all, so that a
stopped run goes on where it was; a directory is named after all that they depend on.
"""

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from data.sampler import Pick
from data.stream import LEVELS, PhotoStream
from models.backbones import Features
from models.encoders import Encoder
from models.geocell_vit import GeocellViT
from models.training.photo_module import PhotoModule
from partitioning.atomic_file import atomic_path

PART = 8192  # photos in a file


class StoredEncoder(Encoder):
    """Stands in for an encoder whose summaries `(B, width)` come in place of the photos."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.width, self.patch_width = encoder.width, encoder.patch_width
        self.needs_map = encoder.needs_map

    def forward(self, rgb: Tensor, seg: Tensor, has_seg: Tensor) -> Features:
        """Hand on the summaries; patches were not stored and are zeros."""
        return Features(rgb, rgb.new_zeros(len(rgb), 1, self.patch_width))


class EmbeddedStream(PhotoStream):
    """The samples of a stream with their summary float32 `(width,)` in the place of rgb.

    Args:
        stream: the photos.
        summaries: float16 `(N, width)`, NaN where a photo could not be decoded.
    """

    def __init__(self, stream: PhotoStream, summaries: NDArray[np.float16]) -> None:
        self.__dict__.update(vars(stream))
        self.summaries = summaries

    def __getitem__(self, pick: Pick | int) -> dict[str, Any]:
        sample = pick if isinstance(pick, int) else pick.sample
        row = int(self.rows[sample])
        summary = torch.from_numpy(self.summaries[sample].astype(np.float32))
        valid = bool(torch.isfinite(summary).all())
        return {
            "rgb": torch.nan_to_num(summary),
            "seg": torch.zeros(0, dtype=torch.uint8),
            "has_seg": self.use_seg and bool(self.index.has_seg[row]),
            "cells": torch.tensor(self.cells[sample]) if valid else torch.full((LEVELS,), -1),
            "scene": int(self.scene[sample]) if valid else -1,
            "lat": float(self.lat[sample]),
            "lon": float(self.lon[sample]),
            "key": self.index.key(row),
            "index": row,
            "valid": valid,
            "error": "" if valid else f"{self.index.key(row)} could not be decoded",
        }


def embed(
    encoder: Encoder,
    stream: PhotoStream,
    directory: Path,
    device: torch.device,
    batch_size: int = 64,
    workers: int = 0,
) -> EmbeddedStream:
    """Encode all photos of a stream into `directory`; parts that are there are kept.

    Args:
        encoder: frozen; it is moved to `device`.
        stream: with a transform that draws nothing.
        directory: of the parts; made where it is missing.
        device: where to encode, in bfloat16 on a GPU.
        batch_size: photos encoded at a time.
        workers: processes that load.

    Raises:
        OSError: the disk is full.
    """
    encoder = encoder.to(device).eval()
    parts = []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"encode {directory.parent.name} photos", total=len(stream))
        for start in range(0, len(stream), PART):
            samples = range(start, min(start + PART, len(stream)))
            path = directory / f"part-{start // PART:06d}.safetensors"
            if not path.is_file():
                loader = DataLoader(Subset(stream, samples), batch_size, num_workers=workers)
                batches = [_summaries(encoder, batch, device) for batch in loader]
                with atomic_path(path) as temporary:
                    save_file({"summary": torch.cat(batches)}, temporary)
            parts.append(load_file(path)["summary"].numpy())
            progress.advance(task, len(samples))
    return EmbeddedStream(stream, np.concatenate(parts))


@torch.inference_mode()
def _summaries(encoder: Encoder, batch: dict[str, Any], device: torch.device) -> Tensor:
    """Float16 `(B, width)`; NaN where a photo is not valid."""
    inputs = (batch[name].to(device) for name in ("rgb", "seg", "has_seg"))
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        summary = encoder(*inputs).summary.float()
    return summary.cpu().masked_fill(~batch["valid"][:, None], torch.nan).half().contiguous()


def fingerprint(encoder: Encoder, stream: PhotoStream, img_size: int) -> str:
    """Twelve hex digits of all that the summaries depend on: weights, photos, size."""
    digest = hashlib.sha256(f"{img_size} {stream.use_seg} {len(stream)}".encode())
    for name, tensor in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    digest.update((stream.index.directory / "manifest.parquet").read_bytes())
    digest.update(np.ascontiguousarray(stream.rows).tobytes())
    return digest.hexdigest()[:12]


def embed_once(
    model: GeocellViT, photos: PhotoModule, directory: Path, device: torch.device
) -> Encoder:
    """Encode the photos of a run; have `photos` and `model` go on with the summaries.

    Args:
        model: its encoder is taken out, and something put in its place that hands summaries on.
        photos: set up; what it loads from now on are summaries, of photos without augmentation.
        directory: below it the summaries are kept.
        device: where to encode.

    Returns:
        The encoder, to be put back when the heads are trained.
    """
    encoder = model.encoder
    for split in ("train", "val"):
        stream = copy.copy(getattr(photos, f"{split}_stream"))
        stream.transform = photos.val_transform
        folder = directory / split / fingerprint(encoder, stream, photos.val_transform.size)
        embedded = embed(encoder, stream, folder, device, photos.batch_size, photos.workers)
        setattr(photos, f"{split}_stream", embedded)
    model.encoder = StoredEncoder(encoder)
    return encoder.cpu()
