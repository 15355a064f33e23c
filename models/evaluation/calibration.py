"""Make the posterior mean what it says: a temperature, a conformal level, a floor.

Fitted on validation photos and stored in the bundle's calibration.json:

- *temperature*: the one number that, dividing the log-posterior, maximises the likelihood of the
  true cells, or one number for each level (models/evaluation/temperature.py).
- *thresholds*: for each mass m on a grid, the posterior mass a region must gather to hold the
  truth with probability m: the ceil((n + 1) m)-th smallest score of n validation photos, a photo's
  score being the mass of all cells ranked down to its own (adaptive prediction sets: Romano et
  al., "Classification with Valid and Adaptive Coverage", NeurIPS 2020, without randomisation,
  which errs to the safe side). A photo that lies in no cell scores infinity: no region holds it.
- *floor*: the lowest top-cell probability at which answers are still given. It is set where,
  counted from the surest photo down, half of the answers still lie within 750 km.

Torch-free: it is on the path that answers one photo.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.decode import FloatArray, IntArray, nested_posterior
from models.evaluation.temperature import fit_temperature

MASSES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
FLOOR_KM, FLOOR_SHARE = 750.0, 0.5
CHUNK = 256  # photos at a time
NEVER = 2.0  # a floor no probability reaches: the model never beat the rule


@dataclass(frozen=True)
class Calibration:
    """What validation taught about a model's confidence; see the module's docstring.

    Attributes:
        temperature: divides the log-posterior; or one a level, coarse to fine, each dividing its
            level's log-probabilities.
        thresholds: mass -> posterior mass to gather; infinity where `photos` are too few to say.
        floor: least top-cell probability of an answer.
        photos: how many validation photos all this rests on; 0 = not calibrated.
    """

    temperature: float | tuple[float, ...] = 1.0
    thresholds: tuple[tuple[float, float], ...] = ()
    floor: float = 0.0
    photos: int = 0

    def threshold(self, mass: float) -> float:
        """Posterior mass that a region of nominal `mass` gathers; `mass` itself uncalibrated.

        Between grid points the next larger one is taken, so that the region is never too small.
        """
        if not 0 < mass <= 1:
            raise ValueError(f"mass must lie in (0, 1], got {mass}")
        if not self.thresholds:
            return mass
        return next((t for m, t in self.thresholds if m >= mass - 1e-9), np.inf)

    def region(self, posterior: FloatArray, mass: float) -> IntArray:
        """The fewest cells that hold the truth with probability `mass`, likeliest first.

        Args:
            posterior: `(C,)`, one photo's, made with this calibration's temperature.
            mass: nominal probability, in (0, 1]. Uncalibrated it is the posterior mass to reach.
        """
        return region(posterior, self.threshold(mass), reach=not self.thresholds)

    def to_json(self) -> str:
        """Serialise; infinity becomes null."""
        plain = asdict(self)
        plain["thresholds"] = [[m, t if np.isfinite(t) else None] for m, t in self.thresholds]
        return json.dumps(plain, indent=2)

    def _check(self) -> None:
        """Raise ValueError for numbers that no fit gives: answers by them would be NaN."""
        temperatures = np.atleast_1d(self.temperature)
        if not (temperatures.size and np.isfinite(temperatures).all() and (temperatures > 0).all()):
            raise ValueError(f"temperature {self.temperature}")
        if not all(0 < mass <= 1 and threshold > 0 for mass, threshold in self.thresholds):
            raise ValueError(f"thresholds {self.thresholds}")
        if not np.isfinite(self.floor) or self.photos < 0:
            raise ValueError(f"floor {self.floor} of {self.photos} photos")

    @classmethod
    def read(cls, path: Path) -> "Calibration":
        """Read calibration.json.

        Raises:
            ValueError: the file is not a calibration.
        """
        try:
            plain = json.loads(path.read_text())
            pairs = tuple(
                (float(m), np.inf if t is None else float(t)) for m, t in plain["thresholds"]
            )
            given = plain["temperature"]
            temperature = tuple(map(float, given)) if isinstance(given, list) else float(given)
            read = cls(temperature, pairs, float(plain["floor"]), int(plain["photos"]))
            read._check()
            return read
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"{path} is not a calibration ({error}); train again") from error


def ranked_mass(posterior: FloatArray, true_cells: IntArray) -> NDArray[np.float64]:
    """Mass of the cells ranked from the top down to the true one, itself included.

    Args:
        posterior: `(N, C)`.
        true_cells: `(N,)`, -1 for a photo in no cell, which scores infinity.
    """
    known = np.maximum(true_cells, 0)
    own = posterior[np.arange(len(posterior)), known]
    # ties count in full: wherever `region` ranks the true cell among its equals, it is inside
    mass = np.where(posterior >= own[:, None], posterior, 0).sum(axis=1)
    return np.where(true_cells >= 0, mass, np.inf)


def region(posterior: FloatArray, threshold: float, reach: bool = False) -> IntArray:
    """Cells of the region, likeliest first: all whose ranked mass stays within `threshold`.

    Args:
        posterior: `(C,)`, one photo's.
        threshold: from `Calibration.threshold`; the likeliest cell is in it whatever it is.
        reach: take the cell that carries the sum to the threshold or over it as well, as a
            threshold that is a mass itself, not a calibrated score, needs it.
    """
    order = np.argsort(-posterior, kind="stable")
    if reach and threshold >= 1:
        return order  # all that there is, however small: sums of floats end before
    mass = np.cumsum(posterior[order])
    inside = mass < threshold - 1e-9 if reach else mass <= threshold + 1e-9
    return order[: max(1, int(inside.sum()) + (reach and not inside.all()))]


class Validation(NamedTuple):
    """Validation photos predicted with one set of cells.

    Attributes:
        logits: level -> `(N, C_level)`.
        cell_ancestors: from `models.decode.ancestors`.
        true_cells: finest class of each photo `(N,)`, -1 = in no cell.
        errors_km: distance of each photo's answer from the truth `(N,)`.
    """

    logits: dict[str, FloatArray]
    cell_ancestors: IntArray
    true_cells: IntArray
    errors_km: FloatArray

    def posterior(self, temperature: float | tuple[float, ...]) -> NDArray[np.float64]:
        """`(N, C)`."""
        return nested_posterior(self.logits, self.cell_ancestors, temperature)

    def scores(
        self, temperature: float | tuple[float, ...]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ranked mass and top-cell probability of each photo, each `(N,)`.

        Photos go `CHUNK` at a time: 25,600 posteriors over 12,893 cells are 2.6 GB.
        """
        pieces = [slice(start, start + CHUNK) for start in range(0, len(self.true_cells), CHUNK)]
        ranked, confidence = [], []
        for piece in pieces:
            logits = {level: values[piece] for level, values in self.logits.items()}
            posterior = nested_posterior(logits, self.cell_ancestors, temperature)
            ranked.append(ranked_mass(posterior, self.true_cells[piece]))
            confidence.append(posterior.max(axis=1))
        return np.concatenate(ranked), np.concatenate(confidence)


