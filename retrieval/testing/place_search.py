"""Describe a database and queries, shorten the descriptors, search: the answers of one model.

Descriptors go to memory-mapped files, so that a database of any size takes no more memory than a
chunk of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from data.place_sets.photos import PlacePhotos, Rows
from models.places.embedder import Embedder
from partitioning.atomic_file import atomic_path
from retrieval.bars import bar
from retrieval.descriptor_cache import Descriptors, Engine, describe
from retrieval.nearest import Nearest, nearest
from retrieval.testing.crop_voting import CropVoting
from retrieval.testing.ensembles import seen_size
from retrieval.testing.pca import PCA
from retrieval.testing.query_methods import (
    METHODS,
    SEARCHED_EACH,
    joined_answers,
    joined_descriptors,
    read_size,
    searched_depth,
    view_of,
)

DATABASE_FILE, QUERIES_FILE, PCA_FILE = "database.npy", "queries.npy", "pca.npz"
PCA_PHOTOS = 16_384  # at most, as in the benchmark
SQUARES = 5


@dataclass(frozen=True)
class SearchSettings:
    """How to search.

    Attributes:
        method: One of `retrieval.testing.query_methods.METHODS`.
        depth: Answers of each query.
        pca_dim: Length of the descriptors after PCA; 0 leaves it out.
        is_whitened: See `retrieval.testing.pca`.
        dtype: Of the stored descriptors: float32 or float16.
        seed: Of the photos that PCA is fitted to.
        voting: Of the method `crop_voting`.
    """

    method: str = "hard_resize"
    depth: int = 20
    pca_dim: int = 0
    is_whitened: bool = False
    dtype: str = "float32"
    seed: int = 0
    voting: CropVoting = field(default_factory=CropVoting)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(
                f"test method must be one of {', '.join(METHODS)}, got {self.method!r}"
            )
        if self.depth < 1 or self.pca_dim < 0 or self.dtype not in ("float32", "float16"):
            raise ValueError("depth must be positive, pca_dim not negative, dtype float32 or 16")


class Answers(NamedTuple):
    """What was found.

    Attributes:
        found: Of each query.
        dim: Length of the descriptors.
        refused: Photos that could not be read, and why; such queries have no answer.
        unreadable: How many of database and queries those are.
        seconds: What describing the database, the queries and searching took.
    """

    found: Nearest
    dim: int
    refused: dict[str, str]
    unreadable: tuple[int, int]
    seconds: dict[str, float]


def search_places(
    embedder: Embedder,
    database: Sequence[Path],
    queries: Sequence[Path],
    size: tuple[int, int],
    folder: Path,
    settings: SearchSettings,
    engine: Engine,
    pca_photos: Sequence[Path] = (),
) -> Answers:
    """Find the nearest photos of a database for each query.

    Args:
        embedder: On the engine's device.
        database: To search.
        queries: To search for.
        size: Height and width that the database is resized to, px.
        folder: For the descriptors' files.
        settings: How.
        engine: How photos are described.
        pca_photos: What PCA is fitted to; none takes the database.

    Raises:
        ValueError: no photo on one side or none that can be read, or a PCA larger than its samples.
    """
    if not len(database) or not len(queries):
        raise ValueError(f"{len(database)} photos of the database and {len(queries)} queries")
    pca = None
    if settings.pca_dim:
        photos = PlacePhotos(pca_photos or database, size)
        pca = fit_pca(embedder, photos, settings, engine)
        pca.save(folder / PCA_FILE)
    began = perf_counter()
    searched = PlacePhotos(database, size)
    shape = (len(database), 1, pca.dim if pca else embedder.dim)
    rows = _described(embedder, searched, shape, folder / DATABASE_FILE, settings, engine, pca)
    described_database = perf_counter()
    shown = size, settings.voting, seen_size(embedder, size)
    asked = PlacePhotos(
        queries, read_size(settings.method, *shown), view_of(settings.method, *shown)
    )
    shape = (len(queries), views_searched(settings.method), shape[2])
    wanted = _described(embedder, asked, shape, folder / QUERIES_FILE, settings, engine, pca)
    described_queries = perf_counter()
    lost = _unreadable(searched), _unreadable(asked)
    if len(lost[0]) == len(database):
        raise ValueError("no photo of the database could be read")
    found = _search(wanted, rows, settings, lost[0])
    found.rows[lost[1]], found.distances[lost[1]] = -1, np.inf
    seconds = {
        "database": described_database - began,
        "queries": described_queries - described_database,
        "search": perf_counter() - described_queries,
    }
    counts = len(lost[0]), len(lost[1])
    return Answers(found, shape[2], searched.refused | asked.refused, counts, seconds)


def views_searched(method: str) -> int:
    """How many descriptors of a query are searched for."""
    return SQUARES if method in SEARCHED_EACH else 1


def fit_pca(
    embedder: Embedder, photos: PlacePhotos, settings: SearchSettings, engine: Engine
) -> PCA:
    """Fit a PCA to photos that can be read, to a random 16,384 of them at most."""
    random = np.random.default_rng(settings.seed)
    rows = np.sort(random.permutation(len(photos))[:PCA_PHOTOS])
    with bar("fitting PCA", len(rows)) as on_done:
        found = describe(embedder, photos, rows, engine, on_done=on_done)[:, 0]
    readable = found[[photos.is_readable(int(row)) for row in rows]]
    return PCA.fit(readable, settings.pca_dim, settings.is_whitened)


def described_view(found: Descriptors, method: str, pca: PCA | None) -> Descriptors:
    """What is stored of the descriptors `(Q V, D)` of some queries' pictures."""
    views = SQUARES if method in (*SEARCHED_EACH, "five_crops") else 1
    joined = joined_descriptors(found.reshape(-1, views, found.shape[1]), method)
    return pca(joined) if pca else joined


def _described(
    embedder: Embedder,
    photos: PlacePhotos,
    shape: tuple[int, int, int],
    path: Path,
    settings: SearchSettings,
    engine: Engine,
    pca: PCA | None,
) -> NDArray[Any]:
    """Describe all photos into a file; returns its map `(N V, D)`."""
    method = "hard_resize" if path.name == DATABASE_FILE else settings.method
    with atomic_path(path) as temporary:
        out = open_memmap(temporary, "w+", settings.dtype, shape)
        with bar(f"describing {path.stem}", len(photos)) as on_done:
            describe(
                embedder, photos, None, engine, out,
                lambda found: described_view(found, method, pca), on_done,
            )  # fmt: skip
        out.flush()
        del out
    stored = np.load(path, mmap_mode="r")
    return stored.reshape(-1, shape[2])


def _search(
    queries: NDArray[Any], database: NDArray[Any], settings: SearchSettings, left_out: Rows
) -> Nearest:
    views = views_searched(settings.method)
    depth = searched_depth(settings.method, settings.depth, settings.voting)
    with bar("searching", len(database) * len(queries)) as on_done:
        found = nearest(queries, database, depth, left_out, on_done)
    return joined_answers(found, views, settings.method, settings.depth, settings.voting)


def _unreadable(photos: PlacePhotos) -> Rows:
    return np.array([row for row in range(len(photos)) if not photos.is_readable(row)], np.int64)
