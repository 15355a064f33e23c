"""A photo to one descriptor of its place: extractor, attention, aggregator, L2, projection.

The parts and their order are those of Berton et al., "Deep Visual Geo-localization Benchmark",
2022, https://arxiv.org/abs/2204.03444; any extractor of models/places/local_features.py goes with
any aggregator that can read its features.
"""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from models.aggregators import MAP_AGGREGATORS, TOKEN_AGGREGATORS, build_aggregator
from models.places.attention import ATTENTIONS
from models.places.local_features import Extractor, build_extractor

L2_PLACES = ("before", "after", "none")


@dataclass(frozen=True)
class EmbedderSettings:
    """What an embedder is made of; plain values, so that they travel with its weights.

    Attributes:
        backbone: As `models.places.local_features.build_extractor`.
        aggregation: One of `models.aggregators`.
        cut: Where ResNet and EfficientNet-Lite end.
        attention: "none", or one of `models.places.attention.ATTENTIONS`.
        l2: Whether local features ("before") or the aggregated ones ("after") get length 1.
        fc_dim: Length of the descriptor after a projection; 0 leaves the projection out.
        img_size: Side of the photos, px; only transformers are bound to it.
        clusters: Of NetVLAD and CRN.
        is_unit: Whether the descriptor gets length 1 at the end; False only for checkpoints of
            others that were trained without.
    """

    backbone: str = "efficientnet_lite0"
    aggregation: str = "gem"
    cut: str = "conv4"
    attention: str = "none"
    l2: str = "before"
    fc_dim: int = 0
    img_size: int = 224
    clusters: int = 64
    is_unit: bool = True

    def __post_init__(self) -> None:
        if self.l2 not in L2_PLACES:
            raise ValueError(f"l2 must be one of {', '.join(L2_PLACES)}, got {self.l2!r}")
        if self.attention not in ("none", *ATTENTIONS):
            known = ", ".join(("none", *ATTENTIONS))
            raise ValueError(f"attention must be one of {known}, got {self.attention!r}")
        if self.fc_dim < 0 or self.clusters < 1 or self.img_size < 1:
            raise ValueError("fc_dim must not be negative; clusters and img_size must be positive")

    def plain(self) -> dict[str, Any]:
        """As a dict for JSON."""
        return asdict(self)


class Embedder(nn.Module):
    """Normalised photos `(B, 3, H, W)` to descriptors `(B, dim)` of length 1.

    Args:
        settings: Its parts.
        pretrained: Load the backbone's ImageNet weights.

    Raises:
        ValueError: a part is unknown, or the aggregator cannot read the backbone's features.
    """

    def __init__(self, settings: EmbedderSettings, pretrained: bool = True) -> None:
        super().__init__()
        self.settings = settings
        self.extractor = build_extractor(
            settings.backbone, settings.img_size, settings.cut, pretrained
        )
        check_pair(settings.backbone, self.extractor, settings.aggregation)
        if settings.attention != "none" and settings.aggregation in TOKEN_AGGREGATORS:
            raise ValueError(
                f"attention {settings.attention!r} weighs maps, and aggregation "
                f"{settings.aggregation!r} reads tokens: leave one of the two out"
            )
        width = self.extractor.width
        self.attention = (
            nn.Identity() if settings.attention == "none" else ATTENTIONS[settings.attention](width)
        )
        self.aggregator = build_aggregator(settings.aggregation, width, settings.clusters)
        self.reads_tokens = settings.aggregation in TOKEN_AGGREGATORS
        dim = self.aggregator.dim
        self.projection = nn.Linear(dim, settings.fc_dim) if settings.fc_dim else nn.Identity()
        self.dim = settings.fc_dim or dim

    def local(self, images: Tensor) -> Tensor:
        """What the aggregator reads: maps `(B, D, H, W)`, or tokens `(B, N, D)`."""
        found = self.extractor(images)
        features = found.tokens if self.reads_tokens else self.attention(found.maps)
        if self.settings.l2 == "before":
            features = functional.normalize(features, dim=-1 if self.reads_tokens else 1)
        return features

    def aggregate(self, features: Tensor) -> Tensor:
        """Descriptors `(B, dim)` of what `local` gave."""
        descriptors = self.aggregator(features)
        if self.settings.l2 == "after":
            descriptors = functional.normalize(descriptors, dim=1)
        descriptors = self.projection(descriptors)
        return functional.normalize(descriptors, dim=1) if self.settings.is_unit else descriptors

    def forward(self, images: Tensor) -> Tensor:
        """Describe `(B, 3, H, W)`."""
        return self.aggregate(self.local(images))


def check_pair(backbone: str, extractor: Extractor, aggregation: str) -> None:
    """Raise ValueError, with those that fit, where an aggregator cannot read a backbone."""
    valid = list(MAP_AGGREGATORS)
    if extractor.has_tokens:
        valid += [name for name in TOKEN_AGGREGATORS if name != "cls" or extractor.has_class_token]
    if aggregation not in valid:
        raise ValueError(
            f"backbone {backbone!r} does not go with aggregation {aggregation!r}; it goes with "
            f"{', '.join(valid)}"
        )
