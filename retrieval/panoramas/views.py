"""Descriptors of what can be seen from panoramas: tiles of every kind and width, and queries.

A query is a picture as a phone takes it, undistorted, at a yaw of its own. Tiles are undistorted,
cut out of the panorama at the same angles without undistortion ("plain"), or cut out of the
thesis's useful band ("band", 55 degrees high whatever its width).
"""

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from data.panorama import even_yaws_deg, undistort_batch, vertical_fov_deg
from data.panoramas.cut import BAND_HEIGHT_DEG, BAND_PITCH_DEG, plain_cut
from data.panoramas.file import height_for, read_panorama
from data.panoramas.listing import Source
from models.places.embedder import Embedder, EmbedderSettings
from models.weights import fingerprint
from partitioning.atomic_file import atomic_path
from retrieval.bars import bar
from retrieval.descriptor_cache import Engine, in_evaluation, normal

KINDS = ("undistorted", "plain", "band")
QUERY_HFOV_DEG = 60.0  # about a phone's camera held upright


class Views(NamedTuple):
    """What to look at.

    Attributes:
        fovs_deg: Widths of tiles.
        counts: Tiles of a panorama.
        queries: Of a panorama.
        size: Height and width of a picture, px.
        seed: Of the queries' yaws.
    """

    fovs_deg: tuple[float, ...] = (45.0, 60.0, 90.0, 120.0)
    counts: tuple[int, ...] = (6, 8, 10, 12)
    queries: int = 12
    size: tuple[int, int] = (144, 192)
    seed: int = 0

    @property
    def yaws_deg(self) -> list[float]:
        """Of the tiles of all counts, each once, ascending."""
        return sorted({round(yaw, 6) for count in self.counts for yaw in even_yaws_deg(count)})

    def rows(self, count: int) -> list[int]:
        """Which of `yaws_deg` are those of so many tiles."""
        yaws = self.yaws_deg
        return [yaws.index(round(yaw, 6)) for yaw in even_yaws_deg(count)]

    def query_yaws_deg(self, key: str) -> list[float]:
        """Random yaws of one panorama's queries; the same ones whatever else is in the study."""
        number = int.from_bytes(hashlib.sha256(f"{self.seed}:{key}".encode()).digest()[:8])
        return np.random.default_rng(number).uniform(0, 360, self.queries).tolist()


class Described(NamedTuple):
    """Descriptors of one panorama.

    Attributes:
        tiles: `(kinds, fovs, yaws, D)`.
        queries: `(queries, D)`.
    """

    tiles: NDArray[np.float32]
    queries: NDArray[np.float32]


def describe_panoramas(
    sources: list[Source], views: Views, embedder: Embedder, engine: Engine, folder: Path
) -> list[Described]:
    """Describe all panoramas; each is kept in `folder`, so that a stopped run goes on.

    Raises:
        ImageError: one cannot be read.
        OSError: `folder` cannot be written to.
    """
    found, model = [], (embedder.settings, fingerprint(embedder))
    with bar("panoramas", len(sources)) as advance, torch.inference_mode(), in_evaluation(embedder):
        for source in sources:
            path = folder / f"{_digest(source, views, model)}.npy"
            if not path.is_file():
                vectors = _described(_pictures(source, views), embedder, engine)
                with atomic_path(path) as temporary, temporary.open("wb") as file:
                    np.save(file, vectors)
            vectors = np.load(path, allow_pickle=False)
            shape = len(KINDS), len(views.fovs_deg), len(views.yaws_deg), vectors.shape[1]
            tiles = math.prod(shape[:3])
            found.append(Described(vectors[:tiles].reshape(shape), vectors[tiles:]))
            advance(1)
    return found


def _pictures(source: Source, views: Views) -> NDArray[np.uint8]:
    """All tiles, by kind, width and yaw, then the queries; uint8 `(N, h, w, 3)`."""
    panoramas = {
        fov: read_panorama(source.path, height_for(fov, views.size), source.crop)[0]
        for fov in (*views.fovs_deg, QUERY_HFOV_DEG)
    }
    parts: list[list[NDArray[np.uint8]] | NDArray[np.uint8]] = []
    for fov in views.fovs_deg:
        parts.append(_undistorted(panoramas[fov], views.yaws_deg, fov, views.size))
    for pitch, height in ((0.0, None), (BAND_PITCH_DEG, BAND_HEIGHT_DEG)):
        for fov in views.fovs_deg:
            high = vertical_fov_deg(fov, views.size) if height is None else height
            angles = pitch, fov, high, views.size
            parts.append([plain_cut(panoramas[fov], yaw, *angles) for yaw in views.yaws_deg])
    yaws = views.query_yaws_deg(source.key)
    parts.append(_undistorted(panoramas[QUERY_HFOV_DEG], yaws, QUERY_HFOV_DEG, views.size))
    return np.concatenate([np.asarray(part) for part in parts])


def _undistorted(
    panorama: NDArray[np.uint8], yaws_deg: list[float], hfov_deg: float, size: tuple[int, int]
) -> NDArray[np.uint8]:
    floats = torch.from_numpy(panorama).permute(2, 0, 1).float()
    pictures = undistort_batch(floats, yaws_deg, 0.0, hfov_deg, size) + 0.5
    return pictures.to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _described(
    pictures: NDArray[np.uint8], embedder: Embedder, engine: Engine
) -> NDArray[np.float32]:
    batches = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(engine.batch)
    found = [embedder(normal(batch, embedder, engine.device)).float().cpu() for batch in batches]
    return torch.cat(found).numpy()


def _digest(source: Source, views: Views, model: tuple[EmbedderSettings, str]) -> str:
    state = source.path.stat()
    facts = source.key, state.st_size, state.st_mtime_ns, source.crop, views, *model
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]
