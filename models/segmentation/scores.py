"""From what a segmentation network gives to a map of classes at the photo's own size.

The definition is transformers' own (`post_process_semantic_segmentation` of each family): scores of
every class on a coarse grid, interpolated bilinearly to the photo's size, then the best class of
each pixel. MaskFormer and Mask2Former give masks and a class for each: a class's score is the sum
over masks of its probability times the mask's (Cheng et al., "Per-Pixel Classification is Not All
You Need for Semantic Segmentation", NeurIPS 2021, https://arxiv.org/abs/2107.06278, section 3.4).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

MASK2FORMER_GRID = (
    384,
    384,
)  # on which transformers weighs Mask2Former's masks, whatever its input
BLOCK_VALUES = 2**25  # interpolated at a time: 128 MiB


def num_photos(outputs: Any) -> int:
    """How many photos a network's outputs are of."""
    return len(outputs.logits if "logits" in outputs else outputs.class_queries_logits)


def class_scores(outputs: Any, photo: int, model_type: str) -> Tensor:
    """Scores of one photo of a batch, `(C, h, w)` on the network's own grid.

    Args:
        outputs: what a transformers model returned.
        photo: its number in the batch.
        model_type: the configuration's: "mask2former", "maskformer", or any that gives logits.
    """
    if "logits" in outputs:
        return outputs.logits[photo].float()
    masks = outputs.masks_queries_logits[photo].float()
    if model_type == "mask2former":
        masks = _resized(masks, *MASK2FORMER_GRID)
    # The last class is "nothing".
    classes = outputs.class_queries_logits[photo].float().softmax(-1)[:, :-1]
    return torch.einsum("qc,qhw->chw", classes, masks.sigmoid())


def class_map(scores: Tensor, height: int, width: int) -> Tensor:
    """The best class of each pixel of a photo.

    Args:
        scores: `(C, h, w)`, at most 256 classes.
        height: of the photo, px.
        width: of the photo, px.

    Returns:
        uint8 `(height, width)`; the first of equally good classes.

    Raises:
        ValueError: a score is not finite.
    """
    if not torch.isfinite(scores).all():
        raise ValueError("the segmentation network gives NaN or infinite scores; try --device cpu")
    candidates = possible_winners(scores)
    best = torch.full((height, width), -torch.inf, device=scores.device)
    classes = torch.zeros((height, width), dtype=torch.long, device=scores.device)
    for block in candidates.split(max(1, BLOCK_VALUES // (height * width))):
        value, at = _resized(scores[block], height, width).max(dim=0)
        better = value > best
        best, classes = torch.where(better, value, best), torch.where(better, block[at], classes)
    return classes.to(torch.uint8)


def possible_winners(scores: Tensor) -> Tensor:
    """The classes that can be best somewhere once `scores` are interpolated; int64, ascending.

    An interpolated score lies between the least and the greatest of the four corners around it. So
    a class whose greatest corner is below another's least cannot win there, and one that can win
    nowhere need not be interpolated: of ADE20K's 150 classes a photo shows about a dozen.
    """
    if min(scores.shape[1:]) < 2:
        return torch.arange(len(scores), device=scores.device)
    surely = _of_corners(torch.minimum, scores).amax(0)
    rounding = 1e-5 * scores.abs().max()
    may_win = _of_corners(torch.maximum, scores) >= surely - rounding
    return may_win.flatten(1).any(1).nonzero()[:, 0]


def _of_corners(choose: Any, scores: Tensor) -> Tensor:
    """The least or greatest of each 2 x 2 corners, `(C, h - 1, w - 1)`."""
    rows = choose(scores[:, 1:], scores[:, :-1])
    return choose(rows[:, :, 1:], rows[:, :, :-1])


def _resized(scores: Tensor, height: int, width: int) -> Tensor:
    return functional.interpolate(
        scores[None], (height, width), mode="bilinear", align_corners=False
    )[0]
