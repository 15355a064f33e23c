"""Draw segmentation maps of photos while they are packed."""

from collections.abc import Iterator
from functools import cache
from itertools import islice

from data.seg_maps.png import encode_seg
from models.segmentation.segmenter import Segmenter
from setup.packing.packed import Outcome
from setup.packing.part_photos import Photo

BATCH = 8


def with_maps(photos: Iterator[Photo], segmenter: str, outcome: Outcome) -> Iterator[Photo]:
    """Give each photo the map that a network draws of it, and the outcome its classes.

    Args:
        photos: with rgb at full size.
        segmenter: name or folder, as `Segmenter.load` takes it.
        outcome: of the part.

    Raises:
        ValueError, OSError: the network cannot be had.
    """
    network = _load(segmenter)
    outcome.seg_classes = network.classes.to_json()
    while batch := list(islice(photos, BATCH)):
        maps = network.maps([photo.rgb for photo in batch])
        for photo, seg in zip(batch, maps, strict=True):
            yield photo._replace(seg=seg, seg_png=encode_seg(seg, network.classes))


@cache
def _load(segmenter: str) -> Segmenter:
    """The network, once a process."""
    return Segmenter.load(segmenter)
