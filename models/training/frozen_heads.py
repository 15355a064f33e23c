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
from models.losses.multi_task import masked_cross_entropy

TOLERANCE = 1e-4  # largest entry of the objective's gradient at the fit
# On standardised summaries; per photo, so that it does not grow with their number.
WEIGHT_DECAY = 1e-2


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
    for level, classes in cells.items():
        if not (classes >= 0).any():
            raise ValueError(f"{level}: no photo lies in a cell; lower t_min")
    labels = {level: torch.from_numpy(classes) for level, classes in cells.items()}
    fitted = _fit(coordinates, labels, num_cells, weight_decay, steps)
    heads = {}
    for level, (weight, bias) in fitted.items():
        weight = weight @ basis / std
        heads[level] = nn.Linear(x.shape[1], num_cells[level])
        with torch.no_grad():
            heads[level].weight.copy_(weight)
            heads[level].bias.copy_(bias - weight @ mean)
    return heads


def _fit(
    x: Tensor,
    labels: dict[str, Tensor],
    num_cells: dict[str, int],
    weight_decay: float,
    steps: int,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight and bias of every level, minimised together: their objectives share no term."""
    sizes = [num_cells[level] for level in labels]
    weight = torch.zeros(sum(sizes), x.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(sum(sizes), dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=steps,
        history_size=10,
        tolerance_grad=TOLERANCE,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        parts = torch.addmm(bias, x, weight.T).split(sizes, dim=1)
        loss = weight_decay / 2 * weight.square().sum()
        for logits, classes in zip(parts, labels.values(), strict=True):
            loss = loss + masked_cross_entropy(logits, classes)
        loss.backward()
        return loss

    optimizer.step(closure)
    pairs = zip(weight.detach().split(sizes), bias.detach().split(sizes), strict=True)
    return dict(zip(labels, pairs, strict=True))


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
