"""Scenes of many photos: decoded in threads while the network is at the batch before."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, Protocol

from data.images import ImageError, decode_rgb
from data.places365 import Hierarchy

DIGITS = 6  # of a probability, as it is written


class Labels(NamedTuple):
    """What a photo shows, as the sample contract and the field's tables have it.

    Attributes:
        s3: probabilities of indoor, natural, urban.
        s16: number of the likeliest group of scenes.
        s365: number of the likeliest scene.
    """

    s3: list[float]
    s16: int
    s365: int


class Photo(NamedTuple):
    """A photo to be labelled.

    Attributes:
        name: what errors call it.
        read: gives its file; called in a thread.
        given: whatever the caller wants back with its labels.
    """

    name: str
    read: Callable[[], bytes]
    given: Any


class Classifies(Protocol):
    """What of a `models.scenes.classifier.SceneClassifier` is used here."""

    def prepare(self, photo: Any) -> Any:
        """A photo as the network takes it."""
        ...

    def classify(self, prepared: Any, batch: int) -> Any:
        """Probabilities `(N, 365)` of prepared photos."""
        ...


class Labeller:
    """Labels photos; a context manager, which owns threads.

    Args:
        classifier: of the 365 scenes.
        hierarchy: what sums them up.
        batch: photos that go through the network at a time.
        workers: threads that decode.
    """

    def __init__(
        self, classifier: Classifies, hierarchy: Hierarchy, batch: int = 32, workers: int = 4
    ) -> None:
        if batch < 1 or workers < 1:
            raise ValueError(f"batch and workers must be at least 1, got {batch} and {workers}")
        self._classifier, self._hierarchy, self._batch = classifier, hierarchy, batch
        self._threads = ThreadPoolExecutor(workers)

    def __enter__(self) -> "Labeller":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def labels(self, photos: Iterable[Photo]) -> Iterator[tuple[Any, Labels | ImageError]]:
        """Yield what was given with each photo and its labels, or why it has none, in order."""
        photos = iter(photos)
        waiting = self._start(photos)
        while waiting:
            coming = self._start(photos)
            yield from self._finish(waiting)
            waiting = coming

    def _start(self, photos: Iterator[Photo]) -> list[tuple[Any, Future[Any]]]:
        return [
            (photo.given, self._threads.submit(self._prepare, photo))
            for photo in islice(photos, self._batch)
        ]

    def _prepare(self, photo: Photo) -> Any:
        try:
            return self._classifier.prepare(decode_rgb(photo.read(), photo.name))
        except ImageError as error:
            return error

    def _finish(
        self, waiting: list[tuple[Any, Future[Any]]]
    ) -> Iterator[tuple[Any, Labels | ImageError]]:
        prepared = [future.result() for _, future in waiting]
        good = [photo for photo in prepared if not isinstance(photo, ImageError)]
        found = self._classifier.classify(good, self._batch)
        s3, s16 = self._hierarchy.sum_up(found)
        labels = (
            Labels(
                [round(float(p), DIGITS) for p in kinds], int(groups.argmax()), int(row.argmax())
            )
            for kinds, groups, row in zip(s3, s16, found, strict=True)
        )
        for (given, _), photo in zip(waiting, prepared, strict=True):
            yield given, photo if isinstance(photo, ImageError) else next(labels)
