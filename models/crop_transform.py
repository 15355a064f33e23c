"""Several crops of each test photo as one item: what lets a data set feed models/crops.py.

A transform like those of data/transforms.py, whose pictures have a dimension more: one a crop.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from data.transforms import Box, Geometry, PairedTransform
from models.crops import views

COUNTS = (1, 5, 10)


class CropTransform(PairedTransform):
    """Five crops, or ten with their mirror images, of photo and map alike.

    Args:
        size: edge of each crop, px.
        count: 5 or 10.
    """

    def __init__(self, size: int, count: int) -> None:
        super().__init__(size)
        if count not in COUNTS[1:]:
            raise ValueError(f"crops must be one of {', '.join(map(str, COUNTS))}, got {count}")
        self.count = count

    def geometry(self, height: int, width: int, generator: torch.Generator | None) -> Geometry:
        """The whole photo, at its full size."""
        return Geometry(Box(0, 0, height, width), False, 1)

    def apply(
        self,
        rgb: Tensor,
        seg: Tensor | None,
        geometry: Geometry,
        generator: torch.Generator | None,
        factor: int = 1,
    ) -> tuple[Tensor, Tensor | None]:
        """Cut the crops: rgb uint8 `(K, 3, S, S)` and seg uint8 `(K, S, S)` or None."""
        maps = None if seg is None else seg.unsqueeze(0)
        cut = views(rgb.unsqueeze(0), maps, self.size, mirror=self.count == COUNTS[-1])
        return cut.rgb[0], None if seg is None else cut.seg[0]

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch; the black pictures of photos that cannot be read, or lack a map, get K crops."""
        return default_collate(
            [
                item
                | {"rgb": self._repeated(item["rgb"], 3), "seg": self._repeated(item["seg"], 2)}
                for item in items
            ]
        )

    def _repeated(self, picture: Tensor, dimensions: int) -> Tensor:
        return picture.expand(self.count, *picture.shape) if picture.ndim == dimensions else picture
