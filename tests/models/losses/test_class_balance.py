"""Weights of cells against loops over the papers' formulas."""

import math

import numpy as np
import pytest
import torch

from models.losses.class_balance import class_weights, focal_factor, log_prior

PHOTOS = np.array([50, 1000, 3, 1, 400])


def normalised(raw):
    mean = sum(n * w for n, w in zip(PHOTOS, raw, strict=True)) / sum(PHOTOS)
    return [w / mean for w in raw]


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_inverse_frequency_matches_a_loop(exponent):
    expected = normalised([1 / float(n) ** exponent for n in PHOTOS])
    ours = class_weights("inverse_frequency", PHOTOS, exponent)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@pytest.mark.parametrize("b", [0.0, 0.9, 0.999])
def test_effective_number_matches_the_sum_that_it_abbreviates(b):
    """The effective number of n photos is 1 + b + b^2 + ... + b^(n - 1)."""
    expected = normalised([1 / sum(b**i for i in range(n)) for n in PHOTOS])
    ours = class_weights("effective_number", PHOTOS, b)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_effective_number_keeps_its_digits_near_one():
    """As b goes to 1 the weights go to inverse frequency; 1 - b^n as written is 0 by then."""
    ours = class_weights("effective_number", PHOTOS, 1 - 1e-13)
    np.testing.assert_allclose(ours, class_weights("inverse_frequency", PHOTOS, 1.0), rtol=1e-8)


def test_weights_average_to_one_over_photos_and_one_cell_weighs_one():
    for name, strength in (("inverse_frequency", 0.7), ("effective_number", 0.99), ("focal", 2)):
        weights = class_weights(name, PHOTOS, strength)
        assert (PHOTOS * weights).sum() / PHOTOS.sum() == pytest.approx(1)
        np.testing.assert_allclose(class_weights(name, [7], strength), [1])


def test_the_prior_is_the_share_of_photos():
    np.testing.assert_allclose(np.exp(log_prior(PHOTOS)), [n / sum(PHOTOS) for n in PHOTOS])


def test_an_empty_cell_is_named():
    with pytest.raises(ValueError, match="1 cells hold no training photo, the first is class 2"):
        log_prior([3, 1, 0, 5])


def test_the_focal_factor_and_its_gradient_are_those_of_the_formula():
    p = torch.tensor([0.1, 0.5, 0.9, 0.999], dtype=torch.float64)
    logs = p.log().requires_grad_()
    factor = focal_factor(logs, 2.0)
    factor.sum().backward()
    for i, value in enumerate(p.tolist()):
        assert factor[i].item() == pytest.approx((1 - value) ** 2)
        # d/dlog p = p d/dp
        assert logs.grad[i].item() == pytest.approx(-2 * (1 - value) * value)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_a_sure_photo_gives_a_finite_gradient(gamma):
    logs = torch.tensor([0.0, -1e-9, -200.0], requires_grad=True)
    factor = focal_factor(logs, gamma)
    factor.sum().backward()
    assert torch.isfinite(logs.grad).all()
    assert factor[2].item() == pytest.approx(1)
    assert math.isfinite(factor[0].item())
