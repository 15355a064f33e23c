"""Attention on maps against loops over the formulas."""

import math

import pytest
import torch

from models.places.attention import ATTENTIONS, CBAM, NonLocal

WIDTH = 6
SIZES = [(1, 1), (4, 5), (7, 3)]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_cbam(size):
    layer, maps = CBAM(WIDTH, reduction=2), torch.randn(2, WIDTH, *size)
    ours = layer(maps)
    first, _, second = layer.channels

    def network(vector):
        hidden = [
            max(0.0, float(row @ vector + b))
            for row, b in zip(first.weight, first.bias, strict=True)
        ]
        return [
            float(row @ torch.tensor(hidden) + b)
            for row, b in zip(second.weight, second.bias, strict=True)
        ]

    kernel = layer.places.weight[0]
    for b in range(2):
        means = torch.stack([maps[b, d].mean() for d in range(WIDTH)])
        maxima = torch.stack([maps[b, d].max() for d in range(WIDTH)])
        weights = [sigmoid(m + x) for m, x in zip(network(means), network(maxima), strict=True)]
        image = torch.stack([maps[b, d] * weights[d] for d in range(WIDTH)])
        for i in range(size[0]):
            for j in range(size[1]):
                total = 0.0
                for di in range(-3, 4):
                    for dj in range(-3, 4):
                        if 0 <= i + di < size[0] and 0 <= j + dj < size[1]:
                            place = image[:, i + di, j + dj]
                            total += float(kernel[0, di + 3, dj + 3] * place.max())
                            total += float(kernel[1, di + 3, dj + 3] * place.mean())
                expected = (image[:, i, j] * sigmoid(total)).tolist()
                assert ours[b, :, i, j].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_non_local(size):
    layer, maps = NonLocal(WIDTH, bottleneck=4).eval(), torch.randn(2, WIDTH, *size)
    torch.nn.init.normal_(layer.norm.weight)
    ours = layer(maps)
    scale = layer.norm.weight / torch.sqrt(layer.norm.running_var + layer.norm.eps)

    def at(conv, vector):
        return conv.weight[:, :, 0, 0] @ vector + conv.bias

    for b in range(2):
        places = [maps[b, :, i, j] for i in range(size[0]) for j in range(size[1])]
        for n, x in enumerate(places):
            logits = [float(at(layer.theta, x) @ at(layer.phi, y)) for y in places]
            powers = [math.exp(value - max(logits)) for value in logits]
            mixed = sum(p * at(layer.g, y) for p, y in zip(powers, places, strict=True)) / sum(
                powers
            )
            expected = (
                x + scale * (at(layer.back, mixed) - layer.norm.running_mean) + layer.norm.bias
            )
            found = ours[b].flatten(1)[:, n]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_non_local_block_starts_as_the_identity():
    maps = torch.randn(3, WIDTH, 4, 4)
    torch.testing.assert_close(NonLocal(WIDTH)(maps), maps)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_one_photo_is_weighed_as_among_eight(name):
    layer, maps = ATTENTIONS[name](WIDTH).eval(), torch.randn(8, WIDTH, 5, 3)
    together = layer(maps)
    for b in range(8):
        torch.testing.assert_close(layer(maps[b : b + 1])[0], together[b])
