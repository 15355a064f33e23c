"""Maps into shards and folders: nothing lost, nothing changed, and the same after any stop."""

import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.images import decode_rgb, decode_seg
from data.index import Index
from data.seg_maps.classes import SegClasses
from data.seg_maps.stored_maps import StoredMaps
from data.sharding.index_tables import read_seg_classes
from data.sharding.part import ShardPart, part_is_done, table_path
from data.sharding.scan import build_index
from data.sharding.writer import ShardWriter
from data.verify import verify
from models.segmentation.segmenter import Segmenter
from setup.segment_images import main
from setup.segmenting import shards as segment_shards

ROOT = Path(__file__).parents[2]
COUNT, CUT, SIDEWAYS, MAPPED = 20, 3, 4, (6, 7)


@pytest.fixture(autouse=True)
def _fresh_caches():
    """Every test opens its own shards."""
    segment_shards._index.cache_clear()


@pytest.fixture
def write(tmp_path, picture, encode):
    """Write shards in which one photo is cut off, one lies on its side, two have maps."""

    def jpg(i):
        pixels = picture(24 + i % 5, 40, seed=i)
        exif = Image.Exif()
        exif[0x0112] = 6 if i == SIDEWAYS else 1
        data = encode(pixels, exif=exif)
        return data[:-60] if i == CUT else data

    def folder(name="shards", seg_classes=None, maps=MAPPED, count=COUNT):
        with ShardWriter(tmp_path / name, 8, seg_classes=seg_classes) as writer:
            for i in range(count):
                seg = encode(np.full((24 + i % 5, 40), 2, np.uint8), "PNG") if i in maps else None
                metadata = {"lat": i % 80, "lon": 2.0, "author": f"Ä{i}", "s3": [0.2, 0.3, 0.5]}
                writer.write(f"photo{i}", jpg(i), metadata, seg)
        return tmp_path / name

    return folder


@pytest.fixture
def run(tiny_segformer):
    """Run the command line; returns its exit status."""

    def call(*words, model=tiny_segformer):
        return main([*map(str, words), "--model", str(model), "--device", "cpu", "--batch", "3"])

    return call


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_maps_lie_beside_their_photos(write, run, tmp_path, tiny_segformer, capsys):
    shards, out = write(), tmp_path / "out"
    assert run("--shards", shards, "--output", out) == 0
    assert "19 of 20 photos" in capsys.readouterr().out
    assert verify(out).ok
    before, after = Index.open(shards), Index.open(out)
    assert after.keys() == before.keys()
    assert [p.name for p in out.glob("*.tar")].sort() == [
        p.name for p in shards.glob("*.tar")
    ].sort()
    network = Segmenter.load(str(tiny_segformer), "cpu")
    for row in range(COUNT):
        old, new = before.read(row), after.read(row)
        assert (new.jpg, new.json) == (old.jpg, old.json)
        if row in MAPPED:
            assert new.seg_png == old.seg_png
        elif row == CUT:
            assert new.seg_png is None
        else:
            rgb = decode_rgb(new.jpg)
            assert rgb.shape[:2] == ((40, 28) if row == SIDEWAYS else (24 + row % 5, 40))
            assert (decode_seg(new.seg_png) == network.maps([rgb])[0]).mean() > 0.99
            assert Image.open(io.BytesIO(new.seg_png)).mode == "P"


def test_the_manifest_says_what_the_classes_are(write, run, tmp_path, tiny_segformer):
    assert run("--shards", write(), "--output", tmp_path / "out") == 0
    assert read_seg_classes(tmp_path / "out") == Segmenter.load(str(tiny_segformer), "cpu").classes


def test_photos_without_a_map_are_listed_with_the_reason(write, run, tmp_path, capsys):
    assert run("--shards", write(), "--output", tmp_path / "out") == 0
    listed = pd.read_csv(tmp_path / "out" / "unmapped_photos.csv")
    assert listed["key"].tolist() == [f"photo{CUT}"]
    assert "truncated or damaged" in listed["reason"][0]
    assert "1 could not be decoded" in capsys.readouterr().out


