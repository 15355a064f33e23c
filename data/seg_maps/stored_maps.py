"""Segmentation maps in a folder: the map of each photo, and what its numbers mean.

The folder that `python -m setup.segment_images --images DIR --output MAPS` writes: images/7f/1a.jpg
of the photos' folder has its map in images/7f/1a.png, and segmentation.json holds the classes.
"""

import json
from pathlib import Path

from data.images import ImageError, Pixels, decode_seg, read_bytes
from data.seg_maps.classes import SegClasses
from partitioning.atomic_file import atomic_path

RECORD = "segmentation.json"


class StoredMaps:
    """The maps of a folder of photos.

    Args:
        maps: Folder of the maps.
        photos: Folder of the photos, whose paths below it name the maps.

    Attributes:
        classes: What the numbers mean.

    Raises:
        ValueError: no such folder, or nothing in it says what the classes are.
    """

    def __init__(self, maps: Path, photos: Path) -> None:
        self.maps, self.photos = maps, photos
        path = maps / RECORD
        if not path.is_file():
            raise ValueError(
                f"no {path}, which names the classes; maps are what `python -m "
                "setup.segment_images --images DIR --output MAPS` draws"
            )
        try:
            record = json.loads(path.read_text())["seg_classes"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} holds no table of classes ({error!r})") from None
        self.classes = SegClasses.from_json(json.dumps(record))

    def of(self, photo: Path, size: tuple[int, int] | None = None) -> Pixels:
        """The map of a photo, uint8 `(H, W)`.

        Args:
            photo: A file below the photos' folder.
            size: Height and width that it must have.

        Raises:
            ImageError: there is none, it is damaged, or of another size.
        """
        path = (self.maps / photo.relative_to(self.photos)).with_suffix(".png")
        if not path.is_file():
            raise ImageError(f"{photo}: no map {path}; draw it with setup.segment_images")
        seg = decode_seg(read_bytes(path), str(path))
        if size is not None and seg.shape != tuple(size):
            raise ImageError(f"{path}: the map is {seg.shape}, its photo {tuple(size)}; draw again")
        return seg


def write_classes(maps: Path, classes: SegClasses) -> None:
    """Note in a folder of maps what their numbers mean, as `StoredMaps` reads it."""
    with atomic_path(maps / RECORD) as temporary:
        temporary.write_text(json.dumps({"seg_classes": json.loads(classes.to_json())}, indent=2))
