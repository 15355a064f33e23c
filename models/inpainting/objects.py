"""Where things that move stand in a photo, by its segmentation map: the hole to be painted over."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from data.images import Pixels
from models.segmentation.named_classes import class_numbers

# As ADE20K and Cityscapes call them; a tram is Cityscapes' train.
MOVING = (
    "person", "rider", "bicycle", "motorcycle", "motorbike", "minibike", "car", "van", "bus",
    "truck", "train", "boat", "ship", "airplane", "animal", "passer-by",
)  # fmt: skip
DILATE_PX = 3  # maps are a little narrow, and a shadow of colour lies around everything


def object_hole(seg: Pixels, numbers: list[int], dilate_px: int = DILATE_PX) -> NDArray[np.bool_]:
    """Where a map shows one of some classes, widened.

    Args:
        seg: uint8 `(H, W)`, class numbers.
        numbers: Of the classes.
        dilate_px: Half the edge of the square that widens it.

    Returns:
        bool `(H, W)`.

    Raises:
        ValueError: `dilate_px` is negative.
    """
    if dilate_px < 0:
        raise ValueError(f"a hole is widened by 0 pixels or more, not {dilate_px}")
    hole = np.isin(seg, numbers)
    if not dilate_px or not hole.any():
        return hole
    wide = functional.max_pool2d(
        torch.from_numpy(hole)[None, None].float(), 2 * dilate_px + 1, 1, dilate_px
    )
    return wide[0, 0].numpy() > 0


def moving_classes(names: tuple[str, ...], wanted: tuple[str, ...] = ()) -> list[int]:
    """Numbers of the classes that move, or of those wanted by name.

    Raises:
        ValueError: the table has none of them; see `class_numbers`.
    """
    return class_numbers(names, wanted or MOVING, is_all_needed=bool(wanted))
