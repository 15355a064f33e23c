"""Synthetic night: darker, in range, the same for a seed; each part against a loop."""

import math

import pytest
import torch

from data.linear_light import light_colour
from data.night import NIGHTS, Lamps, PhysicalNight, SmartNight, lamp_light, sky_share, solarised
from data.toy.camera import Light, Pose, photograph
from data.toy.town import build_town

PLAIN = {
    "sky": (0.0, 0.0),
    "kelvin": (6504.0, 6504.0),
    "lamps": (0, 0),
    "full_well": (1e7, 1e7),
    "read_noise": (0.0, 0.0),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def day():
    """A street of the made-up town by day, uint8 (3, 48, 64)."""
    pixels = photograph(build_town(0, (1, 1)), Pose(20.0, 0.0, 90.0), (48, 64), light=Light())
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


@pytest.mark.parametrize("name", NIGHTS)
@pytest.mark.parametrize("seed", range(5))
def test_night_is_darker_in_range_and_of_the_same_kind(name, seed, day):
    of_bytes = NIGHTS[name](day, generator(seed))
    of_floats = NIGHTS[name](day.float() / 255, generator(seed))
    assert (of_bytes.dtype, of_bytes.shape) == (torch.uint8, day.shape)
    assert (of_floats.dtype, of_floats.shape) == (torch.float32, day.shape)
    assert 0 <= of_floats.min() <= of_floats.max() <= 1
    assert float(of_bytes.float().mean()) < 0.6 * float(day.float().mean())
    assert (of_bytes.float() / 255 - of_floats).abs().max() <= 0.5 / 255 + 1e-6
    assert len(of_bytes.unique()) > 10  # dark, not black


@pytest.mark.parametrize("name", NIGHTS)
def test_a_seed_gives_the_same_night_and_another_another(name, day):
    kept = day.clone()
    first, again, other = (NIGHTS[name](day, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(day, kept)


def test_solarising_is_a_loop():
    picture = torch.rand(3, 4, 5, generator=generator())
    found = solarised(picture, 0.6)
    for before, after in zip(picture.flatten().tolist(), found.flatten().tolist(), strict=True):
        assert after == pytest.approx(1 - before if before >= 0.6 else before, abs=1e-6)


def test_smart_night_is_its_steps_by_hand():
    night = SmartNight((0.7, 0.7), (0.4, 0.4), (0.5, 0.5), (1.25, 1.25))
    photo = torch.tensor([0.8, 0.5, 0.1]).view(3, 1, 1)
    red, green, blue = 0.4 * 0.2, 0.4 * 0.5, 0.4 * 0.1
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = [grey + 0.5 * (value - grey) for value in (red, green, blue)]
    expected = [expected[0] / 1.25, expected[1], expected[2] * 1.25]
    torch.testing.assert_close(night(photo, generator())[:, 0, 0], torch.tensor(expected))


def test_without_lamps_sky_and_noise_night_is_an_exposure(day):
    """The whole chain against a loop over one value at a time."""
    night = PhysicalNight(stops=(-3.0, -3.0), **PLAIN)(day, generator())
    colour = light_colour(6504).tolist()
    for channel in range(3):
        for y, x in ((0, 0), (20, 31), (47, 63)):
            value = int(day[channel, y, x]) / 255
            light = value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
            light = min(1.0, light / 8 * colour[channel])
            bent = 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055
            assert abs(int(night[channel, y, x]) - 255 * bent) <= 1.01


def test_the_longer_the_exposure_the_brighter(day):
    means = [
        float(PhysicalNight(stops=(stops, stops), **PLAIN)(day, generator()).float().mean())
        for stops in (-6, -4, -2, -1)
    ]
    assert means == sorted(means)
    assert means[0] < means[-1] / 2


def test_lamps_light_and_glow_as_a_loop_says():
    colour = torch.stack([light_colour(2000), light_colour(4000)])
    lamps = Lamps(
        *torch.tensor([[0.2, 0.5], [0.3, 0.9], [0.01, 0.02], [0.1, 0.2], [0.5, 0.3]]), colour
    )
    height, width = 9, 12
    lit, glow = lamp_light(lamps, height, width)
    for y in range(height):
        for x in range(width):
            for channel in range(3):
                light = halo = 0.0
                for down, across, core, reach, strength, tint in zip(*lamps, strict=True):
                    away = math.hypot(y + 0.5 - down * height, x + 0.5 - across * width) / width
                    light += float(strength * tint[channel]) * math.exp(-((away / reach) ** 2))
                    halo += float(tint[channel]) * 2 / (1 + float(away / core) ** 2)
                assert float(lit[channel, y, x]) == pytest.approx(light, rel=1e-4, abs=1e-6)
                assert float(glow[channel, y, x]) == pytest.approx(halo, rel=1e-4, abs=1e-6)


def test_a_lamp_is_the_brightest_place_and_has_its_colour(day):
    dark = PLAIN | {"lamps": (1, 1), "lamp_kelvin": (2000.0, 2000.0)}
    night = PhysicalNight(stops=(-6.0, -6.0), **dark)(day // 4, generator(2)).float()
    brightest = night.sum(dim=0).argmax()
    at_lamp = night.flatten(1)[:, brightest]
    assert at_lamp[0] == 255
    assert at_lamp[0] > at_lamp[2]
    assert night.sum(dim=0).flatten()[brightest] > 4 * night.sum(dim=0).median()


def test_the_sky_darkens_more_than_the_street(day):
    share = sky_share(day.float() / 255)[0]
    assert share[:8].mean() > 0.3
    assert share[24:].max() == 0  # nothing below the middle is taken for sky
    plain = PhysicalNight(stops=(-3.0, -3.0), **PLAIN)(day, generator())
    darker = PhysicalNight(stops=(-3.0, -3.0), **(PLAIN | {"sky": (0.9, 0.9)}))(day, generator())
    is_sky = share > 0.5
    assert (darker[:, is_sky].float() < 0.7 * plain[:, is_sky].float()).float().mean() > 0.9
    street = darker[:, 24:].float() - plain[:, 24:].float()
    assert street.abs().max() <= 1  # a photon more or less


@pytest.mark.parametrize("name", NIGHTS)
@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        (torch.zeros(4, 4), r"\(3, H, W\)"),
        (torch.zeros(1, 4, 4), r"\(3, H, W\)"),
        (torch.zeros(3, 0, 4), r"\(3, H, W\)"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "uint8 or floats"),
        (torch.full((3, 4, 4), 1.5), "in 0..1"),
        (torch.full((3, 4, 4), float("nan")), "in 0..1"),
    ],
)
def test_what_is_no_photo_is_refused(name, photo, reason):
    with pytest.raises(ValueError, match=reason):
        NIGHTS[name](photo, generator())


@pytest.mark.parametrize(
    "settings",
    [
        {"stops": (1.0, 2.0)},
        {"stops": (-1.0, -2.0)},
        {"sky": (0.0, 1.5)},
        {"kelvin": (100.0, 200.0)},
        {"full_well": (0.0, 1.0)},
        {"lamps": (-1, 2)},
        {"read_noise": (0.0, float("nan"))},
    ],
)
def test_impossible_nights_are_refused(settings):
    with pytest.raises(ValueError, match="must be a range within"):
        PhysicalNight(**settings)
    with pytest.raises(ValueError, match="must be a range within"):
        SmartNight(threshold=(0.9, 0.1))
