"""The partial convolution against a loop over its formula."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.inpainting.partial_conv import PartialConv2d


def by_loop(features, masks, weight, bias, stride):
    """Equations 1 and 2 of the paper, window by window, for one photo `(C, H, W)`."""
    out, channels, kernel, _ = weight.shape
    half, (_, height, width) = kernel // 2, features.shape
    rows, columns = (len(range(0, side, stride)) for side in (height, width))
    result, mask = np.zeros((out, rows, columns)), np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            known, total = 0, np.zeros(out)
            for c in range(channels):
                for a in range(kernel):
                    for b in range(kernel):
                        y, x = i * stride + a - half, j * stride + b - half
                        if 0 <= y < height and 0 <= x < width and masks[c, y, x]:
                            known += 1
                            total += weight[:, c, a, b] * features[c, y, x]
            if known:
                result[:, i, j] = total * channels * kernel**2 / known + bias
                mask[i, j] = 1
    return result, mask


@pytest.mark.parametrize("groups", [(3,), (2, 1), (1, 1, 2)], ids=str)
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (1, 1)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_equals_the_loop(groups, kernel, stride, has_bias):
    torch.manual_seed(0)
    conv = PartialConv2d(groups, 4, kernel, stride, has_bias)
    if conv.bias is not None:
        conv.bias.data.normal_()
    features = torch.randn(2, sum(groups), 9, 8)
    masks = (torch.rand(2, len(groups), 9, 8) > 0.6).float()
    masks[0, :, :6, :6] = 0  # windows with nothing known
    result, mask = conv(features, masks)
    bias = np.zeros(4) if conv.bias is None else conv.bias.detach().numpy().ravel()
    for n in range(2):
        spread = np.repeat(masks[n].numpy(), groups, axis=0)
        weight = conv.conv.weight.detach().numpy()
        expected, known = by_loop(features[n].numpy(), spread, weight, bias, stride)
        assert (known == 0).any() or n
        np.testing.assert_allclose(result[n].detach().numpy(), expected, atol=1e-4)
        np.testing.assert_array_equal(mask[n, 0].numpy(), known)


def test_where_all_is_known_it_is_a_convolution():
    conv = PartialConv2d([3], 5, 3)
    conv.bias.data.normal_()
    features = torch.randn(1, 3, 8, 8)
    result, mask = conv(features, torch.ones(1, 1, 8, 8))
    plain = functional.conv2d(features, conv.conv.weight, conv.bias.flatten())
    torch.testing.assert_close(result[..., 1:-1, 1:-1], plain)
    assert mask.all()


def test_nothing_known_gives_nothing_not_even_the_bias():
    conv = PartialConv2d([3], 5, 3)
    conv.bias.data.fill_(7)
    result, mask = conv(torch.randn(1, 3, 6, 6), torch.zeros(1, 1, 6, 6))
    assert not result.any()
    assert not mask.any()


def test_what_the_hole_hides_does_not_matter_and_gets_no_gradient():
    conv = PartialConv2d([3], 4, 3)
    features = torch.randn(1, 3, 8, 8, requires_grad=True)
    mask = torch.ones(1, 1, 8, 8)
    mask[..., 2:7, 2:7] = 0
    result, _ = conv(features, mask)
    result.square().sum().backward()
    assert not (features.grad * (1 - mask)).any()
    assert (features.grad * mask).any()
    other, _ = conv(features + 100 * (1 - mask), mask)
    torch.testing.assert_close(other, result)


def test_one_photo_is_the_same_in_any_batch():
    conv = PartialConv2d([2, 1], 4, 3, stride=2)
    features, masks = torch.randn(8, 3, 7, 7), (torch.rand(8, 2, 7, 7) > 0.5).float()
    together, _ = conv(features, masks)
    torch.testing.assert_close(conv(features[3:4], masks[3:4])[0], together[3:4])


@pytest.mark.parametrize(("channels", "kernel"), [([3], 4), ([], 3), ([0], 3)])
def test_impossible_windows_are_refused(channels, kernel):
    with pytest.raises(ValueError, match="odd kernel"):
        PartialConv2d(channels, 4, kernel)