def test_a_photo_that_is_none_is_carried_over_and_listed(write, run, tmp_path):
    shards = write(count=3)
    name = "shard-000009.tar"
    with ShardPart(shards, name) as part:
        part.write("none", b"\xff\xd8\xffgarbage", {"lat": 1, "lon": 2}, check_images=False)
    table_path(shards / name).unlink()
    build_index(shards)
    assert run("--shards", shards, "--output", tmp_path / "out") == 0
    index = Index.open(tmp_path / "out")
    assert index.keys() == Index.open(shards).keys()
    listed = pd.read_csv(tmp_path / "out" / "unmapped_photos.csv")
    assert "none" in listed["key"].tolist()
    assert index.read(index.keys().index("none")).jpg == b"\xff\xd8\xffgarbage"


def test_maps_can_be_drawn_anew(write, run, tmp_path):
    assert run("--shards", write(), "--output", tmp_path / "kept") == 0
    assert run("--shards", tmp_path / "shards", "--output", tmp_path / "new", "--replace") == 0
    kept, new = Index.open(tmp_path / "kept"), Index.open(tmp_path / "new")
    differing = [r for r in range(COUNT) if kept.read(r).seg_png != new.read(r).seg_png]
    assert differing == list(MAPPED)


def test_a_second_run_changes_nothing(write, run, tmp_path):
    out = tmp_path / "out"
    assert run("--shards", write(), "--output", out) == 0
    first = files(out)
    stamps = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert run("--shards", tmp_path / "shards", "--output", out) == 0
    assert files(out) == first
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")} == stamps


def test_maps_of_other_classes_are_not_mixed_in(write, run, tmp_path, capsys):
    other = SegClasses(("water", "land", "ice"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), "terrain")
    shards = write(seg_classes=other)
    assert run("--shards", shards, "--output", tmp_path / "out") == 2
    assert "2 maps of other classes (drawn by terrain)" in capsys.readouterr().err
    assert run("--shards", shards, "--output", tmp_path / "out", "--replace") == 0


