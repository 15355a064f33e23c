"""The class token of a transformer as descriptor (Dosovitskiy et al., 2021)."""

from torch import Tensor

from models.aggregators.aggregator import Aggregator


class ClassToken(Aggregator):
    """Tokens `(B, 1 + N, D)` to the first of them, `(B, D)`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim = width

    def forward(self, tokens: Tensor) -> Tensor:
        """Take the class token of `(B, 1 + N, D)`."""
        return tokens[:, 0]
