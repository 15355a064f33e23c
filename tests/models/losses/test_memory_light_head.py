"""Blocks of logits against whole logits, against torch's own cross-entropy, and in memory."""

import math

import pytest
import torch
from torch.nn import functional

from models.losses.memory_light_head import (
    LinearLogits,
    chunked_terms,
    dense_terms,
    sampled_cross_entropy,
)
from models.losses.multi_task import masked_cross_entropy, masked_mean

LABELS = torch.tensor([0, -1, 36, 6, 7, 36, -1, 20])
CELLS = 37


def head(dtype=torch.float64, photos=8, cells=CELLS, width=5):
    generator = torch.Generator().manual_seed(0)
    shapes = ((photos, width), (cells, width), (cells,))
    tensors = [torch.randn(s, generator=generator, dtype=dtype) for s in shapes]
    return LinearLogits(*(tensor.requires_grad_() for tensor in tensors))


def log_weights_of(photos, cells, dtype=torch.float64):
    values = torch.randn(photos, cells, generator=torch.Generator().manual_seed(5), dtype=dtype)
    return lambda start, stop: 40 * values[:, start:stop]


def gradients(loss, logits):
    return torch.autograd.grad(loss, list(logits))


@pytest.mark.parametrize("chunk", [1, 7, 37, 1000])
@pytest.mark.parametrize("smoothed", [False, True])
def test_terms_and_gradients_are_the_dense_ones(chunk, smoothed):
    logits = head()
    target = log_weights_of(8, CELLS) if smoothed else None
    ours = chunked_terms(logits, LABELS, target, chunk)
    dense = dense_terms(logits.whole(), LABELS, target)
    for part, expected in zip(ours, dense, strict=True):
        torch.testing.assert_close(part, expected)
    weight = torch.linspace(-1, 2, 8, dtype=torch.float64)

    def combined(terms):
        return sum((i + 1) * (weight * part).sum() for i, part in enumerate(terms))

    pairs = zip(gradients(combined(ours), logits), gradients(combined(dense), logits), strict=True)
    for got, expected in pairs:
        torch.testing.assert_close(got, expected)


def test_dense_terms_match_loops():
    logits, target = head(), log_weights_of(8, CELLS)
    terms = dense_terms(logits.whole(), LABELS, target)
    for row, values in enumerate(logits.whole().tolist()):
        weights = [math.exp(w) for w in target(0, CELLS)[row].tolist()]
        expected = sum(w * z for w, z in zip(weights, values, strict=True)) / sum(weights)
        assert terms.expected[row].item() == pytest.approx(expected)
        assert terms.log_sum[row].item() == pytest.approx(math.log(sum(map(math.exp, values))))
        assert terms.mean[row].item() == pytest.approx(sum(values) / CELLS)
        label = LABELS[row].item()
        assert terms.true[row].item() == pytest.approx(values[label] if label >= 0 else 0)


def test_gradients_are_those_of_finite_differences():
    logits, target = head(), log_weights_of(8, CELLS)

    def loss(*tensors):
        terms = chunked_terms(LinearLogits(*tensors), LABELS, target, 8)
        return terms.log_sum - 0.7 * terms.expected + terms.true.square() - terms.mean

    assert torch.autograd.gradcheck(loss, list(logits))


def chunked_cross_entropy(features, weight, bias, labels, chunk=64):
    terms = chunked_terms(LinearLogits(features, weight, bias), labels, None, chunk)
    return masked_mean(terms.log_sum - terms.true, labels != -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cross_entropy_is_torchs_own(dtype):
    logits = head(dtype)
    ours = chunked_cross_entropy(*logits, LABELS, chunk=8)
    theirs = functional.cross_entropy(logits.whole(), LABELS, ignore_index=-1)
    torch.testing.assert_close(ours, theirs)
    for got, expected in zip(gradients(ours, logits), gradients(theirs, logits), strict=True):
        torch.testing.assert_close(got, expected)


def test_one_photo_no_label_and_one_cell():
    logits = head()
    whole = chunked_terms(logits, LABELS, None, 8)
    alone = chunked_terms(logits._replace(features=logits.features[3:4]), LABELS[3:4], None, 8)
    torch.testing.assert_close(torch.stack(alone)[:, 0], torch.stack(whole)[:, 3])
    unlabelled = chunked_cross_entropy(*logits, torch.full((8,), -1))
    assert unlabelled.item() == 0
    assert not any(g.any() for g in gradients(unlabelled, logits))
    none = logits._replace(features=logits.features[:0])
    assert chunked_cross_entropy(*none, LABELS[:0]).item() == 0
    one = head(cells=1)
    assert chunked_cross_entropy(*one, torch.zeros(8, dtype=torch.int64)).item() == 0


def test_large_logits_do_not_overflow():
    logits = head(torch.float32)
    large = logits._replace(features=1e4 * logits.features)
    ours = chunked_cross_entropy(*large, LABELS, chunk=8)
    torch.testing.assert_close(ours, masked_cross_entropy(large.whole(), LABELS))
    assert all(torch.isfinite(g).all() for g in gradients(ours, logits))


def test_under_autocast_it_computes_as_the_dense_head_does():
    logits = head(torch.float32, photos=8, cells=200, width=16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = chunked_cross_entropy(*logits, LABELS, chunk=64)
        dense = masked_cross_entropy(logits.whole(), LABELS)
    torch.testing.assert_close(ours, dense, rtol=1e-3, atol=1e-3)
    for got, expected in zip(gradients(ours, logits), gradients(dense, logits), strict=True):
        assert got.dtype == torch.float32
        assert functional.cosine_similarity(got.flatten(), expected.flatten(), dim=0) > 0.999


def test_no_tensor_of_all_logits_is_ever_made():
    """Every tensor that is saved for the way back or made on it holds less than B x C numbers."""
    photos, cells, chunk = 16, 5000, 100
    logits = head(torch.float32, photos, cells, width=2)
    largest = _LargestTensor()
    with largest:
        chunked_cross_entropy(*logits, torch.arange(photos), chunk=chunk).backward()
    assert largest.numel < photos * cells / 4
    with largest:  # the probe sees a dense head
        masked_cross_entropy(logits.whole(), torch.arange(photos)).backward()
    assert largest.numel >= photos * cells


class _LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
    """The most numbers in any tensor that an operation returns."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


def test_sampling_every_cell_is_the_cross_entropy():
    logits = head()
    ours = sampled_cross_entropy(logits, LABELS, CELLS)
    dense = masked_cross_entropy(logits.whole(), LABELS)
    torch.testing.assert_close(ours, dense)
    for got, expected in zip(gradients(ours, logits), gradients(dense, logits), strict=True):
        torch.testing.assert_close(got, expected)


def test_sampled_cells_stand_for_all_on_average():
    """The sum over other cells is estimated without bias; the loss but for the log's bend."""
    logits = head(photos=8)
    with torch.no_grad():
        draws = [
            sampled_cross_entropy(logits, LABELS, 12, torch.Generator().manual_seed(seed)).item()
            for seed in range(400)
        ]
        dense = masked_cross_entropy(logits.whole(), LABELS).item()
    assert sum(draws) / len(draws) == pytest.approx(dense, rel=0.1)
    with pytest.raises(ValueError, match="at least 2"):
        sampled_cross_entropy(logits, LABELS, 1)
