"""Photos in linear light: sRGB's transfer curve, exposure, the colour of a light, a sensor's noise.

A camera writes light not as it is but bent by the curve of IEC 61966-2-1 (sRGB); what happens to
light itself, such as exposure or a lamp, is a product or a sum only before that curve. Colours of
glowing bodies follow Kim et al., "Design of Advanced Color Temperature Control System for HDTV
Applications", J. Korean Physical Society 41, 2002 (cubic fit of the Planckian locus). Noise is
photons arriving by chance plus what reading them out adds: Foi et al., "Practical
Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data", 2008.
"""

import torch
from torch import Tensor

COOLEST_K, HOTTEST_K = 1667.0, 25_000.0  # where the fit holds
# From CIE XYZ to linear sRGB, IEC 61966-2-1.
FROM_XYZ = (
    (3.2406, -1.5372, -0.4986),
    (-0.9689, 1.8758, 0.0415),
    (0.0557, -0.2040, 1.0570),
)


def to_linear(srgb: Tensor) -> Tensor:
    """Values of a photo, 0..1, to shares of the light that is white."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Tensor) -> Tensor:
    """Shares of the light that is white, to values of a photo; what is above white is white."""
    light = linear.clamp(0, 1)
    # The power of nothing has no slope: below the knee it is not used, but must not be infinite.
    bent = 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, light * 12.92, bent)


def exposed(srgb: Tensor, stops: float) -> Tensor:
    """A photo, 0..1, as if exposed 2**stops times as long."""
    return to_srgb(to_linear(srgb) * 2.0**stops)


def light_colour(kelvin: float) -> Tensor:
    """Linear sRGB `(3,)` of a glowing body's light, of luminance 1; about 1, 1, 1 at 6504 K.

    Raises:
        ValueError: outside of 1667 to 25,000 K.
    """
    if not COOLEST_K <= kelvin <= HOTTEST_K:
        raise ValueError(
            f"colour temperature must lie in {COOLEST_K:g}..{HOTTEST_K:g} K, got {kelvin:g}"
        )
    x, y = _chromaticity(kelvin)
    xyz = torch.tensor([x / y, 1.0, (1 - x - y) / y])
    return (torch.tensor(FROM_XYZ) @ xyz).clamp(min=0)


def sensor_noise(
    linear: Tensor, full_well: float, read_noise: float, generator: torch.Generator
) -> Tensor:
    """Light as a sensor counts it.

    Args:
        linear: Shares of the light that is white.
        full_well: Electrons that white stands for; the fewer, the more the shot noise shows.
        read_noise: Standard deviation that reading adds, electrons.
        generator: Of the noise.

    Returns:
        The same shape: of mean `linear` and variance linear / full_well + (read_noise /
        full_well)**2, neither rounded nor cut off at 0 and 1.

    Raises:
        ValueError: no electrons, or a negative read noise.
    """
    if not (full_well > 0 and read_noise >= 0):
        raise ValueError(
            f"full_well must be positive and read_noise not negative, got {full_well:g} and "
            f"{read_noise:g} electrons"
        )
    counted = torch.poisson(linear.clamp(min=0) * full_well, generator=generator)
    read = torch.randn(linear.shape, generator=generator) * read_noise
    return (counted + read) / full_well


def _chromaticity(kelvin: float) -> tuple[float, float]:
    """CIE 1931 x and y of the Planckian locus."""
    k = 1e3 / kelvin
    if kelvin <= 4000:
        x = -0.2661239 * k**3 - 0.2343589 * k**2 + 0.8776956 * k + 0.179910
    else:
        x = -3.0258469 * k**3 + 2.1070379 * k**2 + 0.2226347 * k + 0.240390
    if kelvin <= 2222:
        return x, -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    if kelvin <= 4000:
        return x, -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    return x, 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
