"""The loss of one rank, such that the ranks' mean gradient is that of their batches joined.

Each part k of the loss is a mean over the n_rk photos of rank r that carry its label. Averaging
ranks, as DDP and FSDP do, would give the photos of a rank with few labels more weight. So rank r
minimises

    sum over parts k of  w_k * (n_rk / mean over ranks of n_k) * part_rk

whose mean over the ranks is

    sum over parts k of  w_k * (sum over r of n_rk part_rk) / (sum over r of n_rk).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from models.losses.settings import LossSettings
from partitioning.partition import LEVELS


def joined_loss(
    parts: Mapping[str, Tensor],
    weights: Mapping[str, float],
    counts: Mapping[str, Tensor],
    mean_over_ranks: Callable[[Tensor], Tensor],
) -> Tensor:
    """Weigh this rank's parts.

    Args:
        parts: name -> mean over this rank's labelled photos, a scalar.
        weights: name -> weight in the loss.
        counts: name -> how many photos those are.
        mean_over_ranks: takes and gives a tensor `(parts,)`.
    """
    ours = torch.stack([counts[name] for name in parts]).float()
    shares = ours / mean_over_ranks(ours.clone()).clamp(min=1e-9)
    factors = shares.unbind()
    terms = [
        weights[name] * f * part for f, (name, part) in zip(factors, parts.items(), strict=True)
    ]
    return torch.stack(terms).sum()


def part_weights(settings: LossSettings, levels: tuple[str, ...]) -> dict[str, float]:
    """Name -> weight of each part that a `GeocellLoss` over `levels` has."""
    by_level = dict(zip(LEVELS, settings.level_weights, strict=True))
    weights = {level: by_level[level] for level in levels} | {"scene": settings.scene_weight}
    if settings.consistency:
        weights["consistency"] = settings.consistency
    if settings.retrieval != "none":
        weights["retrieval"] = settings.retrieval_weight
    return weights
