"""Describe the photos of a table for a gallery: with a model bundle, or with a place model.

A place model is shown each photo as `python -m retrieval.test` shows it a photo of the database.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.images import ImageError
from data.photos.folder_photos import FolderPhotos
from data.place_sets.photos import PlacePhotos
from models.bundles.bundle import Bundle
from models.places.place_model import PlaceModel
from models.predict import Photos, predict
from retrieval.bars import bar
from retrieval.descriptor_cache import describe
from retrieval.galleries.header import BUNDLE, PLACE
from retrieval.train import engine_of
from retrieval.training.recipe import PlaceRecipe

Model = Bundle | PlaceModel


class Described(NamedTuple):
    """Photos that could be read, and their descriptors.

    Attributes:
        keys: their ids.
        descriptors: float `(N, D)`.
        lat: latitudes `(N,)`, degrees.
        lon: longitudes `(N,)`, degrees.
        unreadable: the photos left out, and why.
    """

    keys: list[str]
    descriptors: NDArray[np.floating]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    unreadable: list[str]


class Maker(NamedTuple):
    """What a gallery remembers of the model that described it: hash of its weights, and kind."""

    sha256: str
    kind: str


def maker_of(model: Model) -> Maker:
    """The maker's marks of a model."""
    if isinstance(model, Bundle):
        return Maker(model.model_sha256, BUNDLE)
    return Maker(model.sha256, PLACE)


def image_size_of(model: Model) -> int:
    """Side of the model's input, px; of a rectangle the longer one."""
    return model.img_size if isinstance(model, Bundle) else max(model.size)


def describe_photos(
    model: Model, photos: FolderPhotos, batch_size: int, workers: int, device: str
) -> Described:
    """Describe all photos that can be read, in the order of their table.

    Raises:
        ValueError: none can be read, or there is no GPU where one is asked for.
    """
    if isinstance(model, PlaceModel):
        return _by_place_model(model, photos, batch_size, workers, device)
    found = predict(model, Photos(photos, photos.refused), batch_size, workers, device)
    return Described(found.keys, found.descriptors, found.lat, found.lon, found.unreadable)


def _by_place_model(
    model: PlaceModel, photos: FolderPhotos, batch_size: int, workers: int, device: str
) -> Described:
    # In full precision on a GPU too: a query is described in full precision.
    engine = engine_of(
        PlaceRecipe(device=device, precision="32-true", infer_batch=batch_size, workers=workers)
    )
    rows, paths, missing = _files(photos)
    shown = PlacePhotos(paths, model.size)
    # Half precision, as the gallery keeps them: those of NetVLAD are long.
    found = np.empty((len(paths), 1, model.embedder.dim), np.float16)
    embedder = model.embedder.to(engine.device)
    with bar("describing photos", len(paths)) as on_done:
        describe(embedder, shown, None, engine, found, _unit, on_done)
    unreadable = [*missing, *(f"{path}: {why}" for path, why in shown.refused.items())]
    is_read = np.array([shown.is_readable(row) for row in range(len(paths))])
    if not is_read.any():
        raise ValueError(f"none of the photos can be used: {'; '.join(unreadable[:3])}")
    kept = rows[is_read]
    descriptors = found[:, 0] if is_read.all() else found[is_read, 0]
    keys = [photos.keys[row] for row in kept]
    return Described(keys, descriptors, photos.lat[kept], photos.lon[kept], unreadable)


def _files(photos: FolderPhotos) -> tuple[NDArray[np.int64], list[Path], list[str]]:
    """Rows of the table whose photo is there, their files, and what is missing."""
    rows, paths, missing = [], [], []
    for row, key in enumerate(photos.keys):
        try:
            paths.append(photos.path_of(key))
            rows.append(row)
        except ImageError as error:
            missing.append(str(error))
    return np.array(rows, np.int64), paths, missing


def _unit(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows at length 1: a model's own may be longer than half precision reaches."""
    with np.errstate(invalid="ignore"):  # the gallery refuses what has no direction, and names it
        return descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
