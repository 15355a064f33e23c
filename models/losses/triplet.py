"""Losses over a query, its positive and its negatives: those of place recognition.

With d the Euclidean distance of descriptors of length 1, q a query, p its positive, n_j its
negatives; each loss is the mean over the queries of the batch:

- `weak_triplet`: mean over j of max(0, d(q,p) - d(q,n_j) + margin). Arandjelovic et al., "NetVLAD",
  2016, https://arxiv.org/abs/1511.07247 (there with squared distances and a sum over j).
- `sare_independent`: mean over j of log(1 + exp(d(q,p)^2 - d(q,n_j)^2)), and
- `sare_joint`: log(1 + sum over j of exp(d(q,p)^2 - d(q,n_j)^2)). Liu, Li and Dai, "Stochastic
  Attraction-Repulsion Embedding", 2019, https://arxiv.org/abs/1808.08779.
- `second_order`: weak_triplet + weight sqrt(sum over j of (d(q,n_j)^2 - d(p,n_j)^2)^2): query and
  positive should lie equally far from everything else. Ng et al., "SOLAR", 2020,
  https://arxiv.org/abs/2001.08972.
- `hard_quadruplet`: max(0, d(q,p)^2 - min(d(q,n_j)^2, d(n_1,n_j)^2) + margin), n_1 the negative
  that is nearest to q: HPHN. Xia et al., "SOE-Net", 2021, https://arxiv.org/abs/2011.12430.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def weak_triplet(
    queries: Tensor, positives: Tensor, negatives: Tensor, margin: float = 0.1
) -> Tensor:
    """Triplet loss with a margin.

    Args:
        queries: `(B, D)`, of length 1.
        positives: `(B, D)`.
        negatives: `(B, N, D)`.
        margin: in units of distance.

    Returns:
        A number; 0 where every negative is farther than the positive by the margin.
    """
    near, far = _distances(queries, positives), _distances(queries[:, None], negatives)
    return (near[:, None] - far + margin).relu().mean()


def sare_independent(queries: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """SARE of each negative by itself; shapes as `weak_triplet`."""
    return functional.softplus(_gaps(queries, positives, negatives)).mean()


def sare_joint(queries: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """SARE of all negatives of a query together; shapes as `weak_triplet`."""
    gaps = _gaps(queries, positives, negatives)
    return torch.cat([torch.zeros_like(gaps[:, :1]), gaps], dim=1).logsumexp(dim=1).mean()


def second_order(
    queries: Tensor,
    positives: Tensor,
    negatives: Tensor,
    margin: float = 0.1,
    weight: float = 10.0,
) -> Tensor:
    """Triplet loss and second-order similarity; shapes as `weak_triplet`."""
    from_query = _squares(queries[:, None], negatives)
    from_positive = _squares(positives[:, None], negatives)
    unlike = _root((from_query - from_positive).square().sum(dim=1)).mean()
    return weak_triplet(queries, positives, negatives, margin) + weight * unlike


def hard_quadruplet(
    queries: Tensor, positives: Tensor, negatives: Tensor, margin: float = 0.5
) -> Tensor:
    """Hardest of all negative pairs; shapes as `weak_triplet`."""
    near, far = _squares(queries, positives), _squares(queries[:, None], negatives)
    nearest = far.argmin(dim=1)
    anchor = negatives[torch.arange(len(negatives)), nearest]
    between = _squares(anchor[:, None], negatives)
    is_itself = functional.one_hot(nearest, negatives.shape[1]).bool()
    hardest = torch.minimum(far, between.masked_fill(is_itself, torch.inf)).amin(dim=1)
    return (near - hardest + margin).relu().mean()


TRIPLET_LOSSES: dict[str, Loss] = {
    "triplet": weak_triplet,
    "sare_independent": sare_independent,
    "sare_joint": sare_joint,
    "second_order": second_order,
    "quadruplet": hard_quadruplet,
}


def _squares(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().sum(dim=-1)


def _root(squares: Tensor) -> Tensor:
    # The root's slope at 0 is infinite, and a photo may well be compared with itself.
    return squares.clamp(min=1e-12).sqrt()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return _root(_squares(a, b))


def _gaps(queries: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """d(q,p)^2 - d(q,n_j)^2, `(B, N)`."""
    return _squares(queries, positives)[:, None] - _squares(queries[:, None], negatives)
