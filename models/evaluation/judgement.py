"""A test's posteriors judged: confidence, regions, and what abstaining gains.

Photos in no cell count as wrong, and as held by no region. Torch-free.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.decode import FloatArray, log_softmax
from models.evaluation.abstention import Curve, abstention_curve
from models.evaluation.accuracy import held_and_sizes
from models.evaluation.calibration import MASSES, Calibration
from models.evaluation.calibration_error import Bin, reliability_bins
from models.evaluation.intervals import Share, share_of
from models.evaluation.posterior_file import Posteriors

WITHIN_KM = (25.0, 200.0, 750.0, 2500.0)
CHUNK = 256  # photos at a time


class Held(NamedTuple):
    """Regions of one nominal mass.

    Attributes:
        mass: nominal probability.
        share: photos whose region held the truth.
        median_cells: cells of the region in the middle.
        mean_cells: cells of a region on average.
    """

    mass: float
    share: Share
    median_cells: float
    mean_cells: float


class Reliability(NamedTuple):
    """What the plots show.

    Attributes:
        bins: way of binning, "equal width" or "adaptive" -> bins.
        before: adaptive bins before the temperature; empty where there was none, or one a level.
        curves: km -> abstention curve.
        right: km -> whether each answer lies within it.
        regions: one entry for each of `MASSES`.
        floor: least confidence that is answered, 0 where there is no calibration.
    """

    bins: dict[str, list[Bin]]
    before: list[Bin]
    curves: dict[float, Curve]
    right: dict[float, NDArray[np.bool_]]
    regions: list[Held]
    floor: float


def judge(test: Posteriors, calibration: Calibration | None = None) -> Reliability:
    """Compute every figure.

    Args:
        test: posteriors made with the calibration's temperature.
        calibration: of the model; None = posteriors are taken as they are.
    """
    used = calibration or Calibration()
    confidence = np.minimum(test.posterior.max(axis=1).astype(np.float64), 1.0)
    right_cell = test.posterior.argmax(axis=1) == test.true_cells
    right = {km: test.errors_km <= km for km in WITHIN_KM}
    before = []
    if isinstance(used.temperature, float) and used.temperature != 1:
        sharp = untempered_confidence(test.posterior, used.temperature)
        before = reliability_bins(sharp, right_cell, adaptive=True)
    return Reliability(
        bins={
            "equal width": reliability_bins(confidence, right_cell),
            "adaptive": reliability_bins(confidence, right_cell, adaptive=True),
        },
        before=before,
        curves={km: abstention_curve(confidence, hits) for km, hits in right.items()},
        right=right,
        regions=_regions(test, used),
        floor=used.floor,
    )


def untempered_confidence(posterior: FloatArray, temperature: float) -> NDArray[np.float64]:
    """Top-cell probability `(N,)` had the log-posterior not been divided by `temperature`."""
    tops = []
    for start in range(0, len(posterior), CHUNK):
        rows = posterior[start : start + CHUNK].astype(np.float64)
        logs = np.log(np.maximum(rows, np.finfo(np.float32).tiny))
        tops.append(np.exp(log_softmax(temperature * logs).max(axis=1)))
    return np.concatenate(tops)


def _regions(test: Posteriors, calibration: Calibration) -> list[Held]:
    pieces = [slice(start, start + CHUNK) for start in range(0, len(test.true_cells), CHUNK)]
    parts = [
        held_and_sizes(
            test.posterior[piece].astype(np.float64), test.true_cells[piece], calibration, MASSES
        )
        for piece in pieces
    ]
    held, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
    return [
        Held(
            mass,
            share_of(int(held[:, i].sum()), len(held)),
            float(np.median(sizes[:, i])),
            float(sizes[:, i].mean()),
        )
        for i, mass in enumerate(MASSES)
    ]
