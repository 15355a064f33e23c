"""Make night of a day photo, two ways: by changing its values, or by changing its light.

`SmartNight` works on values, as reference implementations of night augmentation do: solarise (the
bright sky turns dark; Cubuk et al., "AutoAugment", 2019, https://arxiv.org/abs/1805.09501, has the
operation), then little brightness and other colours. `PhysicalNight` works in linear light
(data/linear_light.py): a short exposure, a darker sky, the colour of lamps instead of the sun's,
lamps in the picture with what they light and their glow, and the noise of a sensor that got little
light. Neither knows what a photo shows: sky is guessed, lamps hang anywhere. Both are SYNTHETIC
night. Deterministic for a generator's state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from data.linear_light import (
    COOLEST_K,
    HOTTEST_K,
    light_colour,
    sensor_noise,
    to_linear,
    to_srgb,
)
from data.transforms import LUMA

Range = tuple[float, float]  # drawn from uniformly
Night = Callable[[Tensor, torch.Generator], Tensor]
SKY_LUMA = (0.45, 0.75)  # values from which on something high up may be, and surely is, sky
LAMP_HEIGHTS = (0.05, 0.6)  # of the picture's height, from the top: street lamps and windows
LAMP_CORES, LAMP_REACHES = (0.004, 0.012), (0.08, 0.25)  # shares of the picture's longer side
MOST_LAMPS = 32  # each takes some 100 MB of a photo of 12 megapixels


@dataclass(frozen=True)
class SmartNight:
    """Solarise, darken, recolour.

    Attributes:
        threshold: Values from it on are turned round, x to 1 - x.
        brightness: Factor on all values.
        saturation: Factor on the distance from grey.
        blue: Factor on blue; red is divided by it.
    """

    threshold: Range = (0.5, 0.8)
    brightness: Range = (0.2, 0.5)
    saturation: Range = (0.3, 0.9)
    blue: Range = (0.95, 1.35)

    def __post_init__(self) -> None:
        _check_ranges(self, ("threshold", "brightness", "saturation"), 0, 1)
        _check_ranges(self, ("blue",), 0.1, 10)

    def __call__(self, rgb: Tensor, generator: torch.Generator) -> Tensor:
        """Change `(3, H, W)`, uint8 or floats in 0..1; the same shape and kind comes out.

        Raises:
            ValueError: another shape or kind, or values outside of 0..1.
        """
        picture = as_floats(rgb)
        threshold, brightness, saturation, blue = (
            _drawn(bounds, generator)
            for bounds in (self.threshold, self.brightness, self.saturation, self.blue)
        )
        picture = solarised(picture, threshold) * brightness
        grey = _luma(picture)
        picture = grey + saturation * (picture - grey)
        cast = torch.tensor([1 / blue, 1.0, blue]).view(3, 1, 1)
        return _as_given((picture * cast).clamp(0, 1), rgb)


@dataclass(frozen=True)
class PhysicalNight:
    """A short exposure of a place that lamps light.

    Attributes:
        stops: Exposure of what the sky still lights; -3 is an eighth of the day's light.
        sky: Share of the sky's light that is taken away besides.
        kelvin: Colour temperature of the light all over.
        lamps: Least and greatest number of lamps.
        lamp_kelvin: Colour temperature of each.
        lamp_strength: Light that a lamp gives to what stands beside it; the day's is 1.
        full_well: Electrons that white stands for.
        read_noise: Electrons, standard deviation.
    """

    stops: Range = (-4.5, -2.5)
    sky: Range = (0.7, 0.95)
    kelvin: Range = (2700.0, 9000.0)
    lamps: tuple[int, int] = (1, 6)
    lamp_kelvin: Range = (1900.0, 4500.0)
    lamp_strength: Range = (0.1, 0.6)
    full_well: Range = (300.0, 2000.0)
    read_noise: Range = (1.0, 6.0)

    def __post_init__(self) -> None:
        _check_ranges(self, ("sky",), 0, 1)
        _check_ranges(self, ("kelvin", "lamp_kelvin"), COOLEST_K, HOTTEST_K)
        _check_ranges(self, ("lamp_strength", "read_noise"), 0, float("inf"))
        _check_ranges(self, ("lamps",), 0, MOST_LAMPS)
        if any(count != int(count) for count in self.lamps):
            raise ValueError(f"lamps must be whole numbers, got {self.lamps}")
        _check_ranges(self, ("full_well",), 1, float("inf"))
        _check_ranges(self, ("stops",), -20, 0)

    def __call__(self, rgb: Tensor, generator: torch.Generator) -> Tensor:
        """Change `(3, H, W)`, uint8 or floats in 0..1; the same shape and kind comes out.

        Raises:
            ValueError: another shape or kind, or values outside of 0..1.
        """
        picture = as_floats(rgb)
        stops, sky, kelvin, full_well, read_noise = (
            _drawn(bounds, generator)
            for bounds in (self.stops, self.sky, self.kelvin, self.full_well, self.read_noise)
        )
        lamps = self._hung(generator)
        day, share = to_linear(picture), sky_share(picture)
        ambient = 2.0**stops * light_colour(kelvin).view(3, 1, 1) * (1 - sky * share)
        lit, glow = lamp_light(lamps, *picture.shape[1:])
        night = day * (ambient + lit * (1 - share)) + glow  # no lamp lights the sky
        night = sensor_noise(night.clamp(0, 1), full_well, read_noise, generator)
        return _as_given(to_srgb(night), rgb)

    def _hung(self, generator: torch.Generator) -> "Lamps":
        """Draw lamps."""
        least, most = self.lamps
        count = int(torch.randint(int(least), int(most) + 1, (), generator=generator))
        draws = torch.rand(count, 6, generator=generator)
        bounds = torch.tensor(
            [LAMP_HEIGHTS, (0, 1), LAMP_CORES, LAMP_REACHES, self.lamp_strength, self.lamp_kelvin]
        )
        lamps = bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) * draws
        colours = [light_colour(kelvin) for kelvin in lamps[:, 5].tolist()]
        down, across, core, reach, strength = lamps[:, :5].unbind(dim=1)
        colour = torch.stack(colours) if count else torch.zeros(0, 3)
        return Lamps(down, across, core, reach, strength, colour)


class Lamps(NamedTuple):
    """Lamps in a picture, N of them; lengths as shares of its longer side.

    Attributes:
        down: `(N,)`, from the top, as a share of the height.
        across: `(N,)`, from the left, as a share of the width.
        core: `(N,)`, radius of the lamp itself.
        reach: `(N,)`, how far it lights what stands there.
        strength: `(N,)`, of that light beside the lamp; the day's is 1.
        colour: `(N, 3)`, linear sRGB.
    """

    down: Tensor
    across: Tensor
    core: Tensor
    reach: Tensor
    strength: Tensor
    colour: Tensor


def lamp_light(lamps: Lamps, height: int, width: int) -> tuple[Tensor, Tensor]:
    """What lamps give a picture.

    Returns:
        Light on what is there, to multiply by, and glow, to add; linear, `(3, H, W)` each. Light
        falls as exp(-(d / reach)**2); the glow of lens and air as 2 / (1 + (d / core)**2), white
        in the lamp's middle.
    """
    side = max(height, width)
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    away_down = rows[None] - lamps.down[:, None] * height
    away_across = columns[None] - lamps.across[:, None] * width
    square = (away_down[:, :, None] ** 2 + away_across[:, None, :] ** 2) / side**2  # (N, H, W)
    reach, core, strength = (
        part[:, None, None] for part in (lamps.reach, lamps.core, lamps.strength)
    )
    lit = strength * torch.exp(-square / reach**2)
    glow = 2 / (1 + square / core**2)
    return tuple(torch.einsum("nhw,nc->chw", light, lamps.colour) for light in (lit, glow))  # type: ignore[return-value]


def solarised(picture: Tensor, threshold: float) -> Tensor:
    """Turn round what is `threshold` or brighter: x to 1 - x."""
    return torch.where(picture >= threshold, 1 - picture, picture)


def sky_share(picture: Tensor) -> Tensor:
    """How likely each pixel of `(3, H, W)` is sky, `(1, H, W)` in 0..1: bright, and high up.

    A guess: a white wall in the upper half counts too. With a segmentation map one would know.
    """
    low, high = SKY_LUMA
    is_bright = ((_luma(picture) - low) / (high - low)).clamp(0, 1)
    height = picture.shape[1]
    is_high = (2 - 4 * (torch.arange(height) + 0.5) / height).clamp(0, 1)  # 1 in the top quarter
    return is_bright * is_high[:, None]


def as_floats(rgb: Tensor) -> Tensor:
    """`(3, H, W)`, uint8 or floats in 0..1, as float32 in 0..1.

    Raises:
        ValueError: another shape or kind, or values outside of 0..1.
    """
    if rgb.ndim != 3 or rgb.shape[0] != 3 or 0 in rgb.shape:
        raise ValueError(f"a photo must be (3, H, W), got {tuple(rgb.shape)}")
    if rgb.dtype == torch.uint8:
        return rgb.float() / 255
    if not rgb.is_floating_point():
        raise ValueError(f"a photo must be uint8 or floats, got {rgb.dtype}")
    if not bool(((rgb >= 0) & (rgb <= 1)).all()):  # not a number is neither
        raise ValueError("a photo of floats must lie in 0..1; divide by 255, and drop what is NaN")
    return rgb.float()


def _as_given(picture: Tensor, like: Tensor) -> Tensor:
    if like.dtype == torch.uint8:
        return (picture * 255).round().to(torch.uint8)
    return picture.to(like.dtype)


def _drawn(bounds: Range, generator: torch.Generator) -> float:
    low, high = bounds
    return low + (high - low) * float(torch.rand((), generator=generator))


def _luma(picture: Tensor) -> Tensor:
    return torch.einsum("c,chw->hw", torch.tensor(LUMA), picture)[None]


def _check_ranges(settings: object, names: tuple[str, ...], least: float, most: float) -> None:
    for name in names:
        low, high = getattr(settings, name)
        if not least <= low <= high <= most:
            raise ValueError(
                f"{name} must be a range within {least:g}..{most:g}, got {low}, {high}"
            )


NIGHTS: dict[str, Night] = {"smart": SmartNight(), "physical": PhysicalNight()}
