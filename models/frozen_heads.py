"""Fit geocell heads on the summaries of a frozen backbone: seconds where training takes hours.

With the backbone frozen, the heads are multinomial logistic regressions on fixed vectors, a convex
problem: L-BFGS solves it exactly, in full batches, without a learning rate. Summaries are
standardised for the fit and the standardisation is folded into the weights, so that the fitted
heads take the network's own output. With fewer photos than dimensions the optimum lies in the span
of the summaries (the penalty removes all else), so the fit runs in that smaller space.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.decode import IntArray
from models.losses import masked_cross_entropy

TOLERANCE = 1e-4  # largest entry of the objective's gradient at the fit
WEIGHT_DECAY = (
    1e-2  # on standardised summaries; per photo, so that it does not grow with their number
)


def fit_heads(
    summaries: NDArray[np.float32],
    cells: dict[str, IntArray],
    num_cells: dict[str, int],
    weight_decay: float = WEIGHT_DECAY,
    steps: int = 200,
) -> dict[str, nn.Linear]:
    """Fit one linear head for each level.

    Args:
        summaries: `(N, D)`, the frozen encoder's.
        cells: level -> class of each photo `(N,)`, -1 = in no cell (it teaches nothing).
        num_cells: level -> number of classes C.
        weight_decay: half of it times the squared weights is added to the loss.
        steps: at most so many L-BFGS iterations.

    Returns:
        level -> `Linear(D, C)`.

    Raises:
        ValueError: a level has no labelled photo, or a summary is not finite.
    """
    if not np.isfinite(summaries).all():
        raise ValueError("a summary is not finite: look at the photos it came from")
    x = torch.from_numpy(np.asarray(summaries, dtype=np.float64))
    mean, std = x.mean(dim=0), x.std(dim=0, correction=0).clamp(min=1e-6)
    left, scale, basis = torch.linalg.svd((x - mean) / std, full_matrices=False)
    coordinates = left * scale
    heads = {}
    for level, labels in cells.items():
        if not (labels >= 0).any():
            raise ValueError(f"{level}: no photo lies in a cell; lower t_min")
        head = _fit(coordinates, torch.from_numpy(labels), num_cells[level], weight_decay, steps)
        weight = head.weight @ basis / std
        folded = nn.Linear(x.shape[1], num_cells[level])
        with torch.no_grad():
            folded.weight.copy_(weight)
            folded.bias.copy_(head.bias - weight @ mean)
        heads[level] = folded
    return heads


def _fit(x: Tensor, labels: Tensor, classes: int, weight_decay: float, steps: int) -> nn.Linear:
    head = nn.Linear(x.shape[1], classes, dtype=torch.float64)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(
        head.parameters(),
        max_iter=steps,
        history_size=10,
        tolerance_grad=TOLERANCE,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = masked_cross_entropy(head(x), labels)
        loss = loss + weight_decay / 2 * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return head


def apply_heads(
    heads: dict[str, nn.Linear], summaries: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Logits of every level for summaries `(N, D)`."""
    x = torch.from_numpy(np.asarray(summaries, dtype=np.float32))
    with torch.no_grad():
        return {level: head(x).numpy() for level, head in heads.items()}


def cross_folds(groups: NDArray, folds: int = 5) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield (training rows, held-out rows), every row held out once.

    Args:
        groups: `(N,)` group of each row, e.g. pictures that show the same; none is split.
        folds: number of parts; at most as many as there are groups.
    """
    _, members = np.unique(groups, return_inverse=True)
    fold_of = np.random.default_rng(0).permutation(members.max() + 1)[members] % folds
    for fold in np.unique(fold_of):
        yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
