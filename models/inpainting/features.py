"""Feature maps of a trained network at 1/2, 1/4 and 1/8 of the photo: what inpainting is judged by.

Liu et al., 2018 (https://arxiv.org/abs/1804.07723) take the first three poolings of VGG16, of 64,
128 and 256 channels, and so does vgg16 here; their weights of perceptual and style loss belong to
these. Of any other convolutional network the last map of each size is taken: it lies deeper, just
before the photo is halved again, and has channels and values of its own, so that the same weights
are another balance of the losses.
"""

from typing import Any

import torch
from torch import Tensor, nn

from models.places.local_features import Extractor, MapExtractor, build_extractor

LEVELS = 3
PAPER = "vgg16"


class FeaturePyramid(nn.Module):
    """Photos in 0..1 `(B, 3, H, W)` to maps of 1/2, 1/4 and 1/8 of their size; never trained.

    Args:
        backbone: As `models.places.local_features.build_extractor`: vgg16 is the paper's, the
            weights of efficientnet_lite0 are installed.
        pretrained: Load its ImageNet weights.

    Raises:
        ValueError: there is no such network, its weights cannot be had, or it has no such maps.
    """

    def __init__(self, backbone: str, pretrained: bool = True) -> None:
        super().__init__()
        extractor = build_extractor(backbone, pretrained=pretrained).eval().requires_grad_(False)
        self.extractor, self.mean, self.std = extractor, extractor.mean, extractor.std
        self._seen: dict[tuple[int, int], Tensor] = {}
        for module in _poolings(extractor) if backbone == PAPER else _leaves(extractor):
            module.register_forward_hook(self._see)
        with torch.no_grad():
            # A transformer has one size of patches only.
            if extractor.has_tokens or len(self(torch.zeros(1, 3, 64, 64))) < LEVELS:
                raise ValueError(
                    f"backbone {backbone!r} has no maps at 1/2, 1/4 and 1/8 of the photo's size; "
                    "take vgg16, resnet18 or efficientnet_lite0, or leave the features out"
                )

    def _see(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            height, width = output.shape[2:]
            self._seen[height, width] = output  # of each size the last one stays

    def forward(self, photos: Tensor) -> list[Tensor]:
        """Maps `(B, C, H / 2, W / 2)` and on; sides that do not divide are rounded up or down."""
        self._seen.clear()
        self.extractor((photos - self._row(self.mean)) / self._row(self.std))
        found = [self._of_level(level, tuple(photos.shape[2:])) for level in range(1, LEVELS + 1)]
        self._seen.clear()
        return [maps for maps in found if maps is not None]

    def train(self, mode: bool = True) -> "FeaturePyramid":
        """Stays in evaluation mode whatever it is part of."""
        return super().train(False)

    def _row(self, values: tuple[float, ...]) -> Tensor:
        weight = next(self.extractor.parameters())
        return torch.tensor(values, device=weight.device).view(1, -1, 1, 1)

    def _of_level(self, level: int, size: tuple[int, ...]) -> Tensor | None:
        up = tuple(-(-side // 2**level) for side in size)
        down = tuple(side // 2**level for side in size)
        return self._seen.get(up, self._seen.get(down))


def _leaves(extractor: Extractor) -> list[nn.Module]:
    return [module for module in extractor.modules() if not list(module.children())]


def _poolings(vgg: Extractor) -> list[nn.Module]:
    """The first three poolings; what comes after them is cut off, for nothing looks at it."""
    assert isinstance(vgg, MapExtractor)
    layers = list(vgg.network.children())
    places = [place for place, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    vgg.network = nn.Sequential(*layers[: places[LEVELS - 1] + 1])
    return [layers[place] for place in places[:LEVELS]]
