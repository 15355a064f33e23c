"""Maps of photos of which one may have a shape that the network refuses: that one says so."""

from collections.abc import Sequence

from data.images import Pixels
from models.segmentation.segmenter import Segmenter


def drawn_maps(
    segmenter: Segmenter, photos: Sequence[Pixels], batch: int = 8
) -> list[Pixels | ValueError]:
    """The map of each photo, or the error of drawing it.

    Args:
        segmenter: Draws them.
        photos: uint8 `(H, W, 3)` each.
        batch: How many go through the network at a time.
    """
    try:
        return list(segmenter.maps(photos, batch))
    except ValueError:  # of one of them: find it
        return [_alone(segmenter, photo) for photo in photos]


def _alone(segmenter: Segmenter, photo: Pixels) -> Pixels | ValueError:
    try:
        return segmenter.maps([photo])[0]
    except ValueError as error:
        return error
