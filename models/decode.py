"""From logits over nested cells to one posterior over the finest cells.

Every finest cell lies in one cell of each coarser level, so the levels can vote together: a
cell's posterior is the product of its own probability and those of its ancestors, renormalised
(the hierarchical decoding of Mueller-Budack et al., ECCV 2018). Torch-free: it is on the path that
answers one photo.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partitioning.partition import LEVELS, Partition

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]


def log_softmax(logits: FloatArray) -> NDArray[np.float64]:
    """Log-probabilities of logits `(N, C)` in float64."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def ancestors(partition: Partition, levels: tuple[str, ...] = LEVELS) -> IntArray:
    """Return `(C, len(levels))`: for each cell of the last level, its class at each of `levels`.

    `levels` are neighbours in `LEVELS`, coarse to fine.
    """
    classes = np.arange(len(partition.levels[levels[-1]]), dtype=np.int64)
    columns = [classes]
    for level in reversed(levels[1:]):
        classes = partition.parents[level][classes]
        columns.append(classes)
    return np.stack(columns[::-1], axis=1)


def nested_posterior(
    logits: dict[str, FloatArray],
    cell_ancestors: IntArray,
    temperature: float | Sequence[float] = 1.0,
) -> NDArray[np.float64]:
    """Multiply the levels' probabilities along each finest cell's line of ancestors.

    Args:
        logits: level -> `(N, C_level)`, coarse to fine.
        cell_ancestors: `(C, L)` from `ancestors`, one column for each entry of `logits`.
        temperature: divides the log-posterior before it is renormalised; above 1 it flattens. One
            a level, coarse to fine, divides each level's log-probabilities by its own.

    Returns:
        `(N, C)`; each row sums to 1.

    Raises:
        ValueError: the logits do not fit the cells.
    """
    if len(logits) != cell_ancestors.shape[1]:
        raise ValueError(
            f"the model predicts {len(logits)} levels ({', '.join(logits)}), "
            f"the cells have {cell_ancestors.shape[1]}"
        )
    each = np.atleast_1d(np.asarray(temperature, dtype=np.float64))
    each = np.repeat(each, len(logits)) if np.ndim(temperature) == 0 else each
    if len(each) != len(logits):
        raise ValueError(f"{len(logits)} levels need as many temperatures, not {len(each)}")
    total = np.zeros(1)
    for column, (level, values) in enumerate(logits.items()):
        classes = cell_ancestors[:, column]
        if classes.size and classes.max() >= values.shape[1]:
            raise ValueError(
                f"{level}: the model has {values.shape[1]} cells and the cells file at least "
                f"{classes.max() + 1}: they belong to different partitions"
            )
        total = total + log_softmax(values)[:, classes] / each[column]
    return np.exp(log_softmax(total))
