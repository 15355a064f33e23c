"""Re-rank by GeoWarp: how alike query and candidate are once both are seen from one viewpoint.

Berton et al., "Viewpoint Invariant Dense Matching for Visual Geolocalization", 2021,
https://arxiv.org/abs/2109.09827, section 3.5. The query is encoded once, all of its candidates are
warped in one batch. What is warped is either the feature maps, which takes no further pass of the
backbone, or the photos, as in the source, which takes one for each warped photo.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.place_sets.photos import PlacePhotos
from models.geowarp import SIDE, GeoWarp, Quads, dense_features
from models.homography import is_degenerate, warp, whole
from models.warping.file import WarpModel
from models.warping.fourier_conv import quickened
from retrieval.descriptor_cache import Engine
from retrieval.geowarp.views import shown_to

WARPED = ("maps", "photos")
CACHE_BYTES = 2**30  # of candidates' maps: neighbouring queries share candidates


class GeoWarpReranker:
    """Scores candidates of a query.

    Args:
        warp_model: Trained.
        engine: Device and threads.
        warped: One of `WARPED`.

    Attributes:
        refused: Photos that could not be read, and why.
        not_warped: Pairs whose quads were no pictures; they were compared unwarped.

    Raises:
        ValueError: another `warped`.
    """

    def __init__(self, warp_model: WarpModel, engine: Engine, warped: str = "maps") -> None:
        if warped not in WARPED:
            raise ValueError(f"what is warped must be one of {', '.join(WARPED)}, got {warped!r}")
        self.model = quick(warp_model.model.to(engine.device).eval())
        self.size = warp_model.size
        self.engine, self.warped = engine, warped
        self.refused: dict[str, str] = {}
        self.not_warped = 0
        self._maps: OrderedDict[Path, Tensor] = OrderedDict()
        self._bytes = 0

    def __call__(self, query: Path, candidates: Sequence[Path]) -> NDArray[np.float64]:
        """Score candidates, the more the better; NaN where a photo cannot be read `(K,)`."""
        with torch.inference_mode():
            found = self._encoded([query, *candidates])
            scores = np.full(len(candidates), np.nan)
            known = [i for i, path in enumerate(candidates) if path in found]
            if query not in found or not known:
                return scores
            maps = torch.stack([found[candidates[i]] for i in known])
            paths = [query, *(candidates[i] for i in known)]
            score = self._by_photos if self.warped == "photos" else self._by_maps
            scores[known] = score(found[query][None], maps, paths).double().cpu().numpy()
            return scores

    def _by_maps(self, query: Tensor, candidates: Tensor, paths: Sequence[Path]) -> Tensor:
        scores, lost = scores_of_maps(self.model, query, candidates)
        self.not_warped += lost
        return scores

    def _by_photos(self, query: Tensor, candidates: Tensor, paths: Sequence[Path]) -> Tensor:
        shown = shown_to(self.model, self._pictures(paths), self.engine)
        quads, lost = common_quads(self.model, query, candidates)
        self.not_warped += lost
        sides = shown[:1].expand(len(candidates), -1, -1, -1), shown[1:]
        pair = torch.cat([warp(s, q) for s, q in zip(sides, quads, strict=True)])
        a, b = self.model.dense(pair).chunk(2)
        return (a * b).sum(dim=(1, 2, 3))

    def _encoded(self, paths: Sequence[Path]) -> dict[Path, Tensor]:
        """Feature maps `(D, h, w)` by path; those not in the cache are made in one batch."""
        for path in paths:
            if path in self._maps:
                self._maps.move_to_end(path)
        new = [path for path in dict.fromkeys(paths) if path not in self._maps]
        if new:
            photos = PlacePhotos(new, self.size)
            for members, pictures in photos.batches(range(len(new)), len(new), self.engine.workers):
                maps = self.model.maps(shown_to(self.model, pictures, self.engine))
                for row, map_ in zip(members, maps, strict=True):
                    if photos.is_readable(row):
                        self._keep(new[row], map_)
            self.refused |= photos.refused
        found = {path: self._maps[path] for path in paths if path in self._maps}
        self._shrink()
        return found

    def _keep(self, path: Path, map_: Tensor) -> None:
        self._maps[path] = map_.clone()
        self._bytes += map_.nbytes

    def _shrink(self) -> None:
        while self._bytes > CACHE_BYTES:
            _, map_ = self._maps.popitem(last=False)
            self._bytes -= map_.nbytes

    def _pictures(self, paths: Sequence[Path]) -> Tensor:
        photos = PlacePhotos(paths, self.size)
        return next(photos.batches(range(len(paths)), len(paths), self.engine.workers))[1]


def quick(model: GeoWarp) -> GeoWarp:
    """The same answers sooner: on a CPU the regression takes two thirds of a re-ranking."""
    if next(model.regression.parameters()).device.type != "cpu":
        return model
    answering = GeoWarp(model.extractor)
    answering.regression.conv = quickened(model.regression.conv, SIDE)
    answering.regression.linear = model.regression.linear
    return answering.eval()


def scores_of_maps(model: GeoWarp, query: Tensor, candidates: Tensor) -> tuple[Tensor, int]:
    """Dense dot products of a query's map and its candidates' maps, both warped.

    Args:
        model: In evaluation mode.
        query: `(1, D, h, w)`.
        candidates: `(K, D, h, w)`.

    Returns:
        Scores `(K,)` and how many pairs could not be warped.
    """
    quads, lost = common_quads(model, query, candidates)
    sides = query.expand(len(candidates), -1, -1, -1), candidates
    a, b = (dense_features(warp(maps, q)) for maps, q in zip(sides, quads, strict=True))
    return (a * b).sum(dim=(1, 2, 3)), lost


def common_quads(model: GeoWarp, query: Tensor, candidates: Tensor) -> tuple[Quads, int]:
    """What a query shares with each candidate, by their maps; pairs without are left whole."""
    dense = dense_features(query).expand(len(candidates), -1, -1, -1)
    found = model.quads(dense, dense_features(candidates))
    lost = is_degenerate(found.a) | is_degenerate(found.b)
    sound = (torch.where(lost[:, None, None], whole(len(q), q), q) for q in found)
    return Quads(*sound), int(lost.sum())
