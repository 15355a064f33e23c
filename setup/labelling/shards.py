"""Label the photos of a folder of shards: new shards, with the labels beside each photo.

One shard after the other, each whole or not there; a stopped run goes on with the next. What was
done with which network stands in `scene_labels.json`; another network is refused.
"""

import csv
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from data.images import ImageError, decode_rgb
from data.index import Index
from data.sample import Sample
from data.sharding.index_tables import MANIFEST, read_seg_classes, sha256
from data.sharding.open_shard import checked_members
from data.sharding.part import ShardPart, join_parts, part_is_done
from partitioning.atomic_file import atomic_path
from setup.labelling.scene_labels import Labeller, Photo
from setup.packing.part_plan import alone
from setup.segmenting.progress import show_photos

RECORD, UNLABELLED = "scene_labels.json", "unlabelled.csv"


def label_shards(
    shards: Path, output: Path, labeller: Labeller, source: dict[str, str]
) -> tuple[int, int]:
    """Write the samples of `shards` to `output` with s3, s16 and s365, or go on doing so.

    A photo that cannot be decoded keeps its sample as it is; a sample that may not be written at
    all (no image in it, say) is left out. Both are listed in `unlabelled.csv`.

    Args:
        shards: a folder of shards with index and manifest.
        output: a folder that is empty, not there, or begun in the same way.
        labeller: of the photos.
        source: what to note of the network.

    Returns:
        How many samples are labelled, and how many are listed.

    Raises:
        ValueError: `shards` is damaged or `output` holds something else.
    """
    index = Index.open(shards)
    record = source | {"shards_sha256": sha256(shards / MANIFEST)}
    with alone(output):
        _check_output(shards, output, record)
        if not (output / MANIFEST).is_file():
            _work_off(index, output, labeller)
            join_parts(output, read_seg_classes(shards))
        done = Index.open(output)
        listed = _list_unlabelled(index, done, output)
    return int(np.sum(done.scene >= 0)), listed


def _work_off(index: Index, output: Path, labeller: Labeller) -> None:
    """Make the shards that are not done."""
    with show_photos(len(index)) as advance:
        for number, name in enumerate(index.shards):
            rows = np.flatnonzero(index.shard_of == number).tolist()
            if part_is_done(output, name):
                advance(len(rows))
                continue
            with ShardPart(output, name) as part:
                for sample, labels in labeller.labels(_photos(index, rows)):
                    found = {} if isinstance(labels, ImageError) else labels._asdict()
                    if not _problem(sample):
                        part.write(sample.key, sample.jpg, sample.json | found, sample.seg_png)
                    advance(1)


def _check_output(shards: Path, output: Path, record: dict[str, str]) -> None:
    path = output / RECORD
    if path.is_file():
        begun = json.loads(path.read_text(encoding="utf-8"))
        if other := [name for name in record if begun.get(name) != record[name]]:
            raise ValueError(
                f"{output} was begun with another {', '.join(other)}; give another folder, or "
                "remove it"
            )
        return
    if output.resolve() == shards.resolve():
        raise ValueError(f"{output} holds the photos; give another folder for --output")
    if any(output.iterdir()):
        raise ValueError(f"{output} is not empty; give an empty folder, or remove what is in it")
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _photos(index: Index, rows: list[int]) -> Iterator[Photo]:
    for row in rows:
        sample = index.read(row)
        yield Photo(sample.key, partial(bytes, sample.jpg), sample)


def _problem(sample: Sample) -> str:
    """Why a sample may not be written; "" where it may."""
    try:
        checked_members(sample.key, sample.jpg, sample.json, sample.seg_png)
    except ValueError as error:
        return str(error)
    return ""


def _list_unlabelled(index: Index, done: Index, output: Path) -> int:
    """Write which samples have no label, or are left out, and why; returns their number.

    Found from the shards as they are, so the list is whole however often the work was stopped.
    """
    left_out = set(index.keys()).difference(done.keys())
    rows = [row for row, key in enumerate(index.keys()) if key in left_out] if left_out else []
    listed = [(index.key(row), f"left out: {_problem(index.read(row))}") for row in rows]
    for row in np.flatnonzero(done.scene < 0).tolist():
        listed.append((done.key(row), f"unlabelled: {_undecodable(done.read(row))}"))
    with atomic_path(output / UNLABELLED) as new, new.open("w", newline="") as file:
        csv.writer(file).writerows([("key", "reason"), *listed])
    return len(listed)


def _undecodable(sample: Sample) -> str:
    try:
        decode_rgb(sample.jpg, sample.key)
    except ImageError as error:
        return str(error)
    return "no reason found"
