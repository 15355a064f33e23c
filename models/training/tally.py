"""Sums and counts over batches and ranks: a mean is taken once, at the end.

A mean of means is wrong where batches or ranks hold different numbers of photos; and a metric that
one rank has and another lacks leaves them waiting for each other. Here every rank holds the same
names from the start, and all of it is summed in one exchange.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Tally:
    """Means of named quantities.

    Args:
        names: of the quantities, the same on every rank.
        device: where the sums are kept.
    """

    def __init__(self, names: Sequence[str], device: torch.device | str = "cpu") -> None:
        self.names = tuple(names)
        self._rows = {name: row for row, name in enumerate(self.names)}
        self._sums = torch.zeros(len(self.names), 2, dtype=torch.float64, device=device)

    def add(self, name: str, total: Tensor | float, count: Tensor | float) -> None:
        """Add a sum over `count` photos."""
        row = self._sums[self._rows[name]]
        row[0] += torch.where(torch.as_tensor(count) > 0, total, 0.0)
        row[1] += count

    def means(self, sum_over_ranks: Callable[[Tensor], Tensor] = lambda x: x) -> dict[str, float]:
        """The mean of every quantity that something was added to, on any rank."""
        sums = sum_over_ranks(self._sums).cpu()
        return {
            name: float(total / count)
            for name, (total, count) in zip(self.names, sums, strict=True)
            if count > 0
        }
