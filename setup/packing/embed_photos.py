"""Describe photos with a model bundle while they are packed: a descriptor beside each sample.

embeddings.f16.npy   float16 (N, D), row i of index.parquet; read it with numpy's mmap_mode="r"
embeddings.json      hash and name of the model, N and D
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.bundles.bundle import Bundle
from models.bundles.session import OnnxSession, Session, engine_of, open_session
from partitioning.atomic_file import atomic_path
from setup.packing.packed import Outcome
from setup.packing.part_photos import Photo, reason

VECTORS, FACTS = "embeddings.f16.npy", "embeddings.json"


def with_vectors(photos: Iterator[Photo], model: Path, outcome: Outcome) -> Iterator[Photo]:
    """Give each photo its descriptor; a photo that the model cannot take is refused.

    Args:
        photos: with rgb at full size, and seg where there is a map.
        model: bundle.
        outcome: of the part.

    Raises:
        ValueError, OSError: the model cannot be had.
    """
    session, reads_maps = _open(model)
    for photo in photos:
        try:
            found = session.encode(photo.rgb, photo.seg if reads_maps else None)
        except ValueError as error:
            outcome.refuse(photo.row, reason(error))
        else:
            yield photo._replace(vector=found.descriptor.astype(np.float16))


@cache
def _open(model: Path) -> tuple[Session, bool]:
    """The model, once a process, and whether it reads maps."""
    bundle = Bundle.open(model)
    reads_maps = bundle.config["architecture"]["inputs"] != "rgb"
    if engine_of(model) == "onnx":
        return OnnxSession(bundle, threads=1), reads_maps  # the parts share the cores out
    return open_session(bundle, "torch"), reads_maps


def save_vectors(path: Path, vectors: list[NDArray[np.float16]]) -> None:
    """Write the descriptors of one part, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.stack(vectors) if vectors else np.zeros((0, 0), np.float16))


def join_vectors(paths: list[Path], directory: Path, model: Path) -> None:
    """Join the descriptors of a split's parts, in their order.

    Args:
        paths: as `save_vectors` wrote them.
        directory: of the split.
        model: the bundle that made them.
    """
    parts = [part for path in paths if len(part := np.load(path, mmap_mode="r"))]
    shape = (sum(map(len, parts)), parts[0].shape[1] if parts else 0)
    with atomic_path(directory / VECTORS) as temporary, temporary.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(part.tobytes())
    bundle = Bundle.open(model)
    facts = {
        "model_sha256": bundle.model_sha256,
        "model": bundle.config["origin"].get("name"),
        "rows": shape[0],
        "dimensions": shape[1],
    }
    with atomic_path(directory / FACTS) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")
