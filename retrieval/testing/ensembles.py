"""Several models as one, and one model at several sizes of the photo: their descriptors joined.

Each model's descriptor has length 1 and so has the joined one.

- of models: `concat` puts descriptors side by side, `add` and `mean` sum them number by number,
  which takes models whose numbers mean the same, such as one training's checkpoints. Once the
  length is 1 again, a sum and a mean are the same: both names are there because papers use both;
- of sizes: `concat`, `mean`, and `mean_before`, which averages the feature maps, brought to one
  size, before they are aggregated.

A weight is a share of the similarity: the joined similarity of concatenated descriptors is the
weighted mean of the models' own. Photos are read at the largest size that any model or scale takes
and resized from that, antialiased, for the others: so are a query's crops (`seen_size`).
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.place_sets.photos import Size
from models.places.embedder import Embedder
from models.places.local_features import Extractor
from models.places.place_model import PlaceModel

ENSEMBLES = ("add", "mean", "concat")
SCALE_JOINS = ("concat", "mean", "mean_before")


@dataclass(frozen=True)
class Joining:
    """How descriptors are joined.

    Attributes:
        ensemble: One of `ENSEMBLES`, of models.
        weights: Of the models; none counts all alike.
        scales: Factors on the photos' size.
        scale_join: One of `SCALE_JOINS`, of scales.
    """

    ensemble: str = "concat"
    weights: tuple[float, ...] = ()
    scales: tuple[float, ...] = (1.0,)
    scale_join: str = "concat"

    def __post_init__(self) -> None:
        for name, known in (("ensemble", ENSEMBLES), ("scale_join", SCALE_JOINS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"--{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if not self.scales or not all(0 < scale <= 8 for scale in self.scales):
            raise ValueError(f"--scales must lie above 0 and up to 8, got {_listed(self.scales)}")
        if self.weights and not all(w > 0 and math.isfinite(w) for w in self.weights):
            raise ValueError(f"--ensemble_weights must be positive, got {_listed(self.weights)}")

    def plain(self) -> dict[str, Any]:
        """What a report says of it."""
        return {
            "ensemble": self.ensemble,
            "ensemble_weights": _listed(self.weights) or "all alike",
            "scales": _listed(self.scales),
            "scale_join": self.scale_join,
        }


def joined_model(models: Sequence[PlaceModel], joining: Joining) -> PlaceModel:
    """Join models and scales into one place model; a single model at scale 1 is itself.

    Raises:
        ValueError: descriptors of different lengths are to be summed, there are more or fewer
            weights than models, or a transformer is asked for another scale.
    """
    if not models:
        raise ValueError("no model to join")
    if len(joining.weights) not in (0, len(models)):
        raise ValueError(f"--ensemble_weights: {len(joining.weights)} for {len(models)} models")
    if len(models) == 1 and joining.scales == (1.0,):
        return models[0]
    members = [ScaledEmbedder(model, joining.scales, joining.scale_join) for model in models]
    size, seen = _largest([m.full for m in members]), _largest([m.size for m in models])
    known = "+".join(model.sha256 or "not saved" for model in models)
    sha256 = hashlib.sha256(f"{known} {joining}".encode()).hexdigest()
    origin = {"joined": [model.origin for model in models], **joining.plain()}
    embedder = JoinedEmbedder(members, joining, size, seen)
    return PlaceModel(embedder.eval(), size, origin, sha256)


def seen_size(embedder: Embedder, size: Size) -> Size:
    """Height and width at which a model sees, at scale 1, a photo that is read at `size`.

    Joined models see it smaller than it is read; their largest one counts.
    """
    return embedder.seen if isinstance(embedder, JoinedEmbedder) else size


class ScaledEmbedder(nn.Module):
    """One model at several sizes of the photo.

    Args:
        model: The model.
        scales: Factors on the size it was trained at.
        join: One of `SCALE_JOINS`.

    Raises:
        ValueError: as `joined_model`.
    """

    def __init__(self, model: PlaceModel, scales: Sequence[float], join: str) -> None:
        super().__init__()
        self.embedder, self.join = model.embedder, join
        if tuple(scales) != (1.0,) and model.embedder.extractor.has_tokens:
            raise ValueError(
                f"--scales {_listed(scales)}: {model.embedder.settings.backbone} is a transformer, "
                "which takes photos of one size; leave --scales out"
            )
        self.sizes = [(round(model.size[0] * s), round(model.size[1] * s)) for s in scales]
        self.full = _largest(self.sizes)
        # Maps are averaged at the size of the scale that changes the photo least.
        self.middle = min(range(len(scales)), key=lambda i: abs(math.log(scales[i])))
        self.dim = model.embedder.dim * (len(scales) if join == "concat" else 1)

    def forward(self, pixels: Tensor, full: Size) -> Tensor:
        """Describe `(B, 3, H, W)` in 0..1, read at the size `full`, or a part of it."""
        pictures = [self._normal(_resized(pixels, full, size)) for size in self.sizes]
        if self.join == "mean_before":
            return self._mean_before(pictures)
        found = [
            functional.normalize(self.embedder(picture).float(), dim=1) for picture in pictures
        ]
        joined = torch.cat(found, dim=1) if self.join == "concat" else torch.stack(found).mean(0)
        return functional.normalize(joined, dim=1)

    def _mean_before(self, pictures: list[Tensor]) -> Tensor:
        maps = [self.embedder.local(picture) for picture in pictures]
        size = maps[self.middle].shape[2:]
        alike = [
            functional.interpolate(found, size, mode="bilinear", antialias=True) for found in maps
        ]
        mean = torch.stack(alike).mean(0)
        if self.embedder.settings.l2 == "before":  # as the aggregator was trained to see them
            mean = functional.normalize(mean, dim=1)
        return functional.normalize(self.embedder.aggregate(mean).float(), dim=1)

    def _normal(self, pixels: Tensor) -> Tensor:
        extractor = self.embedder.extractor
        mean, std = (
            torch.tensor(part, device=pixels.device).view(3, 1, 1)
            for part in (extractor.mean, extractor.std)
        )
        return (pixels - mean) / std


class JoinedEmbedder(Embedder):
    """Several models as one embedder: photos `(B, 3, H, W)` in 0..1 to `(B, dim)` of length 1.

    Args:
        members: The models.
        joining: How.
        full: Height and width that photos are read at, px.
        seen: Those at which the largest model sees them at scale 1.

    Raises:
        ValueError: as `joined_model`.
    """

    def __init__(
        self, members: Sequence[ScaledEmbedder], joining: Joining, full: Size, seen: Size
    ) -> None:
        nn.Module.__init__(self)  # it has no extractor and aggregator of its own
        weights = joining.weights or (1.0,) * len(members)
        dims = [member.dim for member in members]
        if joining.ensemble != "concat" and len(set(dims)) > 1:
            raise ValueError(
                f"--ensemble {joining.ensemble}: descriptors of {_listed(dims)} numbers cannot be "
                "summed; use --ensemble concat"
            )
        self.members, self.joining, self.weights = nn.ModuleList(members), joining, weights
        self.full, self.seen = full, seen
        self.extractor = RawPixels()
        self.settings = cast(Any, JoinedSettings(members, joining))
        self.dim = sum(dims) if joining.ensemble == "concat" else dims[0]

    def forward(self, images: Tensor) -> Tensor:
        """Describe."""
        found = [member(images, self.full) for member in self.members]
        if self.joining.ensemble == "concat":
            # Roots: in a product of two descriptors each number counts twice.
            joined = torch.cat(
                [d * math.sqrt(w) for d, w in zip(found, self.weights, strict=True)], dim=1
            )
        else:
            joined = torch.stack([d * w for d, w in zip(found, self.weights, strict=True)]).sum(0)
        return functional.normalize(joined, dim=1)

    def local(self, images: Tensor) -> Tensor:
        """Refuse: joined models have no features in common.

        Raises:
            ValueError: always.
        """
        raise ValueError("joined models have no local features; give one --model and no --scales")


class JoinedSettings:
    """What a report says of joined models, in the manner of `EmbedderSettings`."""

    def __init__(self, members: Sequence[ScaledEmbedder], joining: Joining) -> None:
        parts = [member.embedder.settings.plain() for member in members]
        self._plain: dict[str, Any] = {
            key: " + ".join(dict.fromkeys(str(part[key]) for part in parts)) for key in parts[0]
        }
        self._plain |= {"models": len(members), **joining.plain()}

    def plain(self) -> dict[str, Any]:
        """As a dict for JSON."""
        return dict(self._plain)


class RawPixels(Extractor):
    """Says that joined models want pixels in 0..1: each member has its own mean and deviation."""

    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def _largest(sizes: Sequence[Size]) -> Size:
    return max(height for height, _ in sizes), max(width for _, width in sizes)


def _resized(pixels: Tensor, full: Size, size: Size) -> Tensor:
    """As large as `size` is to `full`; a query that keeps its own shape is scaled alike."""
    height, width = (
        max(1, round(length * wanted / whole))
        for length, wanted, whole in zip(pixels.shape[2:], size, full, strict=True)
    )
    if (height, width) == tuple(pixels.shape[2:]):
        return pixels
    return functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
