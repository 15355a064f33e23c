"""Make the posterior mean what it says: a temperature, a conformal level, a floor.

Fitted on validation photos and stored in the bundle's calibration.json:

- *temperature*: the one number that, dividing the log-posterior, maximises the likelihood of the
  true cells (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.decode import FloatArray, IntArray, nested_posterior

MASSES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
FLOOR_KM, FLOOR_SHARE = 750.0, 0.5
NEVER = 2.0  # a floor no probability reaches: the model never beat the rule


@dataclass(frozen=True)
class Calibration:
    """What validation taught about a model's confidence; see the module's docstring.

    Attributes:
        temperature: divides the log-posterior.
        thresholds: mass -> posterior mass to gather; infinity where `photos` are too few to say.
        floor: least top-cell probability of an answer.
        photos: how many validation photos all this rests on; 0 = not calibrated.
    """

    temperature: float = 1.0
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

    def to_json(self) -> str:
        """Serialise; infinity becomes null."""
        plain = asdict(self)
        plain["thresholds"] = [[m, t if np.isfinite(t) else None] for m, t in self.thresholds]
        return json.dumps(plain, indent=2)

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
            return cls(
                float(plain["temperature"]), pairs, float(plain["floor"]), int(plain["photos"])
            )
        except (KeyError, TypeError, ValueError) as error:
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

    def posterior(self, temperature: float) -> NDArray[np.float64]:
        """`(N, C)`."""
        return nested_posterior(self.logits, self.cell_ancestors, temperature)


def fit_calibration(parts: Sequence[Validation]) -> Calibration:
    """Fit all three on validation photos.

    Args:
        parts: one part where the model was trained once; in cross-validation one a fold, each
            with the cells of its own training photos. Without photos the result is the
            uncalibrated default, which says so (`photos` = 0).
    """
    parts = [part for part in parts if len(part.true_cells)]
    if not parts:
        return Calibration()
    temperature = _fit_temperature(parts)
    posteriors = [part.posterior(temperature) for part in parts]
    scores = np.sort(
        np.concatenate(
            [ranked_mass(p, part.true_cells) for p, part in zip(posteriors, parts, strict=True)]
        )
    )
    thresholds = tuple((mass, _conformal_quantile(scores, mass)) for mass in MASSES)
    confidence = np.concatenate([posterior.max(axis=1) for posterior in posteriors])
    floor = _floor(confidence, np.concatenate([part.errors_km for part in parts]))
    return Calibration(temperature, thresholds, floor, len(scores))


def _fit_temperature(parts: list[Validation]) -> float:
    if not any((part.true_cells >= 0).any() for part in parts):
        return 1.0

    def loss(log_temperature: float) -> float:
        """Negative log-likelihood of the true cells, summed."""
        total = 0.0
        for part in parts:
            known = np.flatnonzero(part.true_cells >= 0)
            posterior = part.posterior(float(np.exp(log_temperature)))
            total -= float(np.log(posterior[known, part.true_cells[known]] + 1e-300).sum())
        return total

    return float(np.exp(_golden_section(loss, np.log(0.05), np.log(50.0))))


def _golden_section(
    function: Callable[[float], float], low: float, high: float, steps: int = 40
) -> float:
    """Minimise a unimodal function of one number on [low, high]."""
    ratio = (np.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(steps):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2


def _conformal_quantile(sorted_scores: FloatArray, mass: float) -> float:
    rank = int(np.ceil((len(sorted_scores) + 1) * mass))
    return float(sorted_scores[rank - 1]) if rank <= len(sorted_scores) else np.inf


def _floor(confidence: FloatArray, errors_km: FloatArray) -> float:
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(errors_km[order] <= FLOOR_KM) / np.arange(1, len(order) + 1)
    kept = np.flatnonzero(share >= FLOOR_SHARE)
    return float(confidence[order[kept[-1]]]) if kept.size else NEVER
