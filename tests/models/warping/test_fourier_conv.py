"""The convolution through the Fourier transform answers as the plain one does."""

import pytest
import torch
from torch import nn

from models.geowarp import SIDE, HomographyRegression
from models.warping.fourier_conv import FourierConv2d, quickened


@pytest.mark.parametrize(("kernel", "pad", "side"), [(7, 1, 15), (5, 1, 11), (5, 0, 9), (3, 2, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_as_the_plain_convolution(kernel, pad, side, bias):
    torch.manual_seed(kernel)
    conv = nn.Conv2d(6, 4, kernel, padding=pad, bias=bias)
    maps = torch.randn(3, 6, side, side)
    with torch.inference_mode():
        torch.testing.assert_close(
            FourierConv2d(conv, side)(maps), conv(maps), atol=1e-5, rtol=1e-5
        )


def test_a_quick_regression_answers_the_same():
    torch.manual_seed(0)
    regression = HomographyRegression()
    for layer in regression.conv:
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.1, 0.1)
            layer.running_var.uniform_(0.5, 2)
    regression.eval()
    correlations = torch.rand(2, SIDE * SIDE, SIDE, SIDE)
    quick = quickened(regression.conv, SIDE)
    assert sum(isinstance(layer, FourierConv2d) for layer in quick) == 2
    with torch.inference_mode():
        expected = regression.conv(correlations)
        torch.testing.assert_close(quick(correlations), expected, atol=1e-5, rtol=1e-4)
        assert expected.std() > 1e-3


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 2, 3, stride=2),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, (3, 5)),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
    ],
)
def test_other_convolutions_are_refused(conv):
    with pytest.raises(ValueError, match="no Fourier transform"):
        FourierConv2d(conv, 8)
