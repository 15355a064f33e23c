"""The commands of docs/data.md, as they stand there, from URLs to shards, cells and classes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from data.shards import Index, verify
from partitioning.partition import load

ROOT = Path(__file__).parent.parent.parent


def commands():
    text = (ROOT / "docs" / "data.md").read_text()
    block = re.search(r"<!-- commands: .*?```\n(.*?)```", text, re.DOTALL).group(1)
    return [shlex.split(line) for line in block.strip().splitlines()]


@pytest.fixture
def town(tmp_path, server, picture, encode):
    """60 photos in ten places, every sixth of them gone at its source."""
    photos, urls = [], []
    for i in range(60):
        photos.append({"id": f"a/{i}.jpg", "lat": 40 + i % 10 * 0.01, "lon": 7 + i // 10 * 0.01})
        urls.append({"id": f"a/{i}.jpg", "url": f"{server.root}/{i}.jpg"})
        if i % 6:
            server.answers[f"/{i}.jpg"] = server.body(encode(picture(48, 64, i)))
    photos.append({"id": "nowhere.jpg", "lat": "", "lon": ""})
    pd.DataFrame(photos).to_csv(tmp_path / "photos.csv", index=False)
    pd.DataFrame(urls).to_csv(tmp_path / "urls.csv", index=False)
    return tmp_path


def test_from_urls_to_classes(town):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    loopback = {"setup.build_shards": ["--allow_private", "--workers", "1"]}
    few = {"partitioning.assign_classes": ["--t_coarse", "2", "40", "--t_middle", "2", "20"]}
    few["partitioning.assign_classes"] += ["--t_fine", "2", "10", "--no_picture"]
    for python, *words in commands():
        assert python == "python"
        extra = (loopback | few).get(words[1], [])
        done = subprocess.run(
            [sys.executable, *words, *extra],
            cwd=town,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    packed = [Index.open(town / "shards" / split) for split in ("train", "val")]
    assert sum(map(len, packed)) == 50
    assert all(verify(town / "shards" / split).ok for split in ("train", "val"))
    refused = pd.read_csv(town / "shards" / "refused_photos.csv")
    assert len(refused) == 11
    assert sum("404" in reason for reason in refused["reason"]) == 10
    classes = pq.read_table(town / "cells" / "classes.parquet").to_pandas()
    assert len(classes) == len(packed[0])
    partition = load(town / "cells" / "cells.parquet")
    assert len(partition.fine) > 1
    assert (classes["fine"] >= 0).any()
