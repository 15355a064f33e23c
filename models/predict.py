"""Run a bundle over many photos, from a folder or from shards, with progress."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from data.images import decode_rgb, read_rgb
from data.index import Index
from data.photos.facts import PhotoFacts, facts_of_shards, facts_of_table
from data.photos.folder_photos import FolderPhotos
from data.sample import image_id
from data.stream import PhotoStream
from data.transforms import EvalTransform
from models.bundles.bundle import Bundle
from models.crop_transform import CropTransform
from models.crops import Views, predict_views
from models.export import load_model


class Photos(NamedTuple):
    """Photos to predict.

    Attributes:
        items: the data set.
        refused: unusable rows of its table.
        facts: what is known of them besides.
        read: takes an image id and a least side in px, gives the photo, uint8 `(H, W, 3)`.
        crops: cuts several crops of each, where that is asked for.
        id_of: makes an image id of an item's key, which in shards is percent-encoded.
    """

    items: Dataset[dict[str, Any]]
    refused: int
    facts: PhotoFacts | None = None
    read: Callable[[str, int], NDArray[np.uint8]] | None = None
    crops: CropTransform | None = None
    id_of: Callable[[str], str] = str

    @property
    def num_photos(self) -> int:
        """How many photos there are, readable or not."""
        return len(self.items)  # type: ignore[arg-type]  # torch's Dataset need not have a length


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
    crops: int = 1,
) -> Photos:
    """Open shards, or a folder with its table; rows it refuses go to `results`/refused.csv.

    `crops` is 1, 5 or 10 of each photo (models/crops.py).

    Raises:
        ValueError: there is nothing to predict.
    """
    if seg is not None and bundle.config["architecture"]["inputs"] == "rgb":
        sys.stderr.write(f"warning: --seg {seg} is not used: {bundle.path} takes photos only\n")
        seg = None
    transform = CropTransform(bundle.img_size, crops) if crops != 1 else None
    if shards is not None:
        return _open_shards(bundle, shards, transform)
    if images is None or csv is None:
        raise ValueError("give a folder of photos and their table, or shards")
    folder = FolderPhotos(images, csv, bundle.img_size, seg)
    if folder.refused:
        folder.table.write_refused(results / "refused.csv")
    if transform is not None:
        folder.transform = transform  # type: ignore[assignment]  # the same calls
    facts = facts_of_table(folder.table.photos, folder.keys)

    def read(key: str, min_side_px: int) -> NDArray[np.uint8]:
        return read_rgb(folder.path_of(key), min_side=min_side_px)

    return Photos(folder, folder.refused, facts, read, transform)


def _open_shards(bundle: Bundle, shards: Path, transform: CropTransform | None) -> Photos:
    use_seg = bundle.config["architecture"]["inputs"] != "rgb"
    index = Index.open(shards)
    if not len(index):
        raise ValueError(f"{shards} holds no photo: pack some with `python -m setup.build_shards`")
    whole = transform or EvalTransform(bundle.img_size)
    stream = PhotoStream(index, None, whole, use_seg=use_seg)
    keys = list(map(image_id, index.keys()))
    row_of = {key: row for row, key in enumerate(keys)}

    def read(key: str, min_side_px: int) -> NDArray[np.uint8]:
        return decode_rgb(index.read_images(row_of[key])[0], key, min_side=min_side_px)

    facts = facts_of_shards(index, stream.rows, keys)
    return Photos(stream, 0, facts, read, transform, image_id)


def predict(
    bundle: Bundle, photos: Photos, batch_size: int = 64, workers: int = 2, device: str = "auto"
) -> Predictions:
    """Predict all photos that can be read, in the order of the data set.

    Raises:
        ValueError: none can be read, or there is no GPU where one is asked for.
    """
    unreadable: list[str] = []
    parts = list(predict_batches(bundle, photos, unreadable, batch_size, workers, device))
    scene, descriptors, lat, lon = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("scene", "descriptors", "lat", "lon")
    )
    logits = {name: np.concatenate([part.logits[name] for part in parts]) for name in bundle.levels}
    keys = [key for part in parts for key in part.keys]
    return Predictions(keys, logits, scene, descriptors, lat, lon, unreadable)


@torch.inference_mode()
def predict_batches(
    bundle: Bundle,
    photos: Photos,
    unreadable: list[str],
    batch_size: int = 64,
    workers: int = 2,
    device: str = "auto",
) -> Iterator[Predictions]:
    """Predict batch by batch: the logits of many photos over many cells need not fit in memory.

    Args:
        bundle: the model.
        photos: what to predict.
        unreadable: gets a line for each photo left out, and why.
        batch_size: photos at once.
        workers: processes that load photos.
        device: "auto", "cpu" or "cuda".

    Raises:
        ValueError: as `predict`.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: no GPU is visible; use --device cpu or auto")
    where = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    model = load_model(bundle).to(where)
    is_none = True
    for batch in _loaded(photos, batch_size, workers):
        valid = batch["valid"]
        if model.encoder.needs_map:
            valid = valid & batch["has_seg"]
        unreadable += [
            error or f"{photos.id_of(key)}: no segmentation map"
            for key, error, usable in zip(batch["key"], batch["error"], valid, strict=True)
            if not usable
        ]
        if not valid.any():
            continue
        is_none = False
        rgb, seg, has_seg = (batch[name][valid].to(where) for name in ("rgb", "seg", "has_seg"))
        if photos.crops is None:
            said = model(rgb, seg, has_seg)
        else:
            said = predict_views(model, Views(rgb, seg), has_seg)
        yield Predictions(
            [photos.id_of(k) for k, usable in zip(batch["key"], valid, strict=True) if usable],
            {level: logits.float().cpu().numpy() for level, logits in said.cells.items()},
            said.scene.float().cpu().numpy(),
            said.descriptor.float().cpu().numpy(),
            batch["lat"][valid].numpy(),
            batch["lon"][valid].numpy(),
            [],
        )
    if is_none:
        listed = "; ".join(unreadable[:3])
        raise ValueError(f"none of the photos can be used: {listed}")


def _loaded(photos: Photos, batch_size: int, workers: int) -> Iterator[dict[str, Any]]:
    """Batches of the data set, with progress."""
    console = Console(stderr=True)
    loader = DataLoader(
        photos.items,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=photos.crops.collate if photos.crops is not None else None,
    )
    try:
        yield from track(loader, "predict", console=console, disable=not console.is_terminal)
    except (ValueError, OSError) as error:
        # A worker's error holds its whole traceback; what the user needs is the last line.
        last_line = (str(error).strip() or repr(error)).splitlines()[-1]
        raise ValueError(re.sub(r"^[\w.]*Error: ", "", last_line)) from error
