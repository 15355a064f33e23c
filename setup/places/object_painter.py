"""Paint over things that move in photos of a set, photo by photo, for `setup.inpaint_places`."""

import io
from collections.abc import Iterator
from pathlib import Path

import simplejpeg
from PIL import Image

from data.images import ImageError, Pixels, read_rgb
from data.seg_maps.stored_maps import StoredMaps
from models.inpainting.inpainter import Inpainter
from models.inpainting.objects import object_hole
from models.segmentation.drawn_maps import drawn_maps
from models.segmentation.segmenter import Segmenter
from setup.places.linked_copy import PlacesCopy

JPEG_QUALITY, WEBP_QUALITY = 95, 95
PAINTED, CLEAR, TOO_MUCH, FAILED = "painted", "nothing moves", "too much hidden", "not judged"
Found = Pixels | ValueError


class ObjectPainter:
    """What is done to each photo.

    Args:
        inpainter: Fills holes.
        maps: Tells where classes stand: a network, or maps drawn before.
        numbers: Of the classes to paint over.
        dilate_px: How far the holes are widened.
        most_hole: A photo of which more would be made up is left as it is.
    """

    def __init__(
        self,
        inpainter: Inpainter,
        maps: Segmenter | StoredMaps,
        numbers: list[int],
        dilate_px: int,
        most_hole: float,
    ) -> None:
        self.inpainter, self.maps, self.numbers = inpainter, maps, numbers
        self.dilate_px, self.most_hole = dilate_px, most_hole

    def work(self, copy: PlacesCopy, paths: list[Path]) -> Iterator[tuple[Path, str, float, str]]:
        """Write or link some photos; yields path, outcome, share of the hole and error of each."""
        photos = [_read(path) for path in paths]
        for path, photo, seg in zip(paths, photos, self._maps(paths, photos), strict=True):
            if isinstance(photo, ValueError) or isinstance(seg, ValueError):
                copy.link(path)
                yield path, FAILED, 0.0, str(photo if isinstance(photo, ValueError) else seg)
            else:
                yield path, *self._one(copy, path, photo, seg), ""

    def _one(self, copy: PlacesCopy, path: Path, photo: Pixels, seg: Pixels) -> tuple[str, float]:
        hole = object_hole(seg, self.numbers, self.dilate_px)
        share = float(hole.mean())
        if not 0 < share <= self.most_hole:
            copy.link(path)
            return (TOO_MUCH if share else CLEAR), share
        data = encode(self.inpainter.fill(photo, hole), path.suffix)
        with copy.writing(path) as temporary:
            temporary.write_bytes(data)
        return PAINTED, share

    def _maps(self, paths: list[Path], photos: list[Found]) -> list[Found]:
        """The map of each photo, or why there is none."""
        if isinstance(self.maps, StoredMaps):
            return [self._stored(*pair) for pair in zip(paths, photos, strict=True)]
        readable = [photo for photo in photos if not isinstance(photo, ValueError)]
        drawn = iter(drawn_maps(self.maps, readable))
        return [photo if isinstance(photo, ValueError) else next(drawn) for photo in photos]

    def _stored(self, path: Path, photo: Found) -> Found:
        assert isinstance(self.maps, StoredMaps)
        if isinstance(photo, ValueError):
            return photo
        try:
            return self.maps.of(path, (photo.shape[0], photo.shape[1]))
        except ImageError as error:
            return error


def encode(photo: Pixels, suffix: str) -> bytes:
    """A photo as a file of the kind that a name ends with."""
    if suffix.lower() in (".jpg", ".jpeg"):
        return simplejpeg.encode_jpeg(photo, quality=JPEG_QUALITY, colorsubsampling="444")
    file = io.BytesIO()
    is_webp = suffix.lower() == ".webp"
    kind, options = ("WEBP", {"quality": WEBP_QUALITY}) if is_webp else ("PNG", {})
    Image.fromarray(photo).save(file, kind, **options)
    return file.getvalue()


def _read(path: Path) -> Found:
    try:
        return read_rgb(path)
    except ImageError as error:
        return error
