"""What a model says of a benchmark's photos, batch by batch, and no more of it than tables need.

The posterior of 210,122 photos over 12,893 cells is 20 GB; a batch's is decoded and let go, unless
it is asked for.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.bundles.bundle import Bundle
from models.decode import nested_posterior
from models.evaluation.accuracy import (
    CELL_MEAN,
    HIERARCHICAL,
    Answers,
    Coverage,
    decode,
    held_and_sizes,
)
from models.predict import Predictions
from partitioning.atomic_file import atomic_path

MASSES = (0.5, 0.9, 0.95)


class Evaluation(NamedTuple):
    """N photos, answered.

    Attributes:
        keys: image ids.
        lat: true latitudes `(N,)`, degrees.
        lon: true longitudes `(N,)`, degrees.
        answers: way of decoding -> answers, see models/evaluation/accuracy.py.
        true_cells: finest class of the truth `(N,)`, -1 = in no cell.
        regions: for each of `MASSES`, how often the region held the truth.
        posterior: `(N, C)` float32 over the finest cells where it was kept, else `(0, C)`.
    """

    keys: list[str]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    answers: dict[str, Answers]
    true_cells: NDArray[np.int64]
    regions: list[Coverage]
    posterior: NDArray[np.float32]


def evaluate(
    bundle: Bundle,
    batches: Iterable[Predictions],
    keep_posterior: bool = False,
    way: str = CELL_MEAN,
) -> Evaluation:
    """Decode every batch.

    Args:
        bundle: the model that predicted.
        batches: from `models.predict.predict_batches`.
        keep_posterior: keep the posterior of every photo, 4 bytes a photo and cell.
        way: where the hierarchical answer lies, see `models.evaluation.accuracy.decode`.

    Raises:
        ValueError: the predictions do not fit the bundle's cells.
    """
    finest = bundle.partition.levels[bundle.levels[-1]]
    parts: list[tuple[dict[str, Answers], NDArray, NDArray, NDArray]] = []
    keys: list[str] = []
    places: list[tuple[NDArray, NDArray]] = []
    kept = [np.empty((0, len(finest)), np.float32)]
    for batch in batches:
        posterior = nested_posterior(batch.logits, bundle.ancestors, bundle.calibration.temperature)
        answers = decode(batch.logits, posterior, bundle.partition, batch.lat, batch.lon, way)
        true_cells = finest.assign(batch.lat, batch.lon)
        held, sizes = held_and_sizes(posterior, true_cells, bundle.calibration, MASSES)
        parts.append((answers, true_cells, held, sizes))
        keys += batch.keys
        places.append((batch.lat, batch.lon))
        if keep_posterior:
            kept.append(posterior.astype(np.float32))
    held, sizes = (np.concatenate([part[i] for part in parts]) for i in (2, 3))
    lat, lon = (np.concatenate(column) for column in zip(*places, strict=True))
    rows = {name: _joined([part[0][name] for part in parts]) for name in parts[0][0]}
    regions = [
        Coverage(mass, int(held[:, i].sum()), len(keys), float(np.median(sizes[:, i])))
        for i, mass in enumerate(MASSES)
    ]
    cells = np.concatenate([part[1] for part in parts])
    return Evaluation(keys, lat, lon, rows, cells, regions, np.concatenate(kept))


def _joined(parts: list[Answers]) -> Answers:
    return Answers(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def write_posteriors(path: Path, bundle: Bundle, evaluation: Evaluation) -> None:
    """Write posteriors.npz: what reliability and abstention plots need, no pickles in it.

    Arrays: img_id str (N,); posterior float32 (N, C); true_class int64 (N,), -1 = in no cell; lat,
    lon, degrees (N,); error_km (N,) of the hierarchical answer; cell_lat, cell_lon, degrees (C,).
    """
    finest = bundle.partition.levels[bundle.levels[-1]]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            img_id=np.array(evaluation.keys),
            posterior=evaluation.posterior,
            true_class=evaluation.true_cells,
            lat=evaluation.lat,
            lon=evaluation.lon,
            error_km=evaluation.answers[HIERARCHICAL].errors_km,
            cell_lat=finest.lat,
            cell_lon=finest.lon,
        )
