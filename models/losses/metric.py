"""Losses of a retrieval descriptor: photos of one place close together, of two places apart.

Labels are classes of places: fine cells, or smaller ones. Unlabelled photos (`MISSING`) take no
part. S_ij is the cosine of the descriptors of photos i and j.

*Multi-similarity* (Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric
Learning", CVPR 2019, https://arxiv.org/abs/1904.06627), over n labelled photos:

    L = 1/n sum over i of  1/alpha log(1 + sum over positives k of exp(-alpha (S_ik - base)))
                         + 1/beta  log(1 + sum over negatives k of exp( beta (S_ik - base)))

after mining: a negative counts if S_ik > (lowest positive S_ij) - margin, a positive if
S_ik < (highest negative S_ij) + margin. A photo without a positive, or without a negative, has
nothing to be compared with and adds 0.

*CosFace* (Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018,
https://arxiv.org/abs/1801.09414; in place recognition by CosPlace, Berton et al., CVPR 2022), with
a learned unit vector w_j for each class and cos_j its cosine with the descriptor:

    L = -log( exp(s (cos_y - m)) / (exp(s (cos_y - m)) + sum over j != y of exp(s cos_j)) )
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.losses.multi_task import MISSING, masked_cross_entropy, masked_mean


def multi_similarity_loss(
    descriptors: Tensor,
    labels: Tensor,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    margin: float | None = 0.1,
) -> Tensor:
    """Multi-similarity loss of a batch; 0, with a gradient of 0, where no pair counts.

    Args:
        descriptors: `(B, D)`, of any length; their direction counts.
        labels: int64 `(B,)`, `MISSING` where unknown.
        alpha: how sharply distant positives are drawn in.
        beta: how sharply near negatives are pushed away.
        base: cosine where drawing and pushing begin.
        margin: of the mining; None takes all pairs, those of a photo without a partner too.
    """
    unit = functional.normalize(descriptors.float(), dim=1)
    similarity = unit @ unit.T
    known = labels != MISSING
    both = known[:, None] & known[None, :]
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positive, negative = both & same & ~itself, both & ~same
    if margin is not None:
        positive, negative = _mined(similarity.detach(), positive, negative, margin)
    pulled = _soft_sum(-alpha * (similarity - base), positive) / alpha
    pushed = _soft_sum(beta * (similarity - base), negative) / beta
    return masked_mean(pulled + pushed, known)


class CosFace(nn.Module):
    """CosFace with its class vectors.

    Args:
        num_classes: C.
        width: length of the descriptors D.
        scale: s.
        margin: m, subtracted from the cosine of the true class.
    """

    def __init__(
        self, num_classes: int, width: int, scale: float = 30.0, margin: float = 0.4
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, width))
        nn.init.xavier_uniform_(self.weight)
        self.scale, self.margin = scale, margin

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of the labelled rows of `(B, D)`; 0, with a gradient of 0, where none is.

        Args:
            descriptors: of any length; their direction counts.
            labels: int64 `(B,)`, `MISSING` where unknown.
        """
        unit = functional.normalize(descriptors.float(), dim=1)
        cosine = functional.linear(unit, functional.normalize(self.weight, dim=1))
        known = (labels != MISSING).to(cosine.dtype)[:, None]
        lowered = cosine.scatter_add(1, labels.clamp(min=0)[:, None], -self.margin * known)
        return masked_cross_entropy(self.scale * lowered, labels)


def _mined(
    similarity: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """The pairs that tell something: negatives above the worst positive, and the reverse."""
    # One entry more, for a row that has none.
    positives = functional.pad(
        similarity.masked_fill(~positive, torch.inf), (0, 1), value=torch.inf
    )
    negatives = functional.pad(
        similarity.masked_fill(~negative, -torch.inf), (0, 1), value=-torch.inf
    )
    lowest_positive = positives.amin(dim=1, keepdim=True)
    highest_negative = negatives.amax(dim=1, keepdim=True)
    return (
        positive & (similarity < highest_negative + margin),
        negative & (similarity > lowest_positive - margin),
    )


def _soft_sum(exponents: Tensor, counted: Tensor) -> Tensor:
    """log(1 + sum of exp) of the counted entries of each row; 0 where none is counted."""
    kept = exponents.masked_fill(~counted, -torch.inf)
    return functional.pad(kept, (1, 0), value=0.0).logsumexp(dim=1)
