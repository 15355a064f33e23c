"""Run a bundle over many photos, from a folder or from shards, with progress."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from data.folder_photos import FolderPhotos
from data.index import Index
from data.stream import PhotoStream
from data.transforms import EvalTransform
from models.bundle import Bundle
from models.export import load_model


class Photos(NamedTuple):
    """Attributes: items, the data set; refused, unusable rows of its table."""

    items: Dataset[dict[str, Any]]
    refused: int


class Predictions(NamedTuple):
    """What the model says of N photos.

    Attributes:
        keys: their ids.
        logits: level -> `(N, C)`.
        scene: logits `(N, scenes)`.
        descriptors: `(N, D)`, of length 1.
        lat: true latitudes `(N,)`, degrees.
        lon: true longitudes `(N,)`, degrees.
        unreadable: the photos left out, and why.
    """

    keys: list[str]
    logits: dict[str, NDArray[np.float32]]
    scene: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    unreadable: list[str]


def open_photos(
    bundle: Bundle,
    images: Path | None,
    csv: Path | None,
    seg: Path | None,
    shards: Path | None,
    results: Path,
) -> Photos:
    """Open shards, or a folder with its table; rows it refuses go to `results`/refused.csv.

    Raises:
        ValueError: there is nothing to predict.
    """
    if shards is not None:
        use_seg = bundle.config["architecture"]["inputs"] != "rgb"
        stream = PhotoStream(
            Index.open(shards), None, EvalTransform(bundle.img_size), use_seg=use_seg
        )
        return Photos(stream, 0)
    if images is None or csv is None:
        raise ValueError("give a folder of photos and their table, or shards")
    folder = FolderPhotos(images, csv, bundle.img_size, seg)
    if folder.refused:
        folder.table.write_refused(results / "refused.csv")
    return Photos(folder, folder.refused)


@torch.inference_mode()
def predict(
    bundle: Bundle, photos: Photos, batch_size: int = 64, workers: int = 2, device: str = "auto"
) -> Predictions:
    """Predict all photos that can be read, in the order of the data set.

    Raises:
        ValueError: none can be read, or there is no GPU where one is asked for.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: no GPU is visible; use --device cpu or auto")
    where = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    model = load_model(bundle).to(where)
    loader = DataLoader(photos.items, batch_size=batch_size, num_workers=workers)
    columns: dict[str, list] = {name: [] for name in ("keys", "lat", "lon", "unreadable")}
    outputs: list[list[np.ndarray]] = []
    for batch in track(loader, description="predict"):
        valid = batch["valid"]
        if model.encoder.needs_map:
            valid = valid & batch["has_seg"]
        columns["unreadable"] += [
            error or f"{key}: no segmentation map"
            for key, error, usable in zip(batch["key"], batch["error"], valid, strict=True)
            if not usable
        ]
        if not valid.any():
            continue
        prediction = model(*(batch[name][valid].to(where) for name in ("rgb", "seg", "has_seg")))
        heads = [*prediction.cells.values(), prediction.scene, prediction.descriptor]
        outputs.append([head.float().cpu().numpy() for head in heads])
        columns["keys"] += [k for k, usable in zip(batch["key"], valid, strict=True) if usable]
        columns["lat"] += batch["lat"][valid].tolist()
        columns["lon"] += batch["lon"][valid].tolist()
    if not outputs:
        listed = "; ".join(columns["unreadable"][:3])
        raise ValueError(f"none of the photos can be used: {listed}")
    *levels, scene, descriptors = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
    return Predictions(
        columns["keys"],
        dict(zip(bundle.levels, levels, strict=True)),
        scene,
        descriptors,
        np.array(columns["lat"]),
        np.array(columns["lon"]),
        columns["unreadable"],
    )
