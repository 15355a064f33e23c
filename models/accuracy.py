"""How far answers lie from the truth: one row for each way of decoding, beside a prior.

Rows: each level alone (the mean point of its likeliest cell), the levels multiplied
("hierarchical"), and "prior", which looks at no photo and always answers the cell that held most
training photos. A model is worth something by what it adds to the prior.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration, region
from models.decode import FloatArray, IntArray, ancestors, nested_posterior
from partitioning.cells import Cells
from partitioning.geodesy import haversine_km
from partitioning.partition import Partition

HIERARCHICAL, PRIOR = "hierarchical", "prior"


class Answers(NamedTuple):
    """Attributes: lat, lon, degrees `(N,)`; errors_km `(N,)`."""

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    errors_km: NDArray[np.float64]


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
    """

    def at(cells: Cells, classes: IntArray) -> Answers:
        errors_km = haversine_km(cells.lat[classes], cells.lon[classes], lat, lon)
        return Answers(cells.lat[classes], cells.lon[classes], errors_km)

    rows = {
        level: at(partition.levels[level], values.argmax(axis=1))
        for level, values in logits.items()
    }
    finest = partition.levels[list(logits)[-1]]
    posterior = nested_posterior(
        logits, ancestors(partition, tuple(logits)), calibration.temperature
    )
    rows[HIERARCHICAL] = at(finest, posterior.argmax(axis=1))
    rows[PRIOR] = at(finest, np.full(len(lat), int(finest.photos.argmax())))
    return rows


def coverage(
    posterior: FloatArray, true_cells: IntArray, calibration: Calibration, mass: float
) -> Coverage:
    """Count the photos whose region of nominal `mass` holds the truth.

    Args:
        posterior: `(N, C)` over the finest cells.
        true_cells: `(N,)`; a photo in no cell (-1) is held by no region.
        calibration: gives the region's threshold.
        mass: nominal probability.
    """
    threshold = calibration.threshold(mass)
    reach = not calibration.thresholds
    regions = [region(row, threshold, reach) for row in posterior]
    held = sum(int(cell in chosen) for cell, chosen in zip(true_cells, regions, strict=True))
    return Coverage(mass, held, len(posterior), float(np.median([len(r) for r in regions])))
