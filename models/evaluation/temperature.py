"""Fit the temperature of a nested posterior: one number, or one for each level.

    log p_c = sum over levels l of  (1/T_l) log p_l(c's ancestor at l)  less its log-sum over cells

The T that maximises the likelihood of the true cells of validation photos (Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017). With one T for all it flattens or sharpens the
product; with one each, a level that says little beyond the others also counts for less, which the
product as it stands (all T equal) cannot express: the levels of one network are no independent
witnesses. In 1/T the negative log-likelihood is convex, its gradient and Hessian are the mean and
the covariance of the levels' log-probabilities under p, so Newton's method, kept within bounds,
finds the one minimum in a few passes. Torch-free; photos are taken `CHUNK` at a time.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.decode import log_softmax

if TYPE_CHECKING:
    from models.evaluation.calibration import Validation

LOWEST, HIGHEST = 0.05, 50.0  # of a temperature
CHUNK = 128  # photos
TOLERANCE = 1e-7  # of the gradient, a photo
STEPS, HALVINGS = 50, 30


class Likelihood(NamedTuple):
    """Negative log-likelihood `loss`, and by 1/T its gradient `(L,)` and hessian `(L, L)`."""

    loss: float
    gradient: NDArray[np.float64]
    hessian: NDArray[np.float64]


def fit_temperature(
    parts: Sequence["Validation"], per_level: bool = False
) -> float | tuple[float, ...]:
    """Fit on validation photos; 1 where none lies in a cell.

    Args:
        parts: as `models.evaluation.calibration.fit_calibration` takes them.
        per_level: one temperature a level, coarse to fine, in place of one for all.
    """
    levels = len(parts[0].logits) if per_level else 1
    photos = sum(int((part.true_cells >= 0).sum()) for part in parts)
    inverse = np.ones(levels)
    now = _likelihood(parts, inverse)
    for _ in range(STEPS):
        held = (inverse <= 1 / HIGHEST) & (now.gradient > 0)
        held |= (inverse >= 1 / LOWEST) & (now.gradient < 0)
        if np.all(held | (np.abs(now.gradient) <= TOLERANCE * photos)):
            break
        taken = _newton_step(parts, inverse, now, ~held)
        if taken is None:
            break
        inverse, now = taken
    fitted = tuple(float(1 / value) for value in inverse)
    return fitted if per_level else fitted[0]


def _newton_step(
    parts: Sequence["Validation"],
    inverse: NDArray[np.float64],
    now: Likelihood,
    free: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], Likelihood] | None:
    """The longest of Newton's step, half of it, a quarter ... that is better; None if none is."""
    hessian = now.hessian[np.ix_(free, free)]
    ridge = 1e-9 * np.trace(hessian) + 1e-12  # levels that say the same leave it singular
    step = np.zeros(len(inverse))
    step[free] = np.linalg.solve(hessian + ridge * np.eye(len(hessian)), -now.gradient[free])
    for halving in range(HALVINGS):
        trial = np.clip(inverse + step / 2**halving, 1 / HIGHEST, 1 / LOWEST)
        found = _likelihood(parts, trial)
        if found.loss < now.loss:
            return trial, found
    return None


def _likelihood(parts: Sequence["Validation"], inverse: NDArray[np.float64]) -> Likelihood:
    """Summed over all photos that lie in a cell; one entry in `inverse` stands for all levels."""
    total = Likelihood(0.0, np.zeros(len(inverse)), np.zeros((len(inverse),) * 2))
    for part in parts:
        known = np.flatnonzero(part.true_cells >= 0)
        for start in range(0, len(known), CHUNK):
            piece = _likelihood_of(part, known[start : start + CHUNK], inverse)
            total = Likelihood(
                total.loss + piece.loss,
                total.gradient + piece.gradient,
                total.hessian + piece.hessian,
            )
    return total


def _likelihood_of(
    part: "Validation", rows: NDArray[np.int64], inverse: NDArray[np.float64]
) -> Likelihood:
    columns = zip(part.logits.values(), part.cell_ancestors.T, strict=True)
    evidence = np.stack([log_softmax(values[rows])[:, classes] for values, classes in columns])
    if len(inverse) == 1:
        evidence = evidence.sum(axis=0, keepdims=True)
    log_p = log_softmax(np.tensordot(inverse, evidence, axes=1))
    own = np.arange(len(rows)), part.true_cells[rows]
    # About the true cell's own evidence, which keeps the digits of the differences.
    evidence -= evidence[:, own[0], own[1]][:, :, None]
    p = np.exp(log_p)
    weighted = evidence * p
    mean = weighted.sum(axis=2)
    second = np.tensordot(weighted, evidence, axes=([1, 2], [1, 2]))
    return Likelihood(-float(log_p[own].sum()), mean.sum(axis=1), second - mean @ mean.T)
