"""What happens to a photo on its way into a shard: downloaded, segmented, described.

The test marked slow starts a Ray cluster; `make slow` runs it.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.images import decode_rgb, decode_seg
from data.sharding.index_tables import read_seg_classes
from data.sharding.part import ShardPart
from data.shards import Index, verify
from setup.build_shards import build_shards, main
from setup.download_images import download
from setup.downloading.fetch import Limits
from setup.downloading.settings import Settings
from setup.packing.settings import PackSettings

ROOT = Path(__file__).parent.parent.parent
QUICK = Settings(
    size=50, allow_private=True, limits=Limits(timeout_s=5, first_pause_s=0.01), workers=4
)


@pytest.fixture
def folder(tmp_path, server, picture, encode):
    """12 rows in photos.csv, and their URLs in urls.csv but for the last.

    One photo is gone, one is garbage, the others are there.
    """
    rows = []
    for i in range(12):
        server.answers[f"/{i}.jpg"] = server.body(encode(picture(60, 80, i)))
        rows.append({"id": f"7f/{i}.jpg", "lat": i, "lon": -i, "url": f"{server.root}/{i}.jpg"})
    del server.answers["/3.jpg"]
    server.answers["/5.jpg"] = server.body(b"<html>no photo</html>")
    pd.DataFrame(rows)[["id", "lat", "lon"]].to_csv(tmp_path / "photos.csv", index=False)
    pd.DataFrame(rows[:-1])[["id", "url"]].to_csv(tmp_path / "urls.csv", index=False)
    return tmp_path


def settings_of(folder, **options):
    shared = {"samples_per_shard": 4, "val_share": 0.2, "download": QUICK}
    return PackSettings(folder / "photos.csv", url_csv=folder / "urls.csv", **(shared | options))


def sums(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def samples(folder):
    found = []
    for split in ("train", "val"):
        index = Index.open(folder / split)
        found += [index.read(row) for row in range(len(index))]
    return found


def test_from_urls_to_shards(folder, server):
    packed = build_shards(settings_of(folder), folder / "out", workers=1)
    assert packed.refusals() == {
        "not downloaded, HTTP 404": 1,
        "not downloaded, bad image": 1,
        "no url": 1,
    }
    assert packed.refused["row"].tolist() == [4, 6, 12]
    assert packed.refused["id"].tolist() == ["7f/3.jpg", "7f/5.jpg", "7f/11.jpg"]
    urls = pd.read_csv(folder / "urls.csv")
    report = download(urls.itertuples(index=False, name=None), folder / "photos", QUICK)
    assert report.photos == 9
    found = {sample.key: sample for sample in samples(folder / "out")}
    assert len(found) == 9
    for i in set(range(11)) - {3, 5}:
        sample = found[f"7f%2F{i}%2Ejpg"]
        assert sample.jpg == (folder / "photos" / f"{sample.key}.jpg").read_bytes()
        assert sample.json == {"lat": i, "lon": -i, "url": f"{server.root}/{i}.jpg"}
    for split in ("train", "val"):
        assert verify(folder / "out" / split).ok
    left = {path.name for path in (folder / "out").iterdir()}
    assert left == {"train", "val", "refused_photos.csv", "plan.json"}


def test_what_was_downloaded_is_not_asked_for_again(folder, server, monkeypatch):
    """Packing fails after a part's download."""
    with monkeypatch.context() as patch:
        patch.setattr(ShardPart, "write", _no_space)
        with pytest.raises(OSError, match="No space left"):
            build_shards(settings_of(folder), folder / "out", workers=1)
    asked = dict(server.asked)
    assert sum(asked.values()) >= 3
    build_shards(settings_of(folder), folder / "out", workers=1)
    there = {f"/{i}.jpg" for i in range(11)} - {"/3.jpg", "/5.jpg"}
    assert {path: server.asked[path] for path in there} == dict.fromkeys(there, 1)
    build_shards(settings_of(folder), folder / "again", workers=1)
    assert sums(folder / "out") == sums(folder / "again")


def _no_space(*_, **__):
    raise OSError(28, "No space left on device")


def test_maps_are_drawn(folder, tiny_segformer):
    from models.segmentation.segmenter import Segmenter

    build_shards(settings_of(folder, segmenter=str(tiny_segformer)), folder / "out", workers=1)
    network = Segmenter.load(str(tiny_segformer))
    for sample in samples(folder / "out"):
        (expected,) = network.maps([decode_rgb(sample.jpg)])
        seg = decode_seg(sample.seg_png)
        assert seg.shape == decode_rgb(sample.jpg).shape[:2]
        assert (seg == expected).mean() > 0.999, "a batch may round otherwise than one photo"
    assert read_seg_classes(folder / "out" / "train") == network.classes
    assert Index.open(folder / "out" / "train").has_seg.all()


def test_descriptors_lie_beside_the_samples(folder, bundle):
    from models.bundles.session import open_session

    build_shards(settings_of(folder, embed=bundle.path), folder / "out", workers=1)
    session = open_session(bundle, "onnx")
    for split in ("train", "val"):
        place = folder / "out" / split
        index, vectors = Index.open(place), np.load(place / "embeddings.f16.npy", mmap_mode="r")
        assert vectors.dtype == np.float16
        assert len(vectors) == len(index)
        for row in range(len(index)):
            expected = session.encode(decode_rgb(index.read(row).jpg)).descriptor
            np.testing.assert_allclose(vectors[row], expected, atol=1e-3)
        facts = json.loads((place / "embeddings.json").read_text())
        assert facts["model_sha256"] == bundle.model_sha256
        assert [facts["rows"], facts["dimensions"]] == list(vectors.shape)


def test_a_model_that_is_none(folder):
    (folder / "model").mkdir()
    with pytest.raises((ValueError, OSError), match="no model bundle"):
        build_shards(settings_of(folder, embed=folder / "model"), folder / "out", workers=1)
    with pytest.raises(ValueError, match="one of them only"):
        settings_of(folder, seg=folder, segmenter="x")


def test_the_command(folder, capsys):
    words = ["--url_csv", str(folder / "urls.csv"), "--csv", str(folder / "photos.csv")]
    words += ["--output", str(folder / "out"), "--allow_private", "--workers", "1"]
    assert main([*words, "--size", "50", "--samples_per_shard", "4", "--val_share", "0.2"]) == 0
    assert "1 refused, not downloaded, HTTP 404" in capsys.readouterr().out
    build_shards(settings_of(folder), folder / "here", workers=1)
    assert sums(folder / "out") == sums(folder / "here")


@pytest.mark.slow
@pytest.mark.timeout(600)  # a busy machine takes its time over clusters and networks
def test_ray_does_all_steps(folder, tiny_segformer, bundle):
    pytest.importorskip("ray")
    options = f"segmenter={str(tiny_segformer)!r}, embed=Path({str(bundle.path)!r})"
    script = folder / "script.py"
    script.write_text(
        "from tests.setup.test_pack_steps import *\n"
        "if __name__ == '__main__':\n"
        f"    folder = Path({str(folder)!r})\n"
        f"    settings = settings_of(folder, {options})\n"
        "    build_shards(settings, folder / 'ray', workers=2, engine='ray')\n"
        "    build_shards(settings, folder / 'local', workers=2)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, script], cwd=ROOT, env=environment, check=True)
    assert sums(folder / "ray") == sums(folder / "local")
    assert (folder / "ray" / "train" / "embeddings.f16.npy").is_file()
