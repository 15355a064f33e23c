"""Patience with hosts: who asks for a pause gets one, who fails on end is left alone."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from setup.download_images import download
from setup.downloading.fetch import Limits
from setup.downloading.settings import Settings

QUICK = Settings(allow_private=True, workers=8, size=40, limits=Limits(first_pause_s=0.01))
COUNT = 22


@pytest.fixture
def rows(server, picture, encode):
    for i in range(COUNT):
        server.answers[f"/{i}"] = server.body(encode(picture(60, 90, seed=i)))
    return [(f"p{i}", f"{server.root}/{i}") for i in range(COUNT)]


def test_a_host_that_asks_for_an_hour_is_left_alone(server, rows, tmp_path):
    """The rows that were not asked say so, and are asked the next time."""
    good = dict(server.answers)
    server.answers |= {f"/{i}": server.status(503, Retry_After="3600") for i in range(COUNT)}
    settings = replace(QUICK, workers=1)
    report = download(rows, tmp_path, settings)
    assert report.failures()["host left alone"] >= COUNT - 6
    assert report.failures().total() == COUNT
    assert "asks for 3600 s" in report.rows[-1].error
    assert sum(server.asked.values()) <= 6
    server.answers = good
    assert download(rows, tmp_path, settings).photos == COUNT


def test_a_host_that_fails_on_end_is_left_alone(server, rows, tmp_path):
    server.answers |= {f"/{i}": server.status(500) for i in range(COUNT)}
    many = [(f"{key}-{copy}", url) for copy in range(5) for key, url in rows]
    settings = replace(QUICK, workers=2, limits=Limits(attempts=1))
    report = download(many, tmp_path, settings)
    assert report.failures()["HTTP 500"] < 40
    assert report.failures().total() == len(many)


def test_a_retry_after_holds_for_the_whole_host(server, rows, tmp_path):
    """While one photo's answer asks for a pause, no other of its host is asked for."""
    times = []
    good = server.answers["/0"]
    busy = server.in_turn(server.status(429, Retry_After="1"), good)

    def note(answer):
        def wrapped(handler):
            times.append(time.monotonic())
            answer(handler)

        return wrapped

    server.answers |= {f"/{i}": note(server.answers[f"/{i}"]) for i in range(COUNT)}
    server.answers["/0"] = note(busy)
    report = download(rows, tmp_path, replace(QUICK, workers=1))
    assert report.photos == COUNT
    gaps = np.diff(sorted(times))
    assert gaps.max() >= 0.99
    assert np.argmax(gaps) <= 6  # the few that were let in with the first


def test_no_more_requests_at_a_time_than_the_host_gets(server, rows, tmp_path):
    lock, busy, most = threading.Lock(), [0], [0]
    answers = dict(server.answers)

    def counted(answer):
        def wrapped(handler):
            with lock:
                busy[0] += 1
                most[0] = max(most[0], busy[0])
            time.sleep(0.02)
            with lock:
                busy[0] -= 1
            answer(handler)

        return wrapped

    server.answers |= {path: counted(answer) for path, answer in answers.items()}
    assert download(rows, tmp_path, replace(QUICK, workers=16, per_host=3)).photos == COUNT
    assert most[0] == 3


def test_a_slow_host_does_not_hold_up_another(server, rows, tmp_path):
    """The same server under another name: its photos come while the first one's wait."""
    order = []
    answers = dict(server.answers)
    for i in range(COUNT):
        server.answers[f"/{i}"] = server.slow(answers[f"/{i}"], 0.2)
        server.answers[f"/quick{i}"] = answers[f"/{i}"]
    quick = [(f"q{i}", f"http://localhost:{server.http.server_port}/quick{i}") for i in range(5)]
    settings = replace(QUICK, workers=6, per_host=2)
    server.http.RequestHandlerClass.log_request = lambda handler, *_: order.append(handler.path)
    assert download([*rows[:8], *quick], tmp_path, settings).photos == 13
    assert {path for path in order[:6] if path.startswith("/quick")} == {
        f"/quick{i}" for i in range(5)
    }
