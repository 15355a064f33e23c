"""Ask the model about several crops of a photo and average its answers.

Five crops are four corners and the middle, squares of one share of the short side; ten are those
and their mirror images (Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural
Networks", NeurIPS 2012). The mirrored half is off by default: a mirrored street shows mirrored
writing and the wrong side of the road, which say where a photo was taken, and no photo of the
training was mirrored (data/transforms.py).

With p_k the posterior of crop k of K, the average is

    "probability":  log( 1/K sum over k of p_k )      one crop that knows can carry it
    "logits":       1/K sum over k of z_k              one crop that is sure it is not can veto it

both as logits, to be decoded like a single crop's. Descriptors are averaged and made unit vectors.
All crops of a batch go through the model at once.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from data.transforms import Box, crop, resize_map
from models.geocell_vit import GeocellViT, Prediction

AVERAGES = ("probability", "logits")
SHARE = 0.875  # of the short side: 224 of 256 px


class Views(NamedTuple):
    """K crops of each of B photos.

    Attributes:
        rgb: uint8 `(B, K, 3, S, S)`.
        seg: uint8 `(B, K, S, S)`, zeros where there is no map.
    """

    rgb: Tensor
    seg: Tensor


def crop_boxes(height: int, width: int, share: float = SHARE) -> list[Box]:
    """Top left, top right, bottom left, bottom right and middle square of a photo.

    Args:
        height: of the photo, px.
        width: of the photo, px.
        share: edge of the squares, as a share of the short side.

    Raises:
        ValueError: `share` is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"the crops' share of the short side must lie in (0, 1], got {share}")
    side = max(1, round(share * min(height, width)))
    low, right = height - side, width - side
    middle = (round(low / 2), round(right / 2))
    corners = [(0, 0), (0, right), (low, 0), (low, right), middle]
    return [Box(top, left, side, side) for top, left in corners]


def five_crops(photos: Tensor, size: int, share: float = SHARE) -> Tensor:
    """Cut five squares out of photos uint8 `(B, 3, H, W)`: `(B, 5, 3, size, size)`.

    On the CPU, like all resizing of bytes; each crop is resized as by data/transforms.py. Photos
    of different sizes go one by one, as batches of 1.
    """
    boxes = crop_boxes(photos.shape[-2], photos.shape[-1], share)
    return torch.stack([_resized(crop(photos, box), size) for box in boxes], dim=1)


def ten_crops(photos: Tensor, size: int, share: float = SHARE) -> Tensor:
    """Five crops and their mirror images: `(B, 10, 3, size, size)`; see why not, above."""
    five = five_crops(photos, size, share)
    return torch.cat([five, five.flip(-1)], dim=1)


def views(
    rgb: Tensor, seg: Tensor | None, size: int, share: float = SHARE, mirror: bool = False
) -> Views:
    """Cut photos and their maps alike.

    Args:
        rgb: uint8 `(B, 3, H, W)`.
        seg: class indices uint8 `(B, H, W)`, or None.
        size: edge of the model's input, px.
        share: edge of the squares, as a share of the short side.
        mirror: ten crops, not five.

    Raises:
        ValueError: the maps have another size than the photos.
    """
    photos = (ten_crops if mirror else five_crops)(rgb, size, share)
    if seg is None:
        return Views(photos, photos.new_zeros(*photos.shape[:2], size, size))
    if seg.shape[-2:] != rgb.shape[-2:] or len(seg) != len(rgb):
        raise ValueError(f"maps {tuple(seg.shape)} are not those of photos {tuple(rgb.shape)}")
    boxes = crop_boxes(seg.shape[1], seg.shape[2], share)
    maps = seg.new_zeros(len(seg), len(boxes), size, size)
    for row, one in enumerate(seg):
        for column, box in enumerate(boxes):
            maps[row, column] = resize_map(crop(one, box), size)
    return Views(photos, torch.cat([maps, maps.flip(-1)], dim=1) if mirror else maps)


def predict_views(
    model: GeocellViT, crops: Views, has_seg: Tensor, average: str = "probability"
) -> Prediction:
    """Average the model's answers over the crops of each photo.

    Args:
        model: in evaluation mode.
        crops: of B photos.
        has_seg: bool `(B,)`.
        average: "probability" or "logits".

    Raises:
        ValueError: no such average.
    """
    count = crops.rgb.shape[1]
    flat = model(crops.rgb.flatten(0, 1), crops.seg.flatten(0, 1), has_seg.repeat_interleave(count))
    return averaged(flat, count, average)


def averaged(prediction: Prediction, count: int, average: str = "probability") -> Prediction:
    """Average rows k, k + 1 ... of each photo's `count` crops: a prediction of B x K to one of B.

    Raises:
        ValueError: no such average.
    """
    if average not in AVERAGES:
        raise ValueError(f"average must be one of {', '.join(AVERAGES)}, got {average!r}")

    def mean(logits: Tensor) -> Tensor:
        crops = logits.float().unflatten(0, (-1, count))
        if average == "logits":
            return crops.mean(dim=1)
        return crops.log_softmax(dim=2).logsumexp(dim=1) - torch.tensor(count).log()

    descriptors = prediction.descriptor.float().unflatten(0, (-1, count)).mean(dim=1)
    return Prediction(
        {level: mean(logits) for level, logits in prediction.cells.items()},
        mean(prediction.scene),
        functional.normalize(descriptors, dim=1),
    )


def _resized(photos: Tensor, size: int) -> Tensor:
    """Antialiased bilinear interpolation on bytes, a whole batch at a time."""
    batch = photos.contiguous(memory_format=torch.channels_last)
    resized = functional.interpolate(batch, (size, size), mode="bilinear", antialias=True)
    return resized.contiguous()
