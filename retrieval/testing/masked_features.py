"""Descriptors that leave out what moves: features of hidden places are not aggregated.

The simple alternative to painting people and cars over (models/inpainting/): nothing is made up,
the aggregator sees only those places of the feature map of which at most half is hidden. A feature
still sees a little of what is beside it, as far as its receptive field reaches.
"""

import torch
from torch import Tensor
from torch.nn import functional

from models.places.embedder import Embedder

# Aggregators to which a map is a set of features; to others their places matter.
OF_SETS = ("spoc", "mac", "gem", "netvlad")


def masked_descriptors(embedder: Embedder, images: Tensor, hidden: Tensor) -> Tensor:
    """Describe photos without what is hidden.

    Args:
        embedder: In evaluation mode; its aggregation is one of `OF_SETS`.
        images: `(B, 3, H, W)`, normalised.
        hidden: bool `(B, H, W)`, True where something stands in the way.

    Returns:
        `(B, dim)`. A photo of which no place is left is described whole.

    Raises:
        ValueError: the aggregation needs the whole map, or the shapes do not fit.
    """
    check(embedder)
    if hidden.shape != (images.shape[0], *images.shape[2:]):
        raise ValueError(f"photos {tuple(images.shape)} and masks {tuple(hidden.shape)} do not fit")
    maps = embedder.local(images)
    seen = seen_places(hidden, (maps.shape[2], maps.shape[3]))
    # One by one, each with the places that it has: to aggregate takes no time beside the backbone.
    return torch.cat([
        embedder.aggregate(one[:, places].unsqueeze(0).unsqueeze(2))
        for one, places in zip(maps, seen, strict=True)
    ])  # fmt: skip


def seen_places(hidden: Tensor, size: tuple[int, int]) -> Tensor:
    """Places `(B, h, w)` of a feature map of which at most half is hidden; all where none is.

    Args:
        hidden: bool `(B, H, W)`.
        size: h and w.
    """
    share = functional.adaptive_avg_pool2d(hidden[:, None].float(), size)[:, 0]
    seen = share <= 0.5
    return seen | ~seen.any(dim=(1, 2), keepdim=True)


def check(embedder: Embedder) -> None:
    """Raise ValueError where an embedder's aggregation needs the whole map."""
    name = embedder.settings.aggregation
    if name not in OF_SETS:
        raise ValueError(
            f"aggregation {name} needs the whole feature map; places can be left out with "
            f"{', '.join(OF_SETS)}"
        )
