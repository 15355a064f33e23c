"""Photos in a folder with a table of their positions, as test items like a stream's.

`IMG_ID` 7f/1a.jpg of the field's tables is looked up as it stands and with the usual extensions;
its segmentation map is 7f/1a.jpg.png or 7f/1a.png.
"""

from pathlib import Path, PurePath
from typing import Any

import torch
from torch.utils.data import Dataset

from data.images import ImageError, decode_seg, read_bytes, read_rgb
from data.sample import safe_key
from data.tables import read_photo_table
from data.transforms import EvalTransform, check_same_size

EXTENSIONS = ("", ".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")


class FolderPhotos(Dataset[dict[str, Any]]):
    """Items with rgb, seg, has_seg, lat, lon, key, valid and error, as `PhotoStream`'s.

    Args:
        images: folder of photos.
        csv: table with an id, lat and lon for each.
        size: side of the model's input, px.
        seg: folder of class-index maps, as large as their photos; a photo without one has
            `has_seg` False, one whose map does not fit cannot be used.

    Attributes:
        refused: how many rows of the table cannot be used; they are listed in `table.refused`.

    Raises:
        ValueError: the table is unusable, or no photo of it is in the folder; no such folder.
    """

    def __init__(self, images: Path, csv: Path, size: int, seg: Path | None = None) -> None:
        for folder in (images, seg):
            if folder is not None and not folder.is_dir():
                raise ValueError(f"no folder {folder}")
        self.images, self.seg = images, seg
        self.transform = EvalTransform(size)
        self.table = read_photo_table(csv, make_safe_keys=True)
        photos = self.table.photos
        self.keys = [str(key) for key in photos["image_id"]]
        self.lat, self.lon = photos["lat"].to_numpy(), photos["lon"].to_numpy()
        self.refused = len(self.table.refused)
        if not any(photo_of(images, key) for key in self.keys):
            raise ValueError(
                f"none of the {len(self.keys)} photos of {csv} is in {images}; "
                "photos must be named by their id"
            )

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Load one photo; one that cannot be read has `valid` False and says why."""
        size = self.transform.size
        item: dict[str, Any] = {
            "rgb": torch.zeros((3, size, size), dtype=torch.uint8),
            "seg": torch.zeros((size, size), dtype=torch.uint8),
            "has_seg": False,
            "lat": float(self.lat[row]),
            "lon": float(self.lon[row]),
            "key": self.keys[row],
            "valid": True,
            "error": "",
        }
        try:
            rgb, seg = self._load(self.keys[row])
        except ImageError as error:
            return item | {"valid": False, "error": str(error)}
        return item | {"rgb": rgb} | ({} if seg is None else {"seg": seg, "has_seg": True})

    def path_of(self, key: str) -> Path:
        """The photo of a key.

        Raises:
            ImageError: there is none in the folder.
        """
        path = photo_of(self.images, key)
        if path is None:
            raise ImageError(f"{key}: no such photo in {self.images}")
        return path

    def _load(self, key: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        rgb = torch.from_numpy(read_rgb(self.path_of(key))).permute(2, 0, 1)
        return self.transform(rgb, self._load_map(key, tuple(rgb.shape[1:])))

    def _load_map(self, key: str, size: tuple[int, ...]) -> torch.Tensor | None:
        path = map_of(self.seg, key) if self.seg else None
        if path is None:
            return None
        seg = torch.from_numpy(decode_seg(read_bytes(path), str(path)))
        try:
            check_same_size(size, tuple(seg.shape), key)
        except ValueError as error:
            raise ImageError(str(error)) from error
        return seg


def photo_of(folder: Path, key: str) -> Path | None:
    """The photo of a key, under its own name or the one that the downloader gives it."""
    return find(folder, key, EXTENSIONS) or find(folder, safe_key(key), EXTENSIONS)


def map_of(folder: Path, key: str) -> Path | None:
    """The segmentation map of a key, named by it with or without the photo's extension."""
    is_file_name = PurePath(key).suffix in EXTENSIONS[1:]
    bare = str(PurePath(key).with_suffix("")) if is_file_name else key
    return find(folder, key, (".png",)) or find(folder, bare, (".png",))


def find(folder: Path, key: str, extensions: tuple[str, ...]) -> Path | None:
    """The file of a key in `folder` with the first extension that there is; None without one.

    A key is a stranger's text: one that is absolute or climbs with `..` finds nothing.
    """
    if PurePath(key).is_absolute() or ".." in PurePath(key).parts:
        return None
    paths = (folder / f"{key}{extension}" for extension in extensions)
    return next((path for path in paths if path.is_file()), None)
