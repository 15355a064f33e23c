"""Packing that is killed, starved of disk or meddled with: nothing is lost, nothing is different.

The tests marked slow start programs or a Ray cluster; `make slow` runs them.
"""

import hashlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from data.shards import verify
from setup.build_shards import build_shards, main
from setup.packing.part_plan import PLAN, alone
from setup.packing.settings import PackSettings

ROOT = Path(__file__).parent.parent.parent
KILLS, FOR_EVER = 10, 10**12


@pytest.fixture
def folder(tmp_path, picture, encode):
    """24 rows in photos.csv: 20 photos by 8 authors in img/, of which one is cut; 4 are not there.

    One of them is a PNG, and every third has a segmentation map in seg/.
    """
    (tmp_path / "img").mkdir()
    (tmp_path / "seg").mkdir()
    rows = [{"id": f"p{i}", "lat": i, "lon": -i, "author": f"a{i % 8}"} for i in range(24)]
    for i in range(20):
        pixels = picture(240, 320, i)  # a shard is larger than the plan
        (tmp_path / "img" / f"p{i}.jpg").write_bytes(encode(pixels, "PNG" if i == 7 else "JPEG"))
        if i % 3 == 0:
            (tmp_path / "seg" / f"p{i}.png").write_bytes(encode(pixels[:, :, 0] // 9, "PNG"))
    cut = tmp_path / "img" / "p11.jpg"
    cut.write_bytes(cut.read_bytes()[:500])
    pd.DataFrame(rows).to_csv(tmp_path / "photos.csv", index=False)
    return tmp_path


def settings_of(folder):
    return PackSettings(
        folder / "photos.csv", folder / "img", seg=folder / "seg", samples_per_shard=4
    )


def sums(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def pack_and_die(folder, calls, counted):
    """Pack in this process, which is killed after so many calls of and by our own functions."""
    left, ours = (
        calls,
        tuple(f"{ROOT / room}{os.sep}" for room in ("setup", "data", "partitioning")),
    )

    def count(frame, *_):
        nonlocal left
        left -= frame.f_code.co_filename.startswith(ours)
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    build_shards(settings_of(folder), folder / "out", workers=1)
    sys.setprofile(None)
    counted.value = calls - left


def test_killed_at_ten_random_moments(folder):
    """One in each tenth of a run; counted in calls, for the machine's speed is not to choose them.

    Each is resumed and mostly killed once more before it may end.
    """
    build_shards(settings_of(folder), folder / "whole", workers=1)
    fork = multiprocessing.get_context("fork")
    counted, rng = fork.Value("q", 0), random.Random(0)

    def run(calls):
        process = fork.Process(target=pack_and_die, args=(folder, calls, counted))
        process.start()
        process.join()
        return process.exitcode

    assert run(FOR_EVER) == 0
    whole = counted.value
    for tenth in range(KILLS):
        shutil.rmtree(folder / "out")
        assert run(int((tenth + rng.random()) / KILLS * whole) + 1) == -signal.SIGKILL
        assert run(rng.randrange(1, whole // 4)) in (0, -signal.SIGKILL)
        assert run(FOR_EVER) == 0
        assert sums(folder / "out") == sums(folder / "whole")
    assert all(verify(folder / "out" / split).ok for split in ("train", "val"))
    refused = pd.read_csv(folder / "out" / "refused_photos.csv")
    assert refused["id"].tolist() == ["p11", "p20", "p21", "p22", "p23"]


@pytest.mark.slow
@pytest.mark.timeout(600)  # a busy machine takes its time over clusters and networks
def test_the_command_is_killed_ten_times(folder):
    """With its workers at work."""
    build_shards(settings_of(folder), folder / "whole", workers=1)
    words = [sys.executable, "-m", "setup.build_shards", "--samples_per_shard", "4"]
    for name, value in (("csv", "photos.csv"), ("images", "img"), ("seg", "seg"), ("output", "o")):
        words += [f"--{name}", str(folder / value)]
    words += ["--workers", "2"]
    start = time.monotonic()
    subprocess.run([*words, "--output", str(folder / "other")], cwd=ROOT, check=True)
    whole, rng = time.monotonic() - start, random.Random(0)
    assert sums(folder / "other") == sums(folder / "whole")
    for _ in range(KILLS):
        command = subprocess.Popen(words, cwd=ROOT)
        try:
            command.wait(rng.uniform(0.3, 1.0) * whole)
        except subprocess.TimeoutExpired:
            command.kill()
            command.wait()
    subprocess.run(words, cwd=ROOT, check=True)
    assert sums(folder / "o") == sums(folder / "whole")


@pytest.mark.slow
@pytest.mark.timeout(600)  # a busy machine takes its time over clusters and networks
def test_a_killed_ray_worker_costs_nothing(folder):
    pytest.importorskip("ray")
    build_shards(settings_of(folder), folder / "whole", workers=1)
    program = (
        "from pathlib import Path; from tests.setup.test_packing_faults import *\n"
        f"folder = Path({str(folder)!r})\n"
        "build_shards(settings_of(folder), folder / 'out', workers=2, engine='ray')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment)
    killed = 0
    while command.poll() is None:
        for pid in _ray_tasks() if killed < 2 else []:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        time.sleep(0.02)
    assert command.returncode == 0
    assert killed >= 1
    assert sums(folder / "out") == sums(folder / "whole")


def _ray_tasks():
    """Processes of this user in the midst of a Ray task of ours."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_call"):
                yield int(path.parent.name)
        except OSError:
            continue


@pytest.mark.parametrize("room", ["for nothing", "for the plan"])
def test_a_full_disk(folder, room, capsys):
    """A limit on the size of files stands for it: the kernel refuses to write, as there."""
    build_shards(settings_of(folder), folder / "whole", workers=1)
    limit = 1000 if room == "for nothing" else _largest_shard(folder / "whole") - 1
    words = ["--samples_per_shard", "4", "--workers", "1"]
    for name, value in (("csv", "photos.csv"), ("images", "img"), ("seg", "seg"), ("output", "o")):
        words += [f"--{name}", str(folder / value)]
    with _starved(limit):
        assert main(words) == 2
    assert (folder / "o" / PLAN).exists() == (room == "for the plan")
    said = capsys.readouterr().err
    assert "File too large" in said
    assert "run the same command again to go on" in said
    assert not list((folder / "o").rglob("*.tmp"))
    assert main(words) == 0
    assert sums(folder / "o") == sums(folder / "whole")


def test_another_input_is_refused(folder):
    settings = settings_of(folder)
    whole = build_shards(settings, folder / "whole", workers=1)
    with (
        _starved(_largest_shard(folder / "whole") - 1),
        pytest.raises(OSError, match="File too large"),
    ):
        build_shards(settings, folder / "out", workers=1)
    table = (folder / "photos.csv").read_text()
    (folder / "photos.csv").write_text(table.replace("p3,", "p03,"))
    with pytest.raises(ValueError, match="begun with another csv; give the same as then"):
        build_shards(settings, folder / "out", workers=1)
    (folder / "photos.csv").write_text(table)
    (folder / "seg").rename(folder / "maps")
    with pytest.raises(ValueError, match="no folder"):
        build_shards(settings, folder / "out", workers=1)
    (folder / "maps").rename(folder / "seg")
    assert build_shards(settings, folder / "out", workers=1).samples == whole.samples


def _largest_shard(folder):
    return max(path.stat().st_size for path in folder.rglob("*.tar"))


@contextmanager
def _starved(limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_two_runs_at_once_are_one_too_many(folder):
    with (
        alone(folder / "out"),
        pytest.raises(ValueError, match="another run is at work"),
    ):
        build_shards(settings_of(folder), folder / "out", workers=1)
    build_shards(settings_of(folder), folder / "out", workers=1)


def test_stopped_before_the_plan_was_there(folder):
    """In the midst of writing it."""
    (folder / "out" / "parts").mkdir(parents=True)
    (folder / "out" / "parts" / "rows.arrow").write_bytes(b"of another table")
    (folder / "out" / f"{PLAN}.tmp").write_text("{")
    build_shards(settings_of(folder), folder / "out", workers=1)
    build_shards(settings_of(folder), folder / "whole", workers=1)
    assert sums(folder / "out") == sums(folder / "whole")


def test_a_damaged_plan(folder):
    build_shards(settings_of(folder), folder / "out", workers=1)
    (folder / "out" / PLAN).write_text("[]")
    with pytest.raises(ValueError, match=r"cannot be read .*; remove "):
        build_shards(settings_of(folder), folder / "out", workers=1)
