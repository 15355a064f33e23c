"""SeqPool: an average of tokens whose weights are learned.

Hassani et al., "Escaping the Big Data Paradigm with Compact Transformers", 2021,
https://arxiv.org/abs/2104.05704.
"""

from torch import Tensor, nn

from models.aggregators.aggregator import Aggregator


class SeqPool(Aggregator):
    """Tokens `(B, N, D)` to `(B, D)`: sum over n of softmax over n of (w . x_n + b), times x_n."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim = width
        self.score = nn.Linear(width, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool `(B, N, D)` to `(B, D)`."""
        weights = self.score(tokens).softmax(dim=1)
        return (weights.transpose(1, 2) @ tokens).squeeze(1)
