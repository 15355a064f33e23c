"""The photo that is asked about: read once, decoded as large as each model wants it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.images import Pixels, decode_rgb, read_bytes


@dataclass(frozen=True, eq=False)
class Query:
    """A photo.

    Attributes:
        content: the bytes of an image file, or decoded pixels uint8 `(H, W, 3)`.
        name: what error messages call it.
    """

    content: bytes | Pixels
    name: str = "image"

    @classmethod
    def of(cls, photo: str | Path | bytes | Pixels) -> "Query":
        """A file, its bytes, or decoded pixels uint8 `(H, W, 3)`.

        Raises:
            ImageError: the file cannot be read.
            ValueError: pixels of another kind.
        """
        if isinstance(photo, bytes):
            return cls(photo)
        if isinstance(photo, (str, Path)):
            return cls(read_bytes(photo), str(photo))
        if photo.ndim == 3 and photo.shape[2] == 3 and photo.dtype == "uint8" and photo.size:
            return cls(np.ascontiguousarray(photo))  # torch takes no view that runs backwards
        raise ValueError(f"pixels must be uint8 (H, W, 3), not {photo.dtype} {photo.shape}")

    def pixels(self, min_side: int = 0) -> Pixels:
        """Decode it, uint8 `(H, W, 3)`; arguments and errors as `data.images.decode_rgb`."""
        if not isinstance(self.content, bytes):
            return self.content
        return decode_rgb(self.content, self.name, min_side=min_side)
