"""Where each query's first right answer stands, for one model; searched once and kept."""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.places.place_model import PlaceModel
from partitioning.atomic_file import atomic_path
from retrieval.descriptor_cache import Engine
from retrieval.evaluate import first_hits
from retrieval.nearest import Nearest
from retrieval.night.queries import Asked
from retrieval.testing.place_search import SearchSettings, search_places
from retrieval.testing.prediction_files import Searched, write_predictions

RANKS, PREDICTIONS = "ranks.json", "predictions.csv"
DESCRIPTORS = "night_descriptors"  # not the folder where `retrieval.test` keeps its own
MOST_LISTED = 5


def ranks_of(
    model: PlaceModel, asked: Asked, folder: Path, depth: int, engine: Engine
) -> NDArray[np.int64]:
    """Rank of each query's first right answer `(Q,)`, from 0; -1 where none of the first is.

    Searched once: what was found lies in `folder`, with what it was found with.

    Args:
        model: To describe photos with.
        asked: Queries and what is right.
        folder: For predictions.csv and ranks.json.
        depth: Answers of each query.
        engine: How photos are described.

    Raises:
        ValueError, OSError: as `retrieval.testing.place_search.search_places`.
    """
    key = {
        "model": model.sha256,
        "size": list(model.size),
        "asked": _digest(asked),
        "depth": depth,
    }
    kept = _read(folder / RANKS, key, len(asked.queries))
    if kept is not None:
        sys.stderr.write(f"kept from {folder / RANKS}\n")
        return kept
    embedder = model.embedder.to(engine.device).eval()
    settings = SearchSettings(depth=depth + 1)  # one more: a query may find itself
    described = folder / DESCRIPTORS
    answers = search_places(
        embedder, asked.database, asked.queries, model.size, described, settings, engine
    )
    shutil.rmtree(described)
    for path, why in list(answers.refused.items())[:MOST_LISTED]:
        sys.stderr.write(f"warning: cannot be read, so it is not found: {path}: {why}\n")
    found = without_own(answers.found, asked.own, depth)
    searched = Searched(asked.database, asked.queries, found, asked.places)
    write_predictions(folder / PREDICTIONS, searched)
    ranks = first_hits(found.rows, asked.positives)
    with atomic_path(folder / RANKS) as temporary:
        temporary.write_text(json.dumps({**key, "ranks": ranks.tolist()}) + "\n")
    return ranks


def without_own(found: Nearest, own: NDArray[np.int64], depth: int) -> Nearest:
    """The first `depth` answers of each query, itself left out."""
    is_own = (found.rows == own[:, None]) & (found.rows >= 0)
    order = np.argsort(is_own, axis=1, kind="stable")[:, :depth]
    rows, distances, lost = (
        np.take_along_axis(column, order, axis=1) for column in (*found, is_own)
    )
    return Nearest(np.where(lost, -1, rows), np.where(lost, np.inf, distances))


def _digest(asked: Asked) -> str:
    """Changes with the photos and with what is right."""
    digest = hashlib.sha256()
    for path in (*asked.database, *asked.queries):
        state = path.stat()
        digest.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode())
    for row, positives in zip(asked.own, asked.positives, strict=True):
        digest.update(f"{row} {sorted(positives)}\n".encode())
    return digest.hexdigest()


def _read(path: Path, key: dict[str, Any], queries: int) -> NDArray[np.int64] | None:
    """What was found before of the same, else None."""
    try:
        found = json.loads(path.read_text())
        if {name: found[name] for name in key} != key or len(found["ranks"]) != queries:
            return None
        return np.array(found["ranks"], np.int64)
    except (OSError, ValueError, KeyError, TypeError):
        return None