def fit_calibration(parts: Sequence[Validation], per_level: bool = False) -> Calibration:
    """Fit all three on validation photos.

    Args:
        parts: one part where the model was trained once; in cross-validation one a fold, each
            with the cells of its own training photos. Without photos the result is the
            uncalibrated default, which says so (`photos` = 0).
        per_level: fit one temperature a level in place of one for all.
    """
    parts = [part for part in parts if len(part.true_cells)]
    if not parts:
        return Calibration()
    temperature = fit_temperature(parts, per_level)
    pairs = [part.scores(temperature) for part in parts]
    scores, confidence = (np.concatenate(column) for column in zip(*pairs, strict=True))
    ordered = np.sort(scores)
    thresholds = tuple((mass, _conformal_quantile(ordered, mass)) for mass in MASSES)
    floor = _floor(confidence, np.concatenate([part.errors_km for part in parts]))
    return Calibration(temperature, thresholds, floor, len(scores))


def _conformal_quantile(sorted_scores: FloatArray, mass: float) -> float:
    rank = int(np.ceil((len(sorted_scores) + 1) * mass))
    return float(sorted_scores[rank - 1]) if rank <= len(sorted_scores) else np.inf


def _floor(confidence: FloatArray, errors_km: FloatArray) -> float:
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(errors_km[order] <= FLOOR_KM) / np.arange(1, len(order) + 1)
    kept = np.flatnonzero(share >= FLOOR_SHARE)
    return float(confidence[order[kept[-1]]]) if kept.size else NEVER
