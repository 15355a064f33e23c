"""What UNIT is trained on: six losses of the translator, one of the discriminators.

Liu et al., "Unsupervised Image-to-Image Translation Networks", 2017,
https://arxiv.org/abs/1703.00848; least squares in place of the GAN's logarithm: Mao et al., 2017,
https://arxiv.org/abs/1611.04076; features compared after an instance norm, so that they may change
their brightness: Huang et al., "Multimodal Unsupervised Image-to-Image Translation", 2018,
https://arxiv.org/abs/1804.04732. Each loss is the sum over both sides.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.places.local_features import Extractor, build_extractor
from models.translation.networks import SIDES, Translator
from models.translation.settings import UnitSettings

Loss = Callable[[str], Tensor]  # of one side
Judge = Callable[[Tensor], list[Tensor]]  # a discriminator
OTHER = {"day": "night", "night": "day"}
Pair = dict[str, Tensor]  # side -> pictures `(B, 3, H, W)`


class Losses(NamedTuple):
    """Losses of the translator before they are weighted.

    Attributes:
        gan: Judgements of the translations, against real.
        recon: Mean absolute difference of a photo and itself through its own side.
        kl: Mean square of the codes: the divergence from a standard normal, but for a half.
        cycle: As `recon`, through the other side and back.
        cycle_kl: As `kl`, of the translations' codes.
        perceptual: Mean square difference of the features of a photo and its translation.
    """

    gan: Tensor
    recon: Tensor
    kl: Tensor
    cycle: Tensor
    cycle_kl: Tensor
    perceptual: Tensor

    def total(self, settings: UnitSettings) -> Tensor:
        """Their weighted sum."""
        weights = [getattr(settings, f"{name}_weight") for name in self._fields]
        return sum((w * loss for w, loss in zip(weights, self, strict=True)), torch.tensor(0.0))


class Passed(NamedTuple):
    """A batch on its way through the translator; each side's name is that of the photos.

    Attributes:
        photos: What went in.
        codes: Of the photos.
        again: The photos through their own side.
        translated: The photos as the other side.
        cycle_codes: Of `translated`.
        cycled: `translated` back as the photos' side.
    """

    photos: Pair
    codes: Pair
    again: Pair
    translated: Pair
    cycle_codes: Pair
    cycled: Pair


def pass_through(translator: Translator, photos: Pair, generator: torch.Generator) -> Passed:
    """Encode, add the noise of the distribution, decode; both ways and back."""

    def drawn(mean: Tensor) -> Tensor:
        return mean + torch.randn(mean.shape, generator=generator, device=mean.device)

    codes = {side: translator.encode(photos[side], side) for side in SIDES}
    noisy = {side: drawn(codes[side]) for side in SIDES}
    again = {side: translator.decode(noisy[side], side) for side in SIDES}
    translated = {side: translator.decode(noisy[side], OTHER[side]) for side in SIDES}
    cycle_codes = {side: translator.encode(translated[side], OTHER[side]) for side in SIDES}
    cycled = {side: translator.decode(drawn(cycle_codes[side]), side) for side in SIDES}
    return Passed(photos, codes, again, translated, cycle_codes, cycled)


def translator_losses(
    passed: Passed, discriminators: Mapping[str, Judge], perceptual: "Perceptual | None"
) -> Losses:
    """The six losses.

    Args:
        passed: What the translator made.
        discriminators: side -> its discriminator.
        perceptual: None counts 0.
    """
    seen = torch.zeros((), device=passed.photos["day"].device)
    if perceptual is not None:
        seen = _over_sides(lambda s: perceptual(passed.translated[s], passed.photos[s]))
    return Losses(
        _over_sides(lambda s: judged(discriminators[OTHER[s]](passed.translated[s]), 1.0)),
        _over_sides(lambda s: functional.l1_loss(passed.again[s], passed.photos[s])),
        _over_sides(lambda s: divergence(passed.codes[s])),
        _over_sides(lambda s: functional.l1_loss(passed.cycled[s], passed.photos[s])),
        _over_sides(lambda s: divergence(passed.cycle_codes[s])),
        seen,
    )


def discriminator_loss(
    photos: Pair, translated: Pair, discriminators: Mapping[str, Judge]
) -> Tensor:
    """Photos are to be judged 1 and translations 0; no gradient reaches the translator."""
    return _over_sides(
        lambda s: (
            judged(discriminators[s](photos[s]), 1.0)
            + judged(discriminators[s](translated[OTHER[s]].detach()), 0.0)
        )
    )


def judged(judgements: list[Tensor], wanted: float) -> Tensor:
    """Mean square distance from what is wanted, summed over the sizes."""
    return torch.stack([((judgement - wanted) ** 2).mean() for judgement in judgements]).sum()


def divergence(codes: Tensor) -> Tensor:
    """Mean square: twice the KL divergence, per number, of N(code, 1) from N(0, 1)."""
    return (codes**2).mean()


class Perceptual(nn.Module):
    """Compares pictures by the features of a trained network, which is not trained further.

    Args:
        extractor: That network.
    """

    def __init__(self, extractor: Extractor) -> None:
        super().__init__()
        self.extractor = extractor.eval().requires_grad_(False)

    def forward(self, pictures: Tensor, others: Tensor) -> Tensor:
        """Mean square difference of the features of both `(B, 3, H, W)`, in -1..1."""
        ours, theirs = self._features(pictures), self._features(others)
        return ((ours - theirs) ** 2).mean()

    def _features(self, pictures: Tensor) -> Tensor:
        mean, std = (
            torch.tensor(part, device=pictures.device).view(3, 1, 1)
            for part in (self.extractor.mean, self.extractor.std)
        )
        return functional.instance_norm(self.extractor(((pictures + 1) / 2 - mean) / std).maps)


def build_perceptual(settings: UnitSettings) -> Perceptual | None:
    """The comparison that the settings ask for, None where its weight is 0.

    Raises:
        ValueError: its backbone or weights cannot be had, or it is bound to one size.
    """
    if not settings.perceptual_weight:
        return None
    try:
        extractor = build_extractor(settings.perceptual_backbone, settings.crop)
    except ValueError as error:
        raise ValueError(f"{error}; or train without: --perceptual_weight 0") from None
    return Perceptual(extractor)


def _over_sides(loss: Loss) -> Tensor:
    return loss("day") + loss("night")
