"""A download that is killed again and again ends as one that was not, and asks for nothing twice.

The downloads run in processes of their own and are killed with SIGKILL at random moments.
"""

import multiprocessing
import random
import sqlite3
import time

import pytest

from data.shards import verify
from setup.download_images import download
from setup.downloading.fetch import Limits
from setup.downloading.settings import Settings

KILLS, PHOTOS, WORKERS = 10, 280, 8
ANSWER_S = 0.03
SETTINGS = Settings(
    allow_private=True, workers=WORKERS, per_host=0, size=40, limits=Limits(first_pause_s=0.01)
)


@pytest.fixture(scope="module")
def processes():
    """Starts processes that have the downloader imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["setup.download_images", "torch"])
    return context


@pytest.fixture
def rows(server, picture, encode):
    """A list whose photos differ; some are dead or garbage."""
    server.http.handle_error = lambda *_: None  # of connections that a kill cut
    for i in range(PHOTOS):
        answer = server.body(encode(picture(60, 90, seed=i % 7), quality=60 + i % 30))
        answer = {3: server.status(404), 11: server.body(b"garbage")}.get(i % 40, answer)
        server.answers[f"/{i}"] = server.slow(answer, ANSWER_S)
    return [(f"photo{i}", f"{server.root}/{i}") for i in range(PHOTOS)]


def finished(output):
    """URLs that the ledger says are done."""
    if not (output / "ledger.sqlite").exists():
        return []
    with sqlite3.connect(output / "ledger.sqlite") as ledger:
        if not ledger.execute("SELECT 1 FROM sqlite_master WHERE name = 'photos'").fetchall():
            return []
        return [url for (url,) in ledger.execute("SELECT url FROM photos WHERE NOT is_due")]


def files(folder):
    """What lies in a folder, but for the ledger."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if "ledger" not in p.name}


def kill_often(processes, server, rows, output, options):
    """Kill a download `KILLS` times, then let it end; returns how often each done URL was asked."""
    draw, asked_when_done = random.Random(0), {}
    for _ in range(KILLS):
        enough = sum(server.asked.values()) + draw.randint(1, 2 * PHOTOS // KILLS)
        process = processes.Process(target=download, args=(rows, output, SETTINGS), kwargs=options)
        process.start()
        deadline = time.monotonic() + 20
        while sum(server.asked.copy().values()) < enough and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, ANSWER_S))
        assert process.is_alive(), "it ended before it was killed: make the list longer"
        process.kill()
        process.join()
        time.sleep(2 * ANSWER_S)  # for requests on their way to be counted
        for url in finished(output):
            asked_when_done.setdefault(url, server.asked[url.removeprefix(server.root)])
    process = processes.Process(target=download, args=(rows, output, SETTINGS), kwargs=options)
    process.start()
    process.join()
    assert process.exitcode == 0
    return asked_when_done


@pytest.mark.timeout(300)  # twelve seconds; on a machine full of other work many times that
@pytest.mark.parametrize("samples_per_shard", [pytest.param(0, marks=pytest.mark.slow), 25])
def test_killed_at_random_moments(processes, server, rows, tmp_path, samples_per_shard):
    position = '{"lat": 1.5, "lon": 2.5}'
    metadata = [(key, position, "") for key, _ in rows] if samples_per_shard else []
    options = {"samples_per_shard": samples_per_shard, "metadata": metadata}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    report = download(rows, whole, SETTINGS, **options)
    assert report.failures() == {"HTTP 404": PHOTOS // 40, "bad image": PHOTOS // 40}
    server.asked.clear()
    asked_when_done = kill_often(processes, server, rows, killed, options)
    assert len(asked_when_done) > PHOTOS / 8, "the kills came too early to say anything"
    assert len(asked_when_done) < PHOTOS, "the kills came too late to say anything"
    asked_since = {url: server.asked[url.removeprefix(server.root)] for url in asked_when_done}
    assert asked_since == asked_when_done  # nothing that had finished was asked again
    in_flight = WORKERS + 16  # requests, and answers that were being decoded
    assert sum(server.asked.values()) <= PHOTOS + KILLS * in_flight
    assert files(killed) == files(whole)
    if samples_per_shard:
        assert verify(killed).ok
        assert verify(killed).samples == report.photos
