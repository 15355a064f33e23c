"""UNIT's networks: two encoders and two decoders that meet in one code, and two discriminators.

Liu et al., "Unsupervised Image-to-Image Translation Networks", 2017,
https://arxiv.org/abs/1703.00848. What day and night have in common is put into one code: the last
residual blocks of both encoders are the same, and so are the first of both decoders. A code is the
mean of a normal distribution of variance 1 around it. Pictures have values in -1..1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.translation.settings import UnitSettings

SIDES = ("day", "night")
LEAK = 0.2


class ResidualBlock(nn.Module):
    """Two convolutions `(B, C, H, W)` to the same, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolved(channels, channels, 3, 1, nn.InstanceNorm2d(channels), nn.ReLU()),
            *_convolved(channels, channels, 3, 1, nn.InstanceNorm2d(channels)),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Apply."""
        return maps + self.body(maps)


class Translator(nn.Module):
    """Day to night and back.

    Args:
        settings: Sizes.
    """

    def __init__(self, settings: UnitSettings) -> None:
        super().__init__()
        self.settings = settings
        own, width = settings.residual_blocks - settings.shared_blocks, code_width(settings)
        self.encoders = nn.ModuleDict({side: _encoder(settings, own) for side in SIDES})
        self.shared_encoder = _residual_blocks(width, settings.shared_blocks)
        self.shared_decoder = _residual_blocks(width, settings.shared_blocks)
        self.decoders = nn.ModuleDict({side: _decoder(settings, own) for side in SIDES})
        self.apply(_start_wide)

    def encode(self, pictures: Tensor, side: str) -> Tensor:
        """Codes `(B, C, h, w)`, the means, of pictures `(B, 3, H, W)` of one side."""
        return self.shared_encoder(self.encoders[side](pictures))

    def decode(self, codes: Tensor, side: str) -> Tensor:
        """Pictures of one side, of codes."""
        return self.decoders[side](self.shared_decoder(codes))

    def translate(self, pictures: Tensor, source: str, target: str) -> Tensor:
        """Pictures `(B, 3, H, W)` of one side as the other; any size.

        What no code fits is padded by its edge, and cut again.
        """
        height, width = pictures.shape[2:]
        multiple = self.settings.multiple
        down, across = (
            max(-length % multiple, 2 * multiple - length) for length in (height, width)
        )
        padded = functional.pad(pictures, (0, across, 0, down), mode="replicate")
        return self.decode(self.encode(padded, source), target)[:, :, :height, :width]


class Discriminator(nn.Module):
    """Judges whether pictures are photos of its side, at several sizes.

    Args:
        settings: Sizes.
    """

    def __init__(self, settings: UnitSettings) -> None:
        super().__init__()
        self.judges = nn.ModuleList(_judge(settings) for _ in range(settings.scales))
        self.apply(_start_narrow)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """A map of judgements for each size, of `(B, 3, H, W)`; 1 is real, 0 is not."""
        judged = []
        for judge in self.judges:
            judged.append(judge(pictures))
            pictures = functional.avg_pool2d(pictures, 3, 2, 1, count_include_pad=False)
        return judged


def code_width(settings: UnitSettings) -> int:
    """Channels of a code."""
    return settings.dim * settings.multiple


def _convolved(
    channels: int, to: int, kernel: int, stride: int, *after: nn.Module
) -> list[nn.Module]:
    """A convolution whose edges are mirrored, and what follows it."""
    padding = (kernel - 1) // 2
    return [nn.ReflectionPad2d(padding), nn.Conv2d(channels, to, kernel, stride), *after]


def _residual_blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def _encoder(settings: UnitSettings, residual_blocks: int) -> nn.Sequential:
    dim = settings.dim
    layers = _convolved(3, dim, 7, 1, nn.InstanceNorm2d(dim), nn.ReLU())
    for _ in range(settings.downsamplings):
        layers += _convolved(dim, 2 * dim, 4, 2, nn.InstanceNorm2d(2 * dim), nn.ReLU())
        dim *= 2
    return nn.Sequential(*layers, *_residual_blocks(dim, residual_blocks))


def _decoder(settings: UnitSettings, residual_blocks: int) -> nn.Sequential:
    dim = code_width(settings)
    layers: list[nn.Module] = [*_residual_blocks(dim, residual_blocks)]
    for _ in range(settings.downsamplings):
        # One norm over all channels: how bright they are to each other is what night is made of.
        after = (nn.GroupNorm(1, dim // 2), nn.ReLU())
        layers += [nn.Upsample(scale_factor=2), *_convolved(dim, dim // 2, 5, 1, *after)]
        dim //= 2
    return nn.Sequential(*layers, *_convolved(dim, 3, 7, 1, nn.Tanh()))


def _judge(settings: UnitSettings) -> nn.Sequential:
    dim = settings.discriminator_dim
    layers = _convolved(3, dim, 4, 2, nn.LeakyReLU(LEAK))
    for _ in range(settings.discriminator_layers - 1):
        layers += _convolved(dim, 2 * dim, 4, 2, nn.LeakyReLU(LEAK))
        dim *= 2
    return nn.Sequential(*layers, nn.Conv2d(dim, 1, 1))


def _start_wide(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        _without_bias(module)


def _start_narrow(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        _without_bias(module)


def _without_bias(module: nn.Conv2d) -> None:
    if module.bias is not None:
        torch.nn.init.zeros_(module.bias)
