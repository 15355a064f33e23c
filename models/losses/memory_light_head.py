"""Cross-entropy over 100,000 cells without ever holding a batch's logits.

A head's logits z = x W^T + b, `(B, C)`, are wanted for three numbers a photo only:

    log_sum  = log sum over j of exp(z_j)
    expected = sum over j of q_j z_j        q the target; z_y where it is the true cell y alone
    mean     = sum over j of z_j / C

and cross-entropy with label smoothing e is log_sum - (1 - e) expected - e mean. `chunked_terms`
adds them up over blocks of cells (the running maximum of Milakov and Gimelshein, "Online normalizer
calculation for softmax", 2018, https://arxiv.org/abs/1805.02867) and computes each block again on
the way back, where its gradient

    dz_j = p_j dlog_sum + q_j dexpected + [j = y] dtrue + dmean / C

is used up at once. Peak memory is that of one block; the price is a fourth product of B x D x C
beside the dense head's three. `dense_terms` gives the same from whole logits. The figures:
`python -m benchmarks.heads`.

`sampled_cross_entropy` is cheaper than either, and an estimate: the true cell against S others
drawn at random, their logits raised by log((C - 1) / S), so that they stand for all C - 1 (Jean et
al., "On Using Very Large Target Vocabulary for Neural Machine Translation", ACL 2015,
https://arxiv.org/abs/1412.2007). With every other cell drawn it is the cross-entropy itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from models.losses.multi_task import MISSING, masked_mean

CHUNK = 4096  # cells in a block
# Blocks of the log of the target but for a constant a photo: (start, stop) -> (B, stop - start).
LogWeights = Callable[[int, int], Tensor]


class LinearLogits(NamedTuple):
    """Logits not yet computed.

    Attributes: features `(B, D)`; weight `(C, D)` and bias `(C,)` of the head.
    """

    features: Tensor
    weight: Tensor
    bias: Tensor

    def whole(self) -> Tensor:
        """The logits `(B, C)`."""
        return functional.linear(self.features, self.weight, self.bias)


class Terms(NamedTuple):
    """What of a photo's logits a loss needs, each `(B,)`; see the module's formulas.

    Attributes: log_sum; expected; true, the logit z_y (0 where y is missing); mean.
    """

    log_sum: Tensor
    expected: Tensor
    true: Tensor
    mean: Tensor


def dense_terms(logits: Tensor, labels: Tensor, log_weights: LogWeights | None = None) -> Terms:
    """The terms of whole logits `(B, C)`; arguments as `chunked_terms`."""
    logits = _at_least_float32(logits)
    true = logits.gather(1, labels.clamp(min=0)[:, None])[:, 0].masked_fill(labels == MISSING, 0)
    expected = true
    if log_weights is not None:
        expected = (log_weights(0, logits.shape[1]).softmax(dim=1) * logits).sum(dim=1)
    return Terms(logits.logsumexp(dim=1), expected, true, logits.mean(dim=1))


def chunked_terms(
    logits: LinearLogits,
    labels: Tensor,
    log_weights: LogWeights | None = None,
    chunk: int = CHUNK,
) -> Terms:
    """The terms of logits that are computed block by block, forward and backward.

    Args:
        logits: features and head.
        labels: true cell y, int64 `(B,)`, `MISSING` where unknown.
        log_weights: gives the target's logs; None where the target is the true cell alone.
        chunk: cells in a block.
    """
    device = logits.features.device.type
    tensors = list(logits)
    if torch.is_autocast_enabled(device):  # the products run as the dense head's would
        dtype = torch.get_autocast_dtype(device)
        tensors = [tensor.to(dtype) for tensor in tensors]
    with torch.autocast(device, enabled=False):
        terms = Terms(*_ChunkedTerms.apply(*tensors, labels, log_weights, chunk))
    return terms if log_weights is not None else terms._replace(expected=terms.true)


def sampled_cross_entropy(
    logits: LinearLogits, labels: Tensor, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """Estimate the cross-entropy from `samples` cells drawn anew, without replacement.

    A drawn cell that is a photo's own is left out for that photo; its others then number
    `samples` - 1 and are raised accordingly. Mean over the labelled rows, 0 where there is none.

    Args:
        logits: features and head.
        labels: true cell, int64 `(B,)`, `MISSING` where unknown.
        samples: S, at least 2; all cells are taken where there are no more.
        generator: of the draw, on the CPU.

    Raises:
        ValueError: fewer than 2 samples.
    """
    if samples < 2:
        raise ValueError(f"a sampled softmax needs at least 2 samples, got {samples}")
    features, weight, bias = logits
    cells = len(weight)
    drawn = torch.randperm(cells, generator=generator)[:samples].to(features.device)
    true = labels.clamp(min=0)
    # One look-up for both: each would make a gradient of the whole weight's size.
    taken = torch.cat([drawn, true])
    rows, shifts = weight[taken], bias[taken]
    count = len(drawn)
    own = _at_least_float32((features * rows[count:]).sum(dim=1) + shifts[count:])
    others = _at_least_float32(functional.linear(features, rows[:count], shifts[:count]))
    is_own = drawn == true[:, None]
    left = (~is_own).sum(dim=1, keepdim=True).clamp(min=1)
    others = others + torch.log((cells - 1) / left)
    others = others.masked_fill(is_own, -torch.inf)
    log_sum = torch.cat([own[:, None], others], dim=1).logsumexp(dim=1)
    return masked_mean(log_sum - own, labels != MISSING)


class _ChunkedTerms(torch.autograd.Function):
    """`chunked_terms` under one precision."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        labels: Tensor,
        log_weights: LogWeights | None,
        chunk: int,
    ) -> tuple[Tensor, ...]:
        cells = len(weight)
        rows = _at_least_float32(features).new_zeros(len(features))
        log_sum, log_mass = rows - torch.inf, rows - torch.inf
        expected, true, mean = rows.clone(), rows.clone(), rows.clone()
        for start, stop in _blocks(cells, chunk):
            z = _block(features, weight, bias, start, stop)
            log_sum = torch.logaddexp(log_sum, z.logsumexp(dim=1))
            mean += z.sum(dim=1) / cells
            here, column = _inside(labels, start, stop)
            true = torch.where(here, z.gather(1, column)[:, 0], true)
            if log_weights is not None:
                logs = log_weights(start, stop).to(z.dtype)
                grown = torch.logaddexp(log_mass, logs.logsumexp(dim=1))
                part = ((logs - grown[:, None]).exp() * z).sum(dim=1)
                expected = expected * torch.exp(log_mass - grown) + part
                log_mass = grown
        ctx.save_for_backward(features, weight, bias, labels, log_sum, log_mass)
        ctx.log_weights, ctx.chunk = log_weights, chunk
        return log_sum, expected, true, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, bias, labels, log_sum, log_mass = ctx.saved_tensors
        by_sum, by_expected, by_true, by_mean = (g[:, None] for g in gradients)
        to_features = torch.zeros_like(features, dtype=log_sum.dtype)
        to_weight, to_bias = torch.empty_like(weight), torch.empty_like(bias)
        for start, stop in _blocks(len(weight), ctx.chunk):
            z = _block(features, weight, bias, start, stop)
            dz = (z - log_sum[:, None]).exp_().mul_(by_sum).add_(by_mean / len(weight))
            if ctx.log_weights is not None:
                logs = ctx.log_weights(start, stop).to(z.dtype)
                dz += (logs - log_mass[:, None]).exp_().mul_(by_expected)
            here, column = _inside(labels, start, stop)
            dz.scatter_add_(1, column, by_true * here[:, None])
            to_bias[start:stop] = dz.sum(dim=0)
            dz = dz.to(weight.dtype)
            to_features += dz @ weight[start:stop]
            to_weight[start:stop] = dz.T @ features
        return to_features.to(features.dtype), to_weight, to_bias, None, None, None


def _blocks(cells: int, chunk: int) -> list[tuple[int, int]]:
    return [(start, min(start + chunk, cells)) for start in range(0, cells, chunk)]


def _block(features: Tensor, weight: Tensor, bias: Tensor, start: int, stop: int) -> Tensor:
    """Logits of cells start..stop, float32 or more."""
    return _at_least_float32(functional.linear(features, weight[start:stop], bias[start:stop]))


def _inside(labels: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Which labels lie in a block, bool `(B,)`, and the columns they would have, `(B, 1)`."""
    here = (labels >= start) & (labels < stop)
    return here, (labels - start).clamp(0, stop - start - 1)[:, None]


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
