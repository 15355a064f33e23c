"""A collection that is killed again and again ends as one that was not, and asks nothing twice.

It runs in processes of its own, which are killed with SIGKILL at random moments.
"""

import multiprocessing
import random
import sqlite3
import time

import pytest

from setup.collect_street import collect

KILLS, ANSWER_S = 3, 0.01
WIDE = ((8.0, 50.0, 8.04, 50.04),)


@pytest.fixture(scope="module")
def processes():
    """Starts processes that have the collector imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["setup.collect_street"])
    return context


def files(folder):
    """What lies in a folder, but for the ledger."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if "ledger" not in p.name}


def finished(out):
    """The paths of pictures and the boxes that the ledger says are done."""
    if not (out / "ledger.sqlite").exists():
        return []
    with sqlite3.connect(out / "ledger.sqlite") as ledger:
        tables = {name for (name,) in ledger.execute("SELECT name FROM sqlite_master")}
        if not {"photos", "searches"} <= tables:
            return []
        keys = ledger.execute("SELECT key FROM photos WHERE NOT is_due").fetchall()
        boxes = ledger.execute("SELECT west, south FROM searches WHERE state = 'done'").fetchall()
    return [f"/img/{key}?" for (key,) in keys] + [
        f"bbox={west:g},{south:g}," for west, south in boxes
    ]


def count(asked, parts):
    return {part: sum(n for path, n in asked.items() if part in path) for part in parts}


@pytest.mark.timeout(300)
def test_killed_at_random_moments(processes, street, plan, quick, tmp_path, photo_of_street):
    street.server.http.handle_error = lambda *_: None  # of connections that a kill cut
    for i in range(60):
        jpg = street.photos[f"photo{i % 6}"].jpg
        lat, lon = 50.0005 + 0.039 * (i % 8) / 8, 8.0005 + 0.039 * (i // 8) / 8
        street.photos[f"many{i}"] = photo_of_street(f"many{i}", lat, lon, jpg)
    street.pause_s = ANSWER_S
    assert collect(plan(boxes=WIDE, out="whole"), quick).photos == 66
    street.server.asked.clear()
    task, draw, asked_when_done = plan(boxes=WIDE, out="killed"), random.Random(0), {}
    for _ in range(KILLS):
        enough = street.server.asked.total() + draw.randint(10, 34)
        process = processes.Process(target=collect, args=(task, quick))
        process.start()
        deadline = time.monotonic() + 20
        while street.server.asked.copy().total() < enough and time.monotonic() < deadline:
            time.sleep(0.001)
        assert process.is_alive(), "it ended before it was killed"
        process.kill()
        process.join()
        time.sleep(2 * ANSWER_S)  # for requests on their way to be counted
        done = [part for part in finished(tmp_path / "killed") if part not in asked_when_done]
        asked_when_done |= count(street.server.asked, done)
    assert 20 < len(asked_when_done) < 66 + 16, "the kills came too early or late to say anything"
    assert collect(task, quick).photos == 66
    assert count(street.server.asked, asked_when_done) == asked_when_done
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
