"""Light against loops over the formulas, Planck's law and the statistics of counting."""

import math

import pytest
import torch

from data.linear_light import exposed, light_colour, sensor_noise, to_linear, to_srgb


def bent(light):
    """IEC 61966-2-1, one value."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def straight(value):
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def test_the_curve_is_that_of_a_loop_and_turns_back():
    values = torch.linspace(0, 1, 257, dtype=torch.float64)
    linear = to_linear(values)
    expected = torch.tensor([straight(v) for v in values.tolist()], dtype=torch.float64)
    torch.testing.assert_close(linear, expected)
    back = torch.tensor([bent(v) for v in linear.tolist()], dtype=torch.float64)
    torch.testing.assert_close(to_srgb(linear), back)
    torch.testing.assert_close(to_srgb(linear), values, atol=1e-4, rtol=0)


def test_exposure_is_that_of_a_loop_and_grows_with_the_stops():
    values = torch.linspace(0, 1, 52, dtype=torch.float64)
    before = torch.full_like(values, -1)
    for stops in (-6, -3, -1.5, 0, 1):
        found = exposed(values, stops)
        expected = [bent(min(1.0, straight(v) * 2**stops)) for v in values.tolist()]
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)
        assert (found >= before).all()
        assert (found[1:] >= found[:-1]).all()
        before = found


def test_black_has_a_gradient():
    light = torch.zeros(3, requires_grad=True)
    to_srgb(light).sum().backward()
    assert torch.isfinite(light.grad).all()


def planck(kelvin):
    """Linear sRGB of a black body, luminance 1: Planck's law through the observer's curves.

    The curves are the lobes of Wyman, Sloan and Shirley, "Simple Analytic Approximations to the CIE
    XYZ Color Matching Functions", 2013, so the agreement is that of two fits.
    """

    def lobe(nm, height, middle, left, right):
        return height * math.exp(-0.5 * ((nm - middle) * (left if nm < middle else right)) ** 2)

    xyz = [0.0, 0.0, 0.0]
    for nm in range(380, 781):
        power = 1 / ((nm * 1e-9) ** 5 * math.expm1(0.014387769 / (nm * 1e-9 * kelvin)))
        xyz[0] += power * (
            lobe(nm, 0.362, 442.0, 0.0624, 0.0374)
            + lobe(nm, 1.056, 599.8, 0.0264, 0.0323)
            - lobe(nm, 0.065, 501.1, 0.0490, 0.0382)
        )
        xyz[1] += power * (
            lobe(nm, 0.821, 568.8, 0.0213, 0.0247) + lobe(nm, 0.286, 530.9, 0.0613, 0.0322)
        )
        xyz[2] += power * (
            lobe(nm, 1.217, 437.0, 0.0845, 0.0278) + lobe(nm, 0.681, 459.0, 0.0385, 0.0725)
        )
    x, y, z = (part / xyz[1] for part in xyz)
    return [
        3.2406 * x - 1.5372 * y - 0.4986 * z,
        -0.9689 * x + 1.8758 * y + 0.0415 * z,
        0.0557 * x - 0.2040 * y + 1.0570 * z,
    ]


@pytest.mark.parametrize("kelvin", [2000, 2700, 4000, 6504, 9000])
def test_the_colour_of_a_light_is_that_of_plancks_law(kelvin):
    expected = torch.tensor(planck(kelvin)).clamp(min=0)
    torch.testing.assert_close(light_colour(kelvin), expected, atol=0.02, rtol=0.03)


def test_daylight_is_nearly_white_and_lamps_are_redder():
    assert (light_colour(6504) - 1).abs().max() < 0.06
    lights = [light_colour(kelvin).tolist() for kelvin in (2000, 3000, 5000, 9000)]
    reds = [red / max(blue, 1e-6) for red, _, blue in lights]
    assert reds == sorted(reds, reverse=True)
    for kelvin in (1000, 30_000, float("nan")):
        with pytest.raises(ValueError, match="must lie in"):
            light_colour(kelvin)


@pytest.mark.parametrize("light", [0.0, 0.05, 0.5])
def test_noise_has_the_mean_and_variance_of_counting(light):
    full_well, read_noise = 400.0, 5.0
    generator = torch.Generator().manual_seed(1)
    noisy = sensor_noise(torch.full((200_000,), light), full_well, read_noise, generator)
    variance = light / full_well + (read_noise / full_well) ** 2
    # Five standard errors of each: of 200,000 draws, sqrt(variance / n) and variance sqrt(2 / n).
    assert float(noisy.mean()) == pytest.approx(light, abs=5 * math.sqrt(variance / 200_000))
    assert float(noisy.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / 200_000))


@pytest.mark.parametrize("wrong", [(0, 1), (-1, 1), (100, -1), (float("nan"), 1)])
def test_an_impossible_sensor_is_refused(wrong):
    with pytest.raises(ValueError, match="full_well must be positive"):
        sensor_noise(torch.zeros(2), *wrong, torch.Generator())
