"""UNIT's networks: shapes, what is shared, what is not, sizes that no code fits."""

import pytest
import torch

from models.translation.networks import SIDES, Discriminator, Translator
from models.translation.settings import UnitSettings

TINY = UnitSettings(
    dim=4, residual_blocks=3, shared_blocks=2, discriminator_dim=4, discriminator_layers=2,
    scales=2, crop=16, short_side=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def translator():
    torch.manual_seed(0)
    return Translator(TINY)


def test_codes_and_pictures_have_their_shapes(translator):
    code = translator.encode(torch.rand(2, 3, 16, 24) * 2 - 1, "day")
    assert code.shape == (2, 16, 4, 6)
    night = translator.decode(code, "night")
    assert night.shape == (2, 3, 16, 24)
    assert -1 <= night.min() < night.max() <= 1


def test_both_sides_learn_the_shared_blocks_and_only_their_own_ends(translator):
    def learners(loss):
        translator.zero_grad()
        loss.backward()
        return {name for name, weights in translator.named_parameters() if weights.grad is not None}

    pictures = torch.rand(1, 3, 16, 16)
    learned = {
        side: learners(translator.decode(translator.encode(pictures, side), side).square().sum())
        for side in SIDES
    }
    shared = learned["day"] & learned["night"]
    assert shared == {name for name, _ in translator.named_parameters() if "shared_" in name}
    assert len(translator.shared_encoder) == len(translator.shared_decoder) == 2
    for side, other in zip(SIDES, reversed(SIDES), strict=True):
        assert all(f".{other}." not in name for name in learned[side])
        assert any(f"encoders.{side}." in name for name in learned[side])


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (9, 11), (3, 2)])
def test_photos_of_any_size_are_translated_at_their_size(translator, size):
    pictures = torch.rand(1, 3, *size) * 2 - 1
    night = translator.translate(pictures, "day", "night")
    assert night.shape == pictures.shape
    if size == (16, 16):
        whole = translator.decode(translator.encode(pictures, "day"), "night")
        assert torch.equal(night, whole)


def test_a_photo_alone_is_the_photo_in_its_batch(translator):
    pictures = torch.rand(4, 3, 16, 16) * 2 - 1
    together = translator.translate(pictures, "day", "night")
    alone = translator.translate(pictures[2:3], "day", "night")
    torch.testing.assert_close(together[2:3], alone, atol=1e-5, rtol=1e-4)


def test_the_discriminator_judges_each_size():
    judge = Discriminator(TINY)
    pictures = torch.rand(2, 3, 16, 16)
    judged = judge(pictures)
    assert [maps.shape for maps in judged] == [(2, 1, 4, 4), (2, 1, 2, 2)]
    # The second sees means of 3 x 3 pixels, every second one, of those inside.
    half = torch.stack(
        [
            torch.stack(
                [
                    pictures[:, :, max(0, 2 * y - 1) : 2 * y + 2, max(0, 2 * x - 1) : 2 * x + 2]
                    .mean(dim=(2, 3))
                    for x in range(8)
                ],
                dim=-1,
            )
            for y in range(8)
        ],
        dim=-2,
    )  # fmt: skip
    torch.testing.assert_close(judge.judges[1](half), judged[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shared_blocks": 4}, "3 residual blocks"),
        ({"beta1": 1.0}, "beta1"),
        ({"crop": 18}, "multiple of 4"),
        ({"crop": 32}, "at most --short_side 16"),
        ({"scales": 4}, "at least 32"),
    ],
)
def test_settings_that_no_network_fits_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        UnitSettings(**(TINY.plain() | changes))


def test_the_defaults_are_the_references():
    plain = UnitSettings().plain()
    expected = {
        "dim": 64, "residual_blocks": 4, "gan_weight": 1, "recon_weight": 10, "kl_weight": 0.01,
        "cycle_weight": 10, "cycle_kl_weight": 0.01, "perceptual_weight": 1, "lr": 1e-4,
        "beta1": 0.5, "beta2": 0.999,
    }  # fmt: skip
    assert {name: plain[name] for name in expected} == expected
