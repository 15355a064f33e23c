"""Segmentation maps into shards: each shard is written anew, the maps beside the photos.

The same keys in the same shards, photos and metadata unchanged. Shards are made one by one or in
parallel (setup/engine.py), each whole or not at all, so a stopped run goes on with those that are
not there. A photo that cannot be decoded is carried over without a map and listed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from data.images import decode_rgb
from data.index import Index
from data.sample import Sample
from data.seg_maps.classes import SegClasses
from data.seg_maps.stored_maps import RECORD
from data.sharding.index_tables import MANIFEST, read_seg_classes, sha256
from data.sharding.part import ShardPart, join_parts, part_is_done
from models.segmentation.segmenter import Segmenter
from partitioning.atomic_file import atomic_path
from setup.engine import run
from setup.packing.part_plan import alone
from setup.segmenting.progress import show_photos
from setup.segmenting.record import begin
from setup.segmenting.samples import segmented_samples

UNMAPPED = "unmapped_photos.csv"


@dataclass(frozen=True)
class ShardStep:
    """Segment one shard; picklable, and may be run again.

    Attributes:
        shards: folder or URL of the photos.
        output: folder for the shards with maps.
        model: name or folder of the network.
        device: as `Segmenter.load`'s.
        batch: photos that go through the network at a time.
        replace: draw maps also where there is one.
    """

    shards: str
    output: Path
    model: str
    device: str = "auto"
    batch: int = 16
    replace: bool = False

    def __call__(self, name: str, on_photo: Callable[[int], None] = lambda _: None) -> int:
        """Make the shard `name`; returns its number of photos.

        Raises:
            ValueError: the network cannot be had, or a sample is damaged.
        """
        rows = _rows_of(_index(self.shards), name)
        if part_is_done(self.output, name):
            return len(rows)
        network = load_segmenter(self.model, self.device)
        with ShardPart(self.output, name) as part:
            for sample, _ in segmented_samples(network, self._samples(rows), self.batch):
                key, jpg, seg_png, json = sample
                # Photos are carried over as they are, also those that cannot be decoded.
                part.write(key, jpg, json, seg_png, check_images=False)
                on_photo(1)
        return len(rows)

    def _samples(self, rows: list[int]) -> Iterator[Sample]:
        for row in rows:
            sample = _index(self.shards).read(row)
            yield sample._replace(seg_png=None) if self.replace else sample


@dataclass(frozen=True)
class Drawn:
    """What came of a folder of shards.

    Attributes:
        output: the folder with maps.
        samples: in it.
        kept: maps that were there before.
        unmapped: photos without a map; they are listed in `UNMAPPED`.
        is_unsure: kept maps of which nothing says what their classes are.
    """

    output: Path
    samples: int
    kept: int
    unmapped: int
    is_unsure: bool


def segment_shards(
    step: ShardStep, engine: str = "local", workers: int = 1, ray_address: str = ""
) -> Drawn:
    """Segment all photos of a folder of shards, or go on doing so.

    Args:
        step: what to do; its `output` is an empty folder, or one begun with the same step.
        engine: where the work is done; see `setup.engine.run`.
        workers: processes, each with a network of its own.
        ray_address: of a Ray cluster.

    Raises:
        ValueError: the shards or the network cannot be had, `output` holds something else, or maps
            of other classes are there and are not to be replaced.
        OSError: `output` cannot be written to. What is done stays.
        setup.engine.WorkerLost: a shard cannot be made on any worker.
    """
    index, is_here = _index(step.shards), engine == "local" and workers == 1
    if not len(index):
        raise ValueError(f"no photo in {step.shards}")
    classes = load_segmenter(step.model, step.device if is_here else "cpu").classes
    is_unsure = _check_maps(index, classes, step.replace)
    with alone(step.output):
        _check_output(index, step.output)
        source = sha256(index.directory / MANIFEST)
        begin(step.output, classes, shards_sha256=source, replace=step.replace)
        if not (step.output / MANIFEST).is_file():
            _work_off(step, index, is_here, engine, workers, ray_address)
        join_parts(step.output, classes)
        unmapped = _list_unmapped(step.output)
    kept = 0 if step.replace else int(index.has_seg.sum())
    return Drawn(step.output, len(index), kept, unmapped, is_unsure)


@cache
def load_segmenter(model: str, device: str) -> Segmenter:
    """A network, once a process."""
    return Segmenter.load(model, device)


@cache
def _index(shards: str) -> Index:
    return Index.open(shards)


def _rows_of(index: Index, name: str) -> list[int]:
    return np.flatnonzero(index.shard_of == list(index.shards).index(name)).tolist()


def _check_maps(index: Index, classes: SegClasses, replace: bool) -> bool:
    """Whether maps are kept of which nothing says what their classes are."""
    if replace or not index.has_seg.any():
        return False
    before = read_seg_classes(index.directory)
    if before and before.names != classes.names:
        raise ValueError(
            f"{index.files} has {int(index.has_seg.sum()):,} maps of other classes (drawn by "
            f"{before.source or 'an unknown network'}); draw them anew with --replace, or take "
            "that network"
        )
    return before is None


def _check_output(index: Index, output: Path) -> None:
    if output.resolve() == index.directory.resolve():
        raise ValueError(f"{output} holds the photos; give another folder for --output")
    if not (output / RECORD).is_file() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty; give an empty folder, or remove what is in it")


def _work_off(
    step: ShardStep, index: Index, is_here: bool, engine: str, workers: int, ray_address: str
) -> None:
    """Make the shards that are not done."""
    names = [str(name) for name in index.shards]
    left = [name for name in names if not part_is_done(step.output, name)]
    done = len(index) - sum(len(_rows_of(index, name)) for name in left)
    with show_photos(len(index), done) as advance:
        if is_here:
            for name in left:
                step(name, advance)
        else:
            run(
                step,
                left,
                engine=engine,
                workers=workers,
                on_done=advance,
                ray_address=ray_address,
            )


def _list_unmapped(output: Path) -> int:
    """Write the list of photos without a map, and why; returns their number.

    Found from the shards as they are, so the list is whole however often the work was stopped.
    """
    index = Index.open(output)
    bare = np.flatnonzero(~index.has_seg).tolist()
    rows = [(index.key(row), _problem(index.read(row))) for row in bare]
    with atomic_path(output / UNMAPPED) as temporary:
        pd.DataFrame(rows, columns=["key", "reason"]).to_csv(temporary, index=False)
    return len(rows)


def _problem(sample: Sample) -> str:
    try:
        decode_rgb(sample.jpg, sample.key)
    except ValueError as error:
        return str(error)
    return "the network's processor refuses its shape"
