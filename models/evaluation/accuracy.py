"""How far answers lie from the truth: one row for each way of decoding, beside a prior.

Rows: each level alone (the mean point of its likeliest cell), the levels multiplied
("hierarchical"), and "prior", which looks at no photo and always answers the cell that held most
training photos. A model is worth something by what it adds to the prior.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.decode import FloatArray, IntArray, ancestors, log_softmax, nested_posterior
from models.evaluation.calibration import Calibration
from models.evaluation.local_mean import local_means
from partitioning.cells import Cells
from partitioning.geodesy import haversine_km
from partitioning.partition import Partition

HIERARCHICAL, PRIOR = "hierarchical", "prior"
WAYS = CELL_MEAN, LOCAL_MEAN = "mean", "local"


class Answers(NamedTuple):
    """One way of decoding N photos.

    Attributes:
        lat: degrees `(N,)`.
        lon: degrees `(N,)`.
        errors_km: distance from the truth `(N,)`.
        classes: the chosen cells `(N,)`.
        probability: of the chosen cell `(N,)`; of the prior, its share of the training photos.
    """

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    errors_km: NDArray[np.float64]
    classes: IntArray
    probability: NDArray[np.float64]


class Coverage(NamedTuple):
    """How often regions held the truth.

    Attributes:
        mass: nominal probability.
        held: photos whose region held the truth.
        photos: all photos.
        cells: median number of cells in a region.
    """

    mass: float
    held: int
    photos: int
    cells: float


def answers_by_row(
    logits: dict[str, FloatArray],
    partition: Partition,
    calibration: Calibration,
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
) -> dict[str, Answers]:
    """Decode N photos in every way; level names, `HIERARCHICAL` and `PRIOR` are the keys.

    Args:
        logits: level -> `(N, C_level)`, coarse to fine.
        partition: the cells.
        calibration: its temperature divides the log-posterior (it moves no likeliest cell).
        lat: true latitudes `(N,)`, degrees.
        lon: true longitudes `(N,)`, degrees.

    Raises:
        ValueError: the logits do not fit the cells.
    """
    posterior = nested_posterior(
        logits, ancestors(partition, tuple(logits)), calibration.temperature
    )
    return decode(logits, posterior, partition, lat, lon)


def decode(
    logits: dict[str, FloatArray],
    posterior: FloatArray,
    partition: Partition,
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
    way: str = CELL_MEAN,
) -> dict[str, Answers]:
    """`answers_by_row` where the posterior `(N, C)` over the finest cells is there already.

    `way` is where the hierarchical answer lies: `CELL_MEAN`, the mean point of the likeliest cell,
    or `LOCAL_MEAN`, of the probability about it (models/evaluation/local_mean.py).

    Raises:
        ValueError: the logits do not fit the cells, or no such `way`.
    """
    if way not in WAYS:
        raise ValueError(f"decode must be one of {', '.join(WAYS)}, got {way!r}")

    def at(cells: Cells, classes: IntArray, probability: NDArray[np.float64]) -> Answers:
        errors_km = haversine_km(cells.lat[classes], cells.lon[classes], lat, lon)
        return Answers(cells.lat[classes], cells.lon[classes], errors_km, classes, probability)

    rows = {}
    for level, values in logits.items():
        check_width(level, values, partition.levels[level])
        surest = np.exp(log_softmax(values).max(axis=1))
        rows[level] = at(partition.levels[level], values.argmax(axis=1), surest)
    finest = partition.levels[list(logits)[-1]]
    best = at(finest, posterior.argmax(axis=1), posterior.max(axis=1))
    if way == LOCAL_MEAN:
        place = local_means(posterior, finest.lat, finest.lon)
        errors_km = haversine_km(place.lat, place.lon, lat, lon)
        best = best._replace(lat=place.lat, lon=place.lon, errors_km=errors_km)
    rows[HIERARCHICAL] = best
    most = int(finest.photos.argmax())
    share = float(finest.photos[most] / finest.photos.sum())
    rows[PRIOR] = at(finest, np.full(len(lat), most), np.full(len(lat), share))
    return rows


def check_width(level: str, logits: FloatArray, cells: Cells) -> None:
    """Raise ValueError unless logits `(N, C)` have one column for each cell."""
    if logits.shape[1] != len(cells):
        raise ValueError(
            f"{level}: the model predicts {logits.shape[1]} cells and cells.parquet has "
            f"{len(cells)}: put the cells.parquet of the training run back"
        )


def held_and_sizes(
    posterior: FloatArray,
    true_cells: IntArray,
    calibration: Calibration,
    masses: Sequence[float],
) -> tuple[NDArray[np.bool_], IntArray]:
    """Whether each photo's regions hold the truth, and how many cells they have.

    What `models.evaluation.calibration.region` gives photo by photo, for all photos and masses in
    one sort.

    Args:
        posterior: `(N, C)` over the finest cells.
        true_cells: `(N,)`; a photo in no cell (-1) is held by no region.
        calibration: gives the regions' thresholds.
        masses: nominal probabilities, M of them.

    Returns:
        `(N, M)` each.
    """
    gathered = np.cumsum(-np.sort(-posterior, axis=1), axis=1)
    cells = np.arange(posterior.shape[1])
    own = posterior[np.arange(len(posterior)), np.maximum(true_cells, 0)][:, None]
    before = (posterior > own) | ((posterior == own) & (cells < true_cells[:, None]))
    rank = np.where(true_cells >= 0, before.sum(axis=1), len(cells))
    reach = not calibration.thresholds
    sizes = []
    for threshold in map(calibration.threshold, masses):
        inside = gathered < threshold - 1e-9 if reach else gathered <= threshold + 1e-9
        sizes.append(np.clip(inside.sum(axis=1) + reach, 1, len(cells)))
    size = np.stack(sizes, axis=1)
    return rank[:, None] < size, size


def coverage(
    posterior: FloatArray, true_cells: IntArray, calibration: Calibration, mass: float
) -> Coverage:
    """Count the photos whose region of nominal `mass` holds the truth; see `held_and_sizes`."""
    held, size = held_and_sizes(posterior, true_cells, calibration, (mass,))
    return Coverage(mass, int(held.sum()), len(held), float(np.median(size)))
