"""Local features for place recognition: what an aggregator makes one descriptor of.

The classic networks as the visual place recognition benchmark cuts them (AlexNet and VGG16 before
their last pooling, ResNet after conv4 or conv5, the layers before the last trained ones frozen),
and every backbone of models/backbones.py besides. Berton et al., "Deep Visual Geo-localization
Benchmark", 2022, https://arxiv.org/abs/2204.03444.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.backbones import (
    EFFICIENTNET_LITE,
    Backbone,
    MapBackbone,
    TokenBackbone,
    build_backbone,
)

RESNETS = ("resnet18", "resnet50", "resnet101")
CLASSIC = ("alexnet", "vgg16", *RESNETS)
CUTS = ("conv4", "conv5")  # where a ResNet or EfficientNet-Lite ends: at 1/16 or 1/32 of the size
TRAINED_LAYERS = 5  # of AlexNet and VGG16, counted from the cut


class Local(NamedTuple):
    """Local features of a batch.

    Attributes:
        maps: `(B, D, H, W)`.
        tokens: `(B, 1 + N, D)`, the class token first, or `(B, N, D)` of a transformer without one;
            None of other networks.
    """

    maps: Tensor
    tokens: Tensor | None = None


class Extractor(nn.Module):
    """Normalised photos `(B, 3, S, S)` to `Local` features of width `width`."""

    width: int
    has_tokens = False
    has_class_token = False
    mean: tuple[float, ...] = Backbone.mean
    std: tuple[float, ...] = Backbone.std

    def forward(self, images: Tensor) -> Local:
        """Extract from `(B, 3, H, W)`."""
        raise NotImplementedError


class MapExtractor(Extractor):
    """A convolutional network that ends in a map.

    Args:
        network: Images to maps.
        width: Channels of the maps.
    """

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        self.network, self.width = network, width

    def forward(self, images: Tensor) -> Local:
        """Extract from `(B, 3, H, W)`."""
        return Local(self.network(images))


class TokenExtractor(Extractor):
    """A vision transformer, whose patches are also laid out as a map.

    Raises:
        ValueError: photos of another size than its own, which its positions are learned for.
    """

    has_tokens = True

    def __init__(self, vit: TokenBackbone) -> None:
        super().__init__()
        self.vit, self.width, self.has_class_token = vit, vit.width, vit.has_class_token
        self.mean, self.std = vit.mean, vit.std

    def forward(self, images: Tensor) -> Local:
        """Extract from `(B, 3, H, W)`."""
        own = tuple(self.vit.vit.patch_embed.img_size or images.shape[2:])
        if tuple(images.shape[2:]) != own:
            raise ValueError(
                f"this transformer sees photos of {own[0]} x {own[1]} px, not of "
                f"{images.shape[2]} x {images.shape[3]}: take a test method and a size that give "
                "those (hard_resize, no --img_size), or a model of a convolutional network"
            )
        summary, patches = self.vit(images)
        rows, columns = self.vit.vit.patch_embed.grid_size
        maps = patches.transpose(1, 2).unflatten(2, (rows, columns))
        tokens = torch.cat([summary[:, None], patches], dim=1) if self.has_class_token else patches
        return Local(maps, tokens)


class LiteMaps(nn.Module):
    """EfficientNet-Lite up to its last map of 1/16 of the photo's size."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.stem, self.norm, self.act = network._conv_stem, network._bn0, network._swish
        shrinking = [i for i, block in enumerate(network._blocks) if _stride(block) == 2]
        self.blocks = nn.ModuleList(network._blocks[: shrinking[-1]])

    def forward(self, images: Tensor) -> Tensor:
        """`(B, 3, H, W)` to `(B, D, H / 16, W / 16)`."""
        maps = self.act(self.norm(self.stem(images)))
        for block in self.blocks:
            maps = block(maps)
        return maps


def build_extractor(
    name: str, img_size: int = 224, cut: str = "conv4", pretrained: bool = True
) -> Extractor:
    """Make the network that extracts local features.

    Args:
        name: One of `CLASSIC`, or any name that `models.backbones.build_backbone` takes.
        img_size: Side of the photos in pixels; only transformers are bound to it.
        cut: Where ResNet and EfficientNet-Lite end; others end where they end.
        pretrained: Load ImageNet weights.

    Raises:
        ValueError: unknown name or cut, or the weights cannot be had.
    """
    if cut not in CUTS:
        raise ValueError(f"cut must be one of {', '.join(CUTS)}, got {cut!r}")
    if name in CLASSIC:
        return _classic(name, cut, pretrained)
    backbone = build_backbone(name, img_size, pretrained=pretrained)
    if isinstance(backbone, TokenBackbone):
        return TokenExtractor(backbone)
    assert isinstance(backbone, MapBackbone)
    extractor = _of_map_backbone(name, cut, backbone)
    extractor.mean, extractor.std = backbone.mean, backbone.std
    return extractor


def _of_map_backbone(name: str, cut: str, backbone: MapBackbone) -> MapExtractor:
    if name in EFFICIENTNET_LITE and cut == "conv4":
        network = LiteMaps(backbone.network)
        return MapExtractor(network, _width_of(network))
    return MapExtractor(_WholeMap(backbone), backbone.width)


class _WholeMap(nn.Module):
    """A map backbone without its summary."""

    def __init__(self, backbone: MapBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        network = self.backbone.network
        return (
            network.forward_features(images)
            if self.backbone.is_timm
            else network.extract_features(images)
        )


def _classic(name: str, cut: str, pretrained: bool) -> MapExtractor:
    import models.torchvision_cure  # noqa: F401  isort: skip  (before torchvision)
    from torchvision import models as torchvision_models

    try:
        network = torchvision_models.get_model(name, weights="DEFAULT" if pretrained else None)
    except OSError as error:
        raise ValueError(
            f"the weights of {name} cannot be had ({error}); connect to the internet once, start "
            "without with --no-pretrained, or take efficientnet_lite0, whose weights are installed"
        ) from error
    if name in RESNETS:
        layers = list(network.children())[: -2 if cut == "conv5" else -3]
        last_frozen = 6  # stem and layers 1, 2 lie before conv4
    else:
        layers = list(network.features.children())[:-2]
        last_frozen = len(layers) - TRAINED_LAYERS
    for layer in layers[:last_frozen]:
        layer.requires_grad_(False)
    sequence = nn.Sequential(*layers)
    return MapExtractor(sequence, _width_of(sequence))


@torch.no_grad()
def _width_of(network: nn.Module) -> int:
    was_training = network.training
    width = network.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
    network.train(was_training)
    return int(width)


def _stride(block: Any) -> int:
    stride = block._depthwise_conv.stride
    return int(stride if isinstance(stride, int) else stride[0])
