"""How alike the photo that is asked about and gallery photos are, once warped: by GeoWarp.

Scores as in `retrieval/geowarp/reranker.py`, of feature maps; but the query needs no file, and
nothing of it is kept. Imports torch: only answers that are re-ranked take it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.place_sets.photos import PlacePhotos
from models.warping.file import WarpModel, load_geowarp
from retrieval.answering.place_describer import CPU, shown
from retrieval.answering.query import Query
from retrieval.descriptor_cache import Engine
from retrieval.geowarp.reranker import quick, scores_of_maps
from retrieval.geowarp.views import shown_to

BATCH = 16  # candidates at a time, whatever number is asked for


class DenseMatcher:
    """A GeoWarp that compares one photo with a few others.

    Args:
        warp_model: what `python -m retrieval.train_geowarp` made.
    """

    def __init__(self, warp_model: WarpModel) -> None:
        self._model = quick(warp_model.model.to(CPU).eval())
        self._size = warp_model.size

    @classmethod
    def load(cls, directory: Path) -> "DenseMatcher":
        """Read a GeoWarp model's folder.

        Raises:
            ValueError: it holds no whole one.
        """
        return cls(load_geowarp(directory))

    def maps(self, query: Query) -> NDArray[np.float32]:
        """Feature maps of the photo that is asked about, `(C, h, w)`."""
        with torch.inference_mode():
            return self._maps(shown(query, self._size))[0].numpy()

    def scores(self, maps: NDArray[np.float32], paths: Sequence[Path]) -> NDArray[np.float64]:
        """Compare the photo of these maps with others, `(K,)`: the more the more alike.

        NaN where a photo cannot be read. Pairs for which no common view is found are compared
        unwarped, as in `retrieval.test`.
        """
        photos, every = PlacePhotos(paths, self._size), range(len(paths))
        scores = np.full(len(paths), np.nan)
        with torch.inference_mode():
            for members, pictures in photos.batches(every, BATCH):
                found = scores_of_maps(
                    self._model, torch.from_numpy(maps)[None], self._maps(pictures)
                )
                scores[members] = found[0].double().numpy()
        return np.where([photos.is_readable(row) for row in every], scores, np.nan)

    def _maps(self, pictures: Tensor) -> Tensor:
        return self._model.maps(shown_to(self._model, pictures, Engine()))
