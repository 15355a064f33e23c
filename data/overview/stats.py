"""What a folder of shards holds: samples by country, cell, scene, licence and author; sizes.

    python -m data.shards stats DIR [--cells cells.parquet] [--output FOLDER]

Position, scene and map come from the index; licence, author and the photo's size in pixels are
read from every sample, a million in a minute or two from a local disk. Countries are those of
partitioning/countries.py, coarse as they are.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.images import ImageError, image_size
from data.index import Index
from partitioning.atomic_file import atomic_path
from partitioning.countries import country_of
from partitioning.partition import Partition

SCENES = ("indoor", "natural", "urban", "unknown")  # -1 is the last
UNKNOWN = "unknown"
SEA = "sea"
PERCENTILES = (0, 5, 50, 95, 100)


@dataclass
class Stats:
    """Counts over the samples of a folder of shards.

    Attributes:
        samples: Number of samples.
        with_seg: Number of those with a segmentation map.
        authors: Number of different authors.
        without_author: Number of samples without one.
        unreadable: Key -> why, of samples whose metadata or photo's header is damaged.
        percentiles: What is measured (photo_bytes, short_side_px, long_side_px, shard_samples,
            shard_bytes, samples_an_author) -> its 0, 5, 50, 95 and 100th percentile.
        counts: What is counted (country, scene, licence, shard; with a partition also coarse,
            middle and fine cell) -> its name -> samples, the most frequent first.
    """

    samples: int
    with_seg: int
    authors: int = 0
    without_author: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    percentiles: dict[str, list[int]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write stats.json, with everything, and stats.csv, with the counts, into a folder."""
        with atomic_path(folder / "stats.json") as path:
            path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), "utf-8")
        with (
            atomic_path(folder / "stats.csv") as path,
            path.open("w", newline="", encoding="utf-8") as file,
        ):
            rows = csv.writer(file)
            rows.writerow(["by", "name", "samples"])
            for kind, names in self.counts.items():
                rows.writerows((kind, name, samples) for name, samples in names.items())


def count(
    index: Index,
    partition: Partition | None = None,
    on_sample: Callable[[], object] = lambda: None,
) -> Stats:
    """Count the samples of an index.

    Args:
        index: The samples.
        partition: Gives the cells, if they are to be counted.
        on_sample: Called when a sample has been read.
    """
    stats = Stats(len(index), int(index.has_seg.sum()))
    stats.counts["country"] = _sorted(Counter(country_of(index.lat, index.lon).tolist()), SEA)
    stats.counts["scene"] = _sorted(Counter(SCENES[scene] for scene in index.scene.tolist()))
    if partition is not None:
        _count_cells(stats, index, partition)
    _read_samples(stats, index, on_sample)
    in_shards = np.bincount(index.shard_of, minlength=len(index.shards))
    stats.counts["shard"] = dict(zip(index.shards, in_shards.tolist(), strict=True))
    stats.percentiles |= {
        "photo_bytes": _percentiles(index.photo_bytes()),
        "shard_samples": _percentiles(in_shards),
        "shard_bytes": _percentiles(index.shard_bytes),
    }
    return stats


def _count_cells(stats: Stats, index: Index, partition: Partition) -> None:
    classes = partition.assign(index.lat, index.lon)
    for column, (level, cells) in enumerate(partition.levels.items()):
        numbers, samples = np.unique(classes[:, column], return_counts=True)
        tokens = np.array([*cells.tokens.tolist(), "outside"])[numbers]
        named = dict(zip(tokens.tolist(), samples.tolist(), strict=True))
        stats.counts[f"{level} cell"] = _sorted(Counter(named))


def _read_samples(stats: Stats, index: Index, on_sample: Callable[[], object]) -> None:
    """Count what only the samples themselves know."""
    licences: Counter[str] = Counter()
    authors: Counter[str] = Counter()
    sides_px = np.zeros((len(index), 2), np.int32)
    for row in range(len(index)):
        try:
            sample = index.read(row)
            licences[_text(sample.json, "licence")] += 1
            authors[_text(sample.json, "author")] += 1
            sides_px[row] = sorted(image_size(sample.jpg, sample.key))
        except (ImageError, ValueError) as error:
            stats.unreadable[index.key(row)] = str(error)
        on_sample()
    stats.counts["licence"] = _sorted(licences)
    stats.without_author = authors.pop(UNKNOWN, 0)
    stats.authors = len(authors)
    measured = sides_px[sides_px[:, 0] > 0]
    stats.percentiles["short_side_px"] = _percentiles(measured[:, 0])
    stats.percentiles["long_side_px"] = _percentiles(measured[:, 1])
    stats.percentiles["samples_an_author"] = _percentiles(np.array([*authors.values()]))


def _text(metadata: dict[str, Any], name: str) -> str:
    """A field of the metadata as text; "unknown" where it is missing or empty."""
    value = metadata.get(name)
    return UNKNOWN if value in (None, "") else str(value)


def _sorted(counts: Counter[str], name_of_none: str = UNKNOWN) -> dict[str, int]:
    """The most frequent first, and by name where they are as frequent."""
    named = {name or name_of_none: samples for name, samples in counts.items()}
    return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))


def _percentiles(values: NDArray) -> list[int]:
    if not len(values):
        return []
    return np.percentile(values, PERCENTILES).round().astype(int).tolist()
