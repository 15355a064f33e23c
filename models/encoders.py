"""What reads the photo: one backbone, one backbone on its segmentation map, or two fused.

Two are fused after every block, or late: side by side after the last. All take the same batch of
raw pixels and give `Features`. Normalisation happens here, inside the network, so that no caller
can do it twice or not at all.
"""

from typing import Any

import torch
from torch import Tensor, nn

from models.backbones import Backbone, Features, TokenBackbone
from models.fusion import ClassTokenFusion
from models.segmentation_input import SegmentationInput


class Encoder(nn.Module):
    """Raw pixels to `Features`.

    Attributes:
        width: length of the summary.
        patch_width: length of a patch vector.
        needs_map: a photo without a segmentation map cannot be encoded.
    """

    width: int
    patch_width: int
    needs_map = False

    def forward(self, rgb: Tensor, seg: Tensor, has_seg: Tensor) -> Features:
        """Encode; arguments as in `GeocellViT.forward`."""
        raise NotImplementedError


class Normalize(nn.Module):
    """uint8 `(B, 3, S, S)` to floats with the mean and deviation a backbone was trained with."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(backbone.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).view(1, 3, 1, 1))

    def forward(self, rgb: Tensor) -> Tensor:
        """Normalise `(B, 3, S, S)`."""
        return (rgb.float() / 255 - self.mean) / self.std


class PhotoEncoder(Encoder):
    """One backbone of any kind on the photo; the map is ignored."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.normalize = Normalize(backbone)
        self.backbone = backbone
        self.width = self.patch_width = backbone.width

    def forward(self, rgb: Tensor, seg: Tensor, has_seg: Tensor) -> Features:
        """Encode the photos `(B, 3, S, S)`."""
        return self.backbone(self.normalize(rgb))


class MapEncoder(Encoder):
    """One backbone of any kind on the segmentation map; the photo is ignored."""

    needs_map = True

    def __init__(self, backbone: Backbone, seg_channels: int) -> None:
        super().__init__()
        self.seg_input = SegmentationInput(seg_channels)
        self.backbone = backbone
        self.width = self.patch_width = backbone.width

    def forward(self, rgb: Tensor, seg: Tensor, has_seg: Tensor) -> Features:
        """Encode the maps `(B, S, S)`."""
        return self.backbone(self.seg_input(seg))


class FusedEncoder(Encoder):
    """Two vision transformers whose class tokens are fused after every block.

    Args:
        photo: reads the photo.
        seg_map: reads the map; as wide and as deep as the other.
        seg_channels: see `SegmentationInput`.

    Raises:
        ValueError: a backbone has no class token to exchange, or they differ in width or depth.
    """

    def __init__(self, photo: Backbone, seg_map: Backbone, seg_channels: int) -> None:
        super().__init__()
        for backbone in (photo, seg_map):
            if not (isinstance(backbone, TokenBackbone) and backbone.has_class_token):
                raise ValueError(
                    "two branches exchange class tokens and this backbone has none: take a vision "
                    "transformer with a class token, or --fusion late, or --inputs rgb"
                )
        self.branches = nn.ModuleList([photo, seg_map])
        shapes = [(b.width, len(list(b.blocks()))) for b in self._token_backbones()]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "two branches exchange class tokens after every block; the photo's has width "
                f"{shapes[0][0]} and {shapes[0][1]} blocks, the map's {shapes[1][0]} and "
                f"{shapes[1][1]}: take two alike, or --fusion late"
            )
        self.normalize = Normalize(photo)
        self.seg_input = SegmentationInput(seg_channels)
        self.patch_width = photo.width
        self.width = photo.width + seg_map.width
        self.fusion = nn.ModuleList(ClassTokenFusion(photo.width) for _ in self._blocks())

    def _blocks(self) -> list[tuple[nn.Module, nn.Module]]:
        """The pairs of blocks that run side by side."""
        photo, seg_map = (list(branch.blocks()) for branch in self._token_backbones())
        return list(zip(photo, seg_map, strict=True))

    def _token_backbones(self) -> list[TokenBackbone]:
        return [branch for branch in self.branches if isinstance(branch, TokenBackbone)]

    def forward(self, rgb: Tensor, seg: Tensor, has_seg: Tensor) -> Features:
        """Encode photos and maps; the summary is both class tokens side by side `(B, 2 D)`."""
        present = torch.stack([torch.ones_like(has_seg), has_seg], dim=1)
        branches = self._token_backbones()
        images = (self.normalize(rgb), self.seg_input(seg))
        embedded = [branch.embed(x) for branch, x in zip(branches, images, strict=True)]
        tokens = [state for state, _ in embedded]
        for depth, (blocks, fusion) in enumerate(zip(self._blocks(), self.fusion, strict=True)):
            extras: list[dict[str, Any]] = [arguments[depth] for _, arguments in embedded]
            tokens = [
                block(state, **extra)
                for block, state, extra in zip(blocks, tokens, extras, strict=True)
            ]
            fused = fusion([state[:, 0] for state in tokens], present)
            tokens = [
                torch.cat([token[:, None], state[:, 1:]], dim=1)
                for token, state in zip(fused, tokens, strict=True)
            ]
        photo, seg_map = (b.finish(state) for b, state in zip(branches, tokens, strict=True))
        return Features(torch.cat([photo.summary, seg_map.summary], dim=1), photo.patches)


class LateEncoder(Encoder):
    """Two backbones of any kind, whose summaries stand side by side; they exchange nothing before.

    A photo without a map has a learned vector in place of the map's summary.
    """

    def __init__(self, photo: Backbone, seg_map: Backbone, seg_channels: int) -> None:
        super().__init__()
        self.normalize = Normalize(photo)
        self.seg_input = SegmentationInput(seg_channels)
        self.branches = nn.ModuleList([photo, seg_map])
        self.patch_width = photo.width
        self.width = photo.width + seg_map.width
        self.without_map = nn.Parameter(torch.zeros(seg_map.width))

    def forward(self, rgb: Tensor, seg: Tensor, has_seg: Tensor) -> Features:
        """Encode photos and maps; the summary is both side by side `(B, width)`."""
        photo, seg_map = (branch for branch in self.branches if isinstance(branch, Backbone))
        of_photo = photo(self.normalize(rgb))
        of_map = seg_map(self.seg_input(seg)).summary
        of_map = torch.where(has_seg[:, None], of_map, self.without_map.to(of_map.dtype))
        return Features(torch.cat([of_photo.summary, of_map], dim=1), of_photo.patches)
