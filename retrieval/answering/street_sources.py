"""What a street answer is made from: a gallery, and the models that describe and re-rank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.answering.decision import Street, World
    from retrieval.answering.reranking import Reranking

RERANK_TOP = 5  # as `python -m retrieval.test --rerank_top`


@dataclass(frozen=True)
class StreetSources:
    """Folders, and how many matches are re-ranked.

    Attributes:
        gallery: made by `python -m retrieval.index`; None for answers without street.
        place_model: what described the gallery's photos, where the model bundle did not.
        rerank_model: made by `python -m retrieval.train_geowarp`; None leaves matches as found.
        images: photos of the gallery, the folder that was given at indexing; for re-ranking, and
            for the pictures on a map.
        rerank_top: matches that are re-ranked; None = `RERANK_TOP`.

    Raises:
        ValueError: they do not go together.
    """

    gallery: Path | None = None
    place_model: Path | None = None
    rerank_model: Path | None = None
    images: Path | None = None
    rerank_top: int | None = None

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise ValueError(problem)

    def _problem(self) -> str:
        if self.place_model and not self.gallery:
            return "--place_model goes with a gallery that it described: name one with --gallery"
        if self.rerank_model and not self.gallery:
            return "--rerank_model re-ranks the matches of a gallery: name one with --gallery"
        if self.rerank_model and not self.images:
            return (
                "--rerank_model compares photos: name the folder of the gallery's, the one given "
                "at indexing, with --images"
            )
        if self.images and not self.gallery:
            return "--images is the folder of a gallery's photos: name that with --gallery"
        if not self.rerank_model and self.rerank_top is not None:
            return "--rerank_top goes with --rerank_model"
        if self.images and not self.images.is_dir():
            return f"no folder {self.images}: --images is the folder of the gallery's photos"
        if self.rerank_top is not None and self.rerank_top < 2:
            return f"--rerank_top must be 2 or more, got {self.rerank_top}"
        return ""

    @property
    def needs_torch(self) -> bool:
        """Whether a model besides the bundle's is run."""
        return self.place_model is not None or self.rerank_model is not None

    def open(self, bundle_sha256: str, world: World) -> Street | None:
        """Open the gallery and its models; None without a gallery.

        Args:
            bundle_sha256: of the model bundle, which describes photos where no place model does.
            world: its cells.

        Raises:
            ValueError: one is damaged, or the gallery was made with another model.
        """
        if self.gallery is None:
            return None
        from retrieval.answering.decision import Street
        from retrieval.gallery import Gallery

        if self.place_model is None:
            gallery = Gallery.open(self.gallery, bundle_sha256)
            return Street(gallery, world, reranking=self._reranking())
        from retrieval.answering.place_describer import PlaceDescriber
        from retrieval.galleries.header import PLACE

        describer = PlaceDescriber.load(self.place_model)
        gallery = Gallery.open(self.gallery, describer.sha256, PLACE)
        return Street(gallery, world, describer, self._reranking())

    def _reranking(self) -> Reranking | None:
        if self.rerank_model is None or self.images is None:
            return None
        from retrieval.answering.dense_matcher import DenseMatcher
        from retrieval.answering.reranking import Reranking

        matcher = DenseMatcher.load(self.rerank_model)
        return Reranking(matcher, self.images, self.rerank_top or RERANK_TOP)
