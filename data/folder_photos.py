"""Photos in a folder with a table of their positions, as test items like a stream's.

`IMG_ID` 7f/1a.jpg of the field's tables is looked up as it stands and with the usual extensions.
"""

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from data.images import ImageError, decode_seg, read_bytes, read_rgb
from data.tables import read_photo_table
from data.transforms import EvalTransform

EXTENSIONS = ("", ".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")


class FolderPhotos(Dataset[dict[str, Any]]):
    """Items with rgb, seg, has_seg, lat, lon, key, valid and error, as `PhotoStream`'s.

    Args:
        images: folder of photos.
        csv: table with an id, lat and lon for each.
        size: side of the model's input, px.
        seg: folder of class-index maps `ID.png`; a photo without one has `has_seg` False.

    Attributes:
        refused: how many rows of the table cannot be used; they are listed in `table.refused`.

    Raises:
        ValueError: the table is unusable, or no photo of it is in the folder.
    """

    def __init__(self, images: Path, csv: Path, size: int, seg: Path | None = None) -> None:
        if not images.is_dir():
            raise ValueError(f"no folder {images}")
        self.images, self.seg = images, seg
        self.transform = EvalTransform(size)
        self.table = read_photo_table(csv, make_safe_keys=True)
        photos = self.table.photos
        self.keys = [str(key) for key in photos["image_id"]]
        self.lat, self.lon = photos["lat"].to_numpy(), photos["lon"].to_numpy()
        self.refused = len(self.table.refused)
        if not any(self.path_of(key).is_file() for key in self.keys):
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

    def _load(self, key: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        rgb = torch.from_numpy(read_rgb(self.path_of(key))).permute(2, 0, 1)
        path = self.seg / f"{key}.png" if self.seg else None
        seg = None
        if path is not None and path.is_file():
            seg = torch.from_numpy(decode_seg(read_bytes(path), str(path)))
        return self.transform(rgb, seg)

    def path_of(self, key: str) -> Path:
        """The file of a key; the plain name where there is none, for the error to name."""
        paths = [self.images / f"{key}{extension}" for extension in EXTENSIONS]
        inside = [p for p in paths if p.resolve().is_relative_to(self.images.resolve())]
        return next((path for path in inside if path.is_file()), self.images / f"{key}.jpg")
