"""Rate, time left and causes, by a clock of our own."""

import io
import sys

from setup.downloading.progress import Pace, show_progress


def test_rate_and_time_left():
    pace = Pace(total=1000, now_s=100.0)
    for i in range(200):
        pace.advance("HTTP 404" if i % 4 == 0 else "")
    assert pace.rate(120.0) == 10
    assert pace.text(120.0) == "10/s; 0:01:20 left; 50 HTTP 404"


def test_the_rate_is_that_of_the_last_minute():
    pace = Pace(total=100_000, now_s=0.0)
    for second in range(1, 301):
        for _ in range(100 if second <= 200 else 10):
            pace.advance("")
        rate = pace.rate(float(second))
    assert 9 < rate < 11


def test_nothing_done_yet():
    assert Pace(total=5, now_s=0.0).text(1.0) == "0/s"


def test_lines_where_stderr_is_a_file(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with show_progress(3) as advance:
        for cause in ("", "HTTP 404", ""):
            advance(cause)
    line = sys.stderr.getvalue()
    assert line.startswith("photos 3/3 ")
    assert line.endswith("1 HTTP 404\n")
