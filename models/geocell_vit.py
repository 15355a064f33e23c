"""The geocell model: two branches, four heads, one descriptor.

A photo (and, where there is one, its segmentation map) goes in as raw pixels; out come logits over
the geocells of each level, logits over scene types, and a unit descriptor for retrieval. Two
vision transformers read photo and map; their class tokens are fused after every block, or their
summaries late (models/encoders.py). With `inputs="rgb"` or `"seg"` one backbone of any kind does
the work.

Sources: TransLocator (Pramanick et al., ECCV 2022, https://arxiv.org/abs/2204.13861) for branches
and fusion; Mueller-Budack et al., "Geolocation Estimation of Photos using a Hierarchical Model and
Scene Classification", ECCV 2018, for the three levels and the scene head.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from models.backbones import Backbone, TokenBackbone, build_backbone
from models.bundles.bundle import CONFIG, WEIGHTS
from models.bundles.hub import bundle_folder
from models.encoders import Encoder, FusedEncoder, LateEncoder, MapEncoder, PhotoEncoder
from models.gem import DescriptorHead
from models.lora import add_lora
from models.weights import load_weights

INPUTS = ("rgb", "seg", "both")
FUSIONS = ("blocks", "late")


@dataclass(frozen=True)
class Architecture:
    """What it takes to build a `GeocellViT`: plain types, stored in the bundle's config.json.

    Attributes:
        num_cells: number of cells of each trained level, e.g. `{"coarse": 12, "fine": 90}`.
        backbone: a name for `build_backbone`.
        backbone_args: further arguments of a timm backbone.
        inputs: "rgb", "seg" or "both".
        fusion: of both: "blocks", class tokens after every block; "late", summaries at the end.
        seg_backbone: what reads the map, "" = the same as the photo.
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
    fusion: str = "blocks"
    seg_backbone: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain types."""
        return asdict(self)


class Prediction(NamedTuple):
    """Attributes: cells, level -> logits `(B, C)`; scene `(B, scenes)`; descriptor `(B, dim)`."""

    cells: dict[str, Tensor]
    scene: Tensor
    descriptor: Tensor


class GeocellViT(nn.Module, PyTorchModelHubMixin, library_name="groundfix"):
    """Multi-task geocell model over an `Architecture`.

    `save_pretrained` and `push_to_hub` are the mixin's and take the network alone; a bundle, with
    its cells and calibration, is written by `models.export`. `from_pretrained` reads either.

    Args:
        architecture: the shape of the model.
        pretrained: start from the backbone's trained weights (see `build_backbone`).

    Raises:
        ValueError: unknown `inputs` or `fusion`, no cells, or two branches that cannot be fused.
    """

    def __init__(self, architecture: Architecture, pretrained: bool = True) -> None:
        super().__init__()
        a = architecture
        if a.inputs not in INPUTS:
            raise ValueError(f"inputs must be one of {', '.join(INPUTS)}, got {a.inputs!r}")
        if a.fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, got {a.fusion!r}")
        if not a.num_cells or min(a.num_cells.values()) < 1:
            raise ValueError(f"every level needs at least one cell, got {a.num_cells}")
        self.architecture = a
        self.encoder = build_encoder(a, pretrained)
        self.cell_heads = nn.ModuleDict(
            {level: nn.Linear(self.encoder.width, count) for level, count in a.num_cells.items()}
        )
        self.scene_head = nn.Linear(self.encoder.width, a.scene_classes)
        self.descriptor_head = DescriptorHead(self.encoder.patch_width, a.descriptor_dim)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # the mixin's, without what makes no sense here
        cls,
        name_or_dir: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
    ) -> "GeocellViT":
        """The network of a bundle, in evaluation mode.

        The mixin's own would take weights that fit in part, and pickled ones.

        Args:
            name_or_dir: folder of a bundle (or of `save_pretrained`), or `owner/name` on the hub.
            revision: branch, tag or commit on the hub.
            cache_dir: of the hub's files, default: the hub's own.

        Raises:
            FileNotFoundError: it cannot be had, or config or weights are missing.
            ValueError: the weights do not fit the config.
        """
        folder = bundle_folder(name_or_dir, revision, cache_dir, needed=(CONFIG, WEIGHTS))
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} has no {name}: copy the bundle again")
        try:
            config = json.loads((folder / CONFIG).read_text())
            model = cls(Architecture(**config["architecture"]), pretrained=False)
            load_weights(model, folder / WEIGHTS, config.get("model_sha256", ""))
        except Exception as error:  # timm raises nearly anything at an architecture it cannot build
            raise ValueError(f"{folder}/{WEIGHTS} does not fit {CONFIG}: {error}") from error
        return model.eval()

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
    """Build what reads the photo: one of the classes of models/encoders.py."""
    a = architecture

    def branch(name: str, channels: int) -> Backbone:
        return build_backbone(name, a.img_size, channels, pretrained, a.backbone_args)

    reads_map = a.seg_backbone or a.backbone
    if a.inputs == "rgb":
        return PhotoEncoder(branch(a.backbone, 3))
    if a.inputs == "seg":
        return MapEncoder(branch(reads_map, a.seg_channels), a.seg_channels)
    fused = {"blocks": FusedEncoder, "late": LateEncoder}[a.fusion]
    return fused(branch(a.backbone, 3), branch(reads_map, a.seg_channels), a.seg_channels)


def adapt(model: GeocellViT, rank: int) -> None:
    """Freeze the backbones and give them low-rank updates; what fuses them and the heads train.

    Raises:
        ValueError: a backbone is no vision transformer, or the rank is not positive.
    """
    branches = [part for part in model.encoder.modules() if isinstance(part, Backbone)]
    if not all(isinstance(branch, TokenBackbone) for branch in branches):
        raise ValueError("--lora_rank needs a vision transformer: leave it out for this backbone")
    for branch in branches:
        add_lora(branch, rank)
