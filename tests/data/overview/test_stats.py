"""Counts over shards against counts by hand; the command that prints and writes them."""

import csv
import json
from collections import Counter

import numpy as np
import pytest

from data.overview.stats import count
from data.shards import Index, ShardWriter, main
from partitioning.countries import country_of
from partitioning.partition import build_partition, save

PLACES = {"France": (48.8, 2.3), "Kenya": (-1.3, 36.8), "": (0.0, -30.0)}
SIZES = [(40, 60), (80, 30), (50, 50)]


@pytest.fixture
def folder(tmp_path, jpeg, encode):
    """30 samples: three places, two licences or none, four authors or none, three sizes."""
    with ShardWriter(tmp_path / "shards", samples_per_shard=12) as writer:
        for i in range(30):
            height, width = SIZES[i % 3]
            lat, lon = list(PLACES.values())[(i // 2) % 3]
            metadata = {"lat": lat + i / 1000, "lon": lon}
            if i % 5:
                metadata["licence"] = ("CC0", "CC BY 4.0")[i % 2]
            if i % 3:
                metadata["author"] = f"a{i % 4}"
            if i % 2:
                metadata["s3"] = np.eye(3)[i % 3].tolist()
            seg = encode(np.zeros((height, width), np.uint8)) if i % 4 == 0 else None
            writer.write(f"p{i:02d}", jpeg(height, width, i), metadata, seg)
    return tmp_path / "shards"


def test_equals_counting_by_hand(folder):
    index = Index.open(folder)
    stats = count(index)
    samples = [index.read(row) for row in range(30)]
    assert (stats.samples, stats.with_seg) == (30, 8)
    assert stats.counts["country"] == {"France": 10, "Kenya": 10, "sea": 10}
    licences = Counter(sample.json.get("licence", "unknown") for sample in samples)
    assert stats.counts["licence"] == dict(licences)
    authors = Counter(sample.json["author"] for sample in samples if "author" in sample.json)
    assert (stats.authors, stats.without_author) == (4, 10)
    assert stats.percentiles["samples_an_author"][-1] == max(authors.values())
    scenes = Counter(("indoor", "natural", "urban", "unknown")[s] for s in index.scene)
    assert stats.counts["scene"] == dict(scenes)
    assert stats.counts["shard"] == {f"shard-{i:06d}.tar": n for i, n in enumerate((12, 12, 6))}
    assert stats.percentiles["short_side_px"] == [30, 30, 40, 50, 50]
    assert stats.percentiles["long_side_px"] == [50, 50, 60, 80, 80]
    bytes_of = [len(sample.jpg) for sample in samples]
    assert stats.percentiles["photo_bytes"][0] == min(bytes_of)
    assert stats.percentiles["photo_bytes"][2] == round(np.median(bytes_of))
    assert stats.percentiles["shard_bytes"][-1] == max(
        path.stat().st_size for path in folder.glob("*.tar")
    )
    assert list(stats.counts["licence"].values()) == sorted(licences.values(), reverse=True)


def test_by_cell(folder):
    index = Index.open(folder)
    partition = build_partition(
        index.lat[:20], index.lon[:20], dict.fromkeys(("coarse", "middle", "fine"), (1, 8))
    )
    stats = count(index, partition)
    classes = partition.assign(index.lat, index.lon)
    for column, (level, cells) in enumerate(partition.levels.items()):
        expected = Counter(
            str(cells.tokens[number]) if number >= 0 else "outside" for number in classes[:, column]
        )
        assert stats.counts[f"{level} cell"] == expected
        assert len(expected) > 1


def test_damaged_samples_are_counted_and_named(folder):
    path = folder / "shard-000000.tar"
    data = bytearray(path.read_bytes())
    index = Index.open(folder)
    place = data.find(b'{"')
    data[place : place + 5] = b"\xff" * 5
    jpg = data.rfind(b"\xff\xd8\xff", 0, len(data))
    data[jpg : jpg + 3] = b"\0\0\0"
    path.write_bytes(data)
    stats = count(index)
    assert sorted(stats.unreadable) == ["p00", "p11"]
    assert "p00 in " in stats.unreadable["p00"]
    assert "p11: not an image" in stats.unreadable["p11"]
    assert sum(stats.counts["country"].values()) == 30


def test_no_sample(tmp_path):
    with ShardWriter(tmp_path):
        pass
    stats = count(Index.open(tmp_path))
    assert stats.samples == 0
    assert stats.counts == {"country": {}, "scene": {}, "licence": {}, "shard": {}}


def test_command(folder, tmp_path, capsys):
    index = Index.open(folder)
    cells = tmp_path / "cells.parquet"
    thresholds = dict.fromkeys(("coarse", "middle", "fine"), (1, 8))
    save(build_partition(index.lat, index.lon, thresholds), cells)
    out = tmp_path / "out"
    assert main(["stats", str(folder), "--cells", str(cells), "--output", str(out)]) == 0
    printed = capsys.readouterr().out
    for text in ("30 samples in 3 shards", "France", "CC BY 4.0", "by coarse cell", "long side px"):
        assert text in printed
    assert json.loads((out / "stats.json").read_text())["counts"]["country"]["Kenya"] == 10
    rows = list(csv.reader((out / "stats.csv").open()))
    assert rows[0] == ["by", "name", "samples"]
    assert ["licence", "CC0", "12"] in rows
    assert (out / "density_map.png").stat().st_size > 10_000
    assert main(["stats", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error: no manifest.parquet")


def test_countries_are_those_of_the_index(folder):
    index = Index.open(folder)
    assert Counter(name or "sea" for name in country_of(index.lat, index.lon)) == Counter(
        count(index).counts["country"]
    )
