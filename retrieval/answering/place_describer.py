"""Describe the photo that is asked about with the place model that described the gallery.

The photo is shown to it as `python -m retrieval.test` shows a photo of the database, and as
`python -m retrieval.index` has shown the gallery's. Imports torch: only answers from a gallery of a
place model take it.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.place_sets.photos import Size, resized
from models.places.place_model import PlaceModel, load_place_model
from retrieval.answering.query import Query
from retrieval.descriptor_cache import normal

CPU = torch.device("cpu")


class PlaceDescriber:
    """A place model that describes one photo at a time.

    Args:
        model: what `python -m retrieval.train` made.
    """

    def __init__(self, model: PlaceModel) -> None:
        self._embedder, self._size = model.embedder.to(CPU).eval(), model.size
        self.sha256 = model.sha256

    @classmethod
    def load(cls, directory: Path) -> "PlaceDescriber":
        """Read a place model's folder.

        Raises:
            ValueError: it holds no whole place model.
        """
        return cls(load_place_model(directory))

    def __call__(self, query: Query) -> NDArray[np.float32]:
        """Describe a photo, `(D,)` of length 1."""
        with torch.inference_mode():
            pictures = normal(shown(query, self._size), self._embedder, CPU)
            found = self._embedder(pictures)[0].double()
            return (found / found.norm()).float().numpy()


def shown(query: Query, size: Size) -> Tensor:
    """A photo as `PlacePhotos` shows those of a database: uint8 `(1, 3, *size)`."""
    rgb = torch.from_numpy(query.pixels(min_side=max(size))).permute(2, 0, 1)
    return resized(rgb, size)[None]