def test_maps_of_unknown_classes_are_kept_and_it_is_said(write, run, tmp_path, capsys):
    assert run("--shards", write(), "--output", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "2 of them were there before" in out
    assert "nothing says what classes those have" in out


def test_another_network_cannot_go_on_with_a_folder(write, run, tmp_path, tiny_segformer, capsys):
    import transformers

    other = tmp_path / "other"
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(tiny_segformer)
    model.decode_head.classifier.bias.data += 1
    model.save_pretrained(other)
    settings = "preprocessor_config.json"
    (other / settings).write_bytes((tiny_segformer / settings).read_bytes())
    shards, out = write(), tmp_path / "out"
    assert run("--shards", shards, "--output", out) == 0
    assert run("--shards", shards, "--output", out, model=other) == 2
    assert "begun with other seg_classes" in capsys.readouterr().err
    assert run("--shards", shards, "--output", out, "--replace") == 2
    assert "begun with other replace" in capsys.readouterr().err


def test_splits_are_segmented_each_on_its_own(write, run, tmp_path):
    write("data/train")
    write("data/val", count=5)
    assert run("--shards", tmp_path / "data", "--output", tmp_path / "out") == 0
    assert len(Index.open(tmp_path / "out" / "train")) == COUNT
    assert len(Index.open(tmp_path / "out" / "val")) == 5


def test_input_that_cannot_be_used(write, run, tmp_path, capsys):
    shards = write()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("")
    for words, message in [
        (("--shards", tmp_path / "full", "--output", tmp_path / "o"), "no shards in"),
        (("--shards", shards, "--output", shards), "give another folder"),
        (("--shards", shards, "--output", tmp_path / "full"), "is not empty"),
        (("--images", tmp_path / "nowhere", "--output", tmp_path / "o"), "no folder"),
    ]:
        assert run(*words) == 2
        assert message in capsys.readouterr().err
    assert run("--shards", shards, "--output", tmp_path / "o", model=tmp_path / "none") == 2
    assert "no folder" in capsys.readouterr().err
    assert verify(shards).ok


def test_help_names_every_flag_and_needs_no_torch():
    code = "import sys; from setup.segment_images import main\ntry: main(['--help'])\n"
    code += "except SystemExit: pass\nassert 'torch' not in sys.modules"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "--model MODEL" in answer.stdout


@pytest.fixture
def photos(tmp_path, picture, encode):
    """A folder of six photos, one of which is none."""
    folder = tmp_path / "photos"
    (folder / "7f").mkdir(parents=True)
    for i in range(5):
        (folder / ["", "7f"][i % 2] / f"p{i}.jpg").write_bytes(encode(picture(20, 30 + i, seed=i)))
    (folder / "broken.jpeg").write_bytes(b"\xff\xd8\xffnothing")
    return folder


def test_a_folder_of_photos_gets_a_folder_of_maps(photos, run, tmp_path, tiny_segformer, capsys):
    maps = tmp_path / "maps"
    assert run("--images", photos, "--output", maps) == 0
    assert "5 of 6 photos" in capsys.readouterr().out
    network = Segmenter.load(str(tiny_segformer), "cpu")
    for i in range(5):
        name = Path(["", "7f"][i % 2]) / f"p{i}"
        rgb = decode_rgb((photos / name.with_suffix(".jpg")).read_bytes())
        drawn = decode_seg((maps / name.with_suffix(".png")).read_bytes())
        assert (drawn == network.maps([rgb])[0]).mean() > 0.99
    listed = pd.read_csv(maps / "unmapped_photos.csv")
    assert listed["key"].tolist() == [str(photos / "broken.jpeg")]
    assert StoredMaps(maps, photos).classes == network.classes


def test_a_folder_of_maps_is_gone_on_with(photos, run, tmp_path):
    maps = tmp_path / "maps"
    assert run("--images", photos, "--output", maps) == 0
    drawn = (maps / "p0.png").read_bytes()
    (maps / "p0.png").unlink()
    (maps / "p2.png").write_bytes(b"kept")
    assert run("--images", photos, "--output", maps) == 0
    assert ((maps / "p0.png").read_bytes(), (maps / "p2.png").read_bytes()) == (drawn, b"kept")
    assert run("--images", photos, "--output", maps, "--replace") == 0
    assert (maps / "p2.png").read_bytes() != b"kept"


def test_folders_that_cannot_be_segmented(photos, run, tmp_path, capsys):
    assert run("--images", photos, "--output", photos / "maps") == 2
    assert "would be taken for photos" in capsys.readouterr().err
    (photos / "p0.png").write_bytes(b"another photo")
    assert run("--images", photos, "--output", tmp_path / "maps") == 2
    assert "would have one map" in capsys.readouterr().err


def start(shards, out, model):
    """Start the command in a process of its own; it makes no difference how fast it is."""
    words = ["--shards", str(shards), "--output", str(out), "--model", str(model), "--batch", "3"]
    return subprocess.Popen(
        [sys.executable, "-m", "setup.segment_images", *words, "--device", "cpu"],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def kill_when(process, condition, after_s=0.0):
    """Kill it without a chance to clean up, some time after `condition` holds."""
    end = time.monotonic() + 60
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_after_its_first_shard_it_goes_on_to_the_same_bytes(
    write, run, tmp_path, tiny_segformer
):
    shards, out = write(count=64, maps=()), tmp_path / "out"
    assert run("--shards", shards, "--output", tmp_path / "whole") == 0
    process = start(shards, out, tiny_segformer)
    kill_when(process, lambda: _parts_done(out) > 0)
    assert not (out / "manifest.parquet").exists()
    done = {p.name: p.stat().st_mtime_ns for p in out.glob("*.tar") if part_is_done(out, p.name)}
    assert 0 < len(done) < 8
    assert run("--shards", shards, "--output", out) == 0
    assert files(out) == files(tmp_path / "whole")
    assert {name: (out / name).stat().st_mtime_ns for name in done} == done


def _parts_done(folder):
    return len(list(folder.glob("*.part.parquet")))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_ten_times_at_random_moments_the_bytes_are_the_same(
    write, run, tmp_path, tiny_segformer
):
    """Run with `make slow`."""
    shards, out = write(count=200, maps=()), tmp_path / "out"
    assert run("--shards", shards, "--output", tmp_path / "whole") == 0
    dice, done = random.Random(0), 0
    for _ in range(10):
        process = start(shards, out, tiny_segformer)
        kill_when(process, lambda done=done: _parts_done(out) > done, dice.uniform(0, 0.1))
        done = _parts_done(out)
    assert not (out / "manifest.parquet").exists()
    assert start(shards, out, tiny_segformer).wait() == 0
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.slow
def test_two_workers_give_the_same_bytes_as_one(write, run, tmp_path):
    """Run with `make slow`."""
    shards = write()
    assert run("--shards", shards, "--output", tmp_path / "one") == 0
    assert run("--shards", shards, "--output", tmp_path / "two", "--workers", 2) == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")
