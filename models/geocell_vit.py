"""The geocell model: two branches, four heads, one descriptor.

A photo (and, where there is one, its segmentation map) goes in as raw pixels; out come logits over
the geocells of each level, logits over scene types, and a unit descriptor for retrieval. Two
vision transformers read photo and map; their class tokens are fused after every block
(models/encoders.py). With `inputs="rgb"` or `"seg"` one backbone of any kind does the work.

Sources: TransLocator (Pramanick et al., ECCV 2022, https://arxiv.org/abs/2204.13861) for branches
and fusion; Mueller-Budack et al., "Geolocation Estimation of Photos using a Hierarchical Model and
Scene Classification", ECCV 2018, for the three levels and the scene head.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

from models.backbones import Backbone, build_backbone
from models.encoders import Encoder, FusedEncoder, MapEncoder, PhotoEncoder
from models.gem import DescriptorHead

INPUTS = ("rgb", "seg", "both")


@dataclass(frozen=True)
class Architecture:
    """What it takes to build a `GeocellViT`: plain types, stored in the bundle's config.json.

    Attributes:
        num_cells: number of cells of each trained level, e.g. `{"coarse": 12, "fine": 90}`.
        backbone: a name for `build_backbone`.
        backbone_args: further arguments of a timm backbone.
        inputs: "rgb", "seg" or "both".
        img_size: side of the square input, px.
        seg_channels: 3 = colour-coded map; otherwise the number of one-hot classes.
        scene_classes: 3, 16 or 365.
        descriptor_dim: length of the descriptor; 0 keeps the backbone's width.
    """

    num_cells: dict[str, int]
    backbone: str = "vit_base_patch16_224"
    backbone_args: dict[str, Any] = field(default_factory=dict)
    inputs: str = "both"
    img_size: int = 224
    seg_channels: int = 3
    scene_classes: int = 3
    descriptor_dim: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain types."""
        return asdict(self)


class Prediction(NamedTuple):
    """Attributes: cells, level -> logits `(B, C)`; scene `(B, scenes)`; descriptor `(B, dim)`."""

    cells: dict[str, Tensor]
    scene: Tensor
    descriptor: Tensor


class GeocellViT(nn.Module):
    """Multi-task geocell model over an `Architecture`.

    Args:
        architecture: the shape of the model.
        pretrained: start from the backbone's trained weights (see `build_backbone`).

    Raises:
        ValueError: unknown `inputs`, no cells, or two branches without class tokens.
    """

    def __init__(self, architecture: Architecture, pretrained: bool = True) -> None:
        super().__init__()
        a = architecture
        if a.inputs not in INPUTS:
            raise ValueError(f"inputs must be one of {', '.join(INPUTS)}, got {a.inputs!r}")
        if not a.num_cells or min(a.num_cells.values()) < 1:
            raise ValueError(f"every level needs at least one cell, got {a.num_cells}")
        self.architecture = a
        self.encoder = build_encoder(a, pretrained)
        self.cell_heads = nn.ModuleDict(
            {level: nn.Linear(self.encoder.width, count) for level, count in a.num_cells.items()}
        )
        self.scene_head = nn.Linear(self.encoder.width, a.scene_classes)
        self.descriptor_head = DescriptorHead(self.encoder.patch_width, a.descriptor_dim)

    def forward(self, rgb: Tensor, seg: Tensor, has_seg: Tensor) -> Prediction:
        """Predict from raw pixels.

        Args:
            rgb: uint8 `(B, 3, S, S)`; ignored by a map-only model.
            seg: uint8 class indices `(B, S, S)`; ignored by a photo-only model.
            has_seg: bool `(B,)`; where False the map has no influence (two branches).

        Returns:
            Logits over cells and scenes, and the descriptor.
        """
        summary, patches = self.encoder(rgb, seg, has_seg)
        return Prediction(
            {level: head(summary) for level, head in self.cell_heads.items()},
            self.scene_head(summary),
            self.descriptor_head(patches),
        )


def build_encoder(architecture: Architecture, pretrained: bool) -> Encoder:
    """Build what reads the photo: `PhotoEncoder`, `MapEncoder` or `FusedEncoder`."""
    a = architecture

    def branch(channels: int) -> Backbone:
        return build_backbone(a.backbone, a.img_size, channels, pretrained, a.backbone_args)

    if a.inputs == "rgb":
        return PhotoEncoder(branch(3))
    if a.inputs == "seg":
        return MapEncoder(branch(a.seg_channels), a.seg_channels)
    return FusedEncoder(branch(3), branch(a.seg_channels), a.seg_channels)
