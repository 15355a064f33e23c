"""Samples with segmentation maps drawn beside their photos, in order, the network kept busy.

Threads decode and prepare photos ahead of the network and encode maps behind it. Which photos go
through the network together depends on their order alone, never on which thread was faster: the
same samples give the same bytes.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from data.images import decode_rgb
from data.sample import Sample
from data.seg_maps.classes import SegClasses
from data.seg_maps.png import encode_seg
from setup.engine import cores

Pixels = NDArray[np.uint8]

BATCHES_AT_HAND = 4  # photos of one shape are looked for among so many batches
MOST_THREADS = 16


class MapMaker(Protocol):
    """What is asked of a network: see `models.segmentation.segmenter.Segmenter`."""

    classes: SegClasses

    def prepare(self, photo: Pixels) -> Pixels:
        """A photo as the network takes it."""

    def draw(
        self, prepared: Sequence[Pixels], sizes: Sequence[tuple[int, ...]], batch: int
    ) -> list[Pixels]:
        """The maps of prepared photos."""


class Segmented(NamedTuple):
    """A sample on its way out: with a map, or with the reason why it has none."""

    sample: Sample
    error: str = ""


class _Loaded(NamedTuple):
    segmented: Segmented
    prepared: Pixels | None = None
    size: tuple[int, ...] = ()


def segmented_samples(
    network: MapMaker, samples: Iterable[Sample], batch: int = 16
) -> Iterator[Segmented]:
    """Yield every sample, in order, with the map that `network` draws of its photo.

    Args:
        network: draws the maps.
        samples: one that has a map keeps it.
        batch: photos that go through the network at a time.
    """
    samples, window = iter(samples), batch * BATCHES_AT_HAND
    pool = ThreadPoolExecutor(min(cores(), MOST_THREADS))
    try:
        loading = deque(_load_all(pool, network, islice(samples, 2 * window)))
        encoding: list[Future[Segmented]] = []
        while loading:
            loaded = [loading.popleft().result() for _ in range(min(window, len(loading)))]
            loading += _load_all(pool, network, islice(samples, len(loaded)))
            maps = _drawn(network, loaded, batch)
            yield from (future.result() for future in encoding)  # of the window before
            encoding = [
                pool.submit(_encoded, one.segmented, seg, network.classes)
                for one, seg in zip(loaded, maps, strict=True)
            ]
        yield from (future.result() for future in encoding)
    finally:
        pool.shutdown(cancel_futures=True)


def _load_all(
    pool: ThreadPoolExecutor, network: MapMaker, samples: Iterable[Sample]
) -> list[Future[_Loaded]]:
    return [pool.submit(_load, network, sample) for sample in samples]


def _load(network: MapMaker, sample: Sample) -> _Loaded:
    """Decode and prepare the photo of a sample that needs a map."""
    if sample.seg_png is not None:
        return _Loaded(Segmented(sample))
    try:
        photo = decode_rgb(sample.jpg, sample.key)
        return _Loaded(Segmented(sample), network.prepare(photo), photo.shape[:2])
    except ValueError as error:  # not an image, or a shape that the network's processor refuses
        return _Loaded(Segmented(sample, str(error)))


def _drawn(network: MapMaker, loaded: list[_Loaded], batch: int) -> list[Pixels | None]:
    """The maps of those that could be loaded and have none, None for the others."""
    ready = [one for one in loaded if one.prepared is not None]
    prepared = [one.prepared for one in ready if one.prepared is not None]
    maps = iter(network.draw(prepared, [one.size for one in ready], batch))
    return [None if one.prepared is None else next(maps) for one in loaded]


def _encoded(segmented: Segmented, seg: Pixels | None, classes: SegClasses) -> Segmented:
    if seg is None:
        return segmented
    return Segmented(segmented.sample._replace(seg_png=encode_seg(seg, classes)))
