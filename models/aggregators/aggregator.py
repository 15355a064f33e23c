"""What all aggregators have in common."""

from torch import nn


class Aggregator(nn.Module):
    """Local features of a batch to one vector each.

    Attributes:
        dim: Length of the vector.
    """

    dim: int
