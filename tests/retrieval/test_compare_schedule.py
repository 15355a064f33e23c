"""Which rows of a comparison run when."""

import signal
import sys
import threading
import time

import pytest

from retrieval.comparing import schedule
from retrieval.comparing.methods import DEFAULT, METHODS, with_bases
from retrieval.comparing.runs import NotRunError, Runs
from retrieval.comparing.schedule import Schedule, next_row, usual_jobs, waits_for
from retrieval.comparing.sets import Sets


class Rows:
    """Stands for `Runs`: notes what ran, and what ran beside it."""

    def __init__(self, folder, failing=()):
        self.out, self.failing = folder, failing
        self.lock, self.now, self.most, self.ended = threading.Lock(), set(), 0, []

    def folder(self, name):
        return self.out / name

    def is_tested(self, name):
        return name in self.ended

    def run(self, name):
        with self.lock:
            assert not waits_for(name) - {*self.ended, *self.failing}, "before what it is made from"
            self.now.add(name)
            self.most = max(self.most, len(self.now))
        if len(self.now) < 2:
            threading.Event().wait(0.02)  # time for another to begin
        with self.lock:
            self.now.remove(name)
            if name in self.failing:
                raise NotRunError("it failed")
            self.ended.append(name)


def test_a_row_waits_for_the_models_it_is_made_from_only():
    assert waits_for("gem") == set()
    assert waits_for("+night") == set(), "it trains anew: its base is for comparison"
    assert waits_for("+multi_scale") == {"resnetvlad"}
    assert waits_for("+ensemble") == {"resnetvlad", "gem"}
    assert waits_for("+geowarp") == {"resnetvlad"}
    assert waits_for("+inpainting") == set()


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_all_rows_run_once_after_what_they_are_made_from(tmp_path, jobs):
    names = with_bases(DEFAULT)
    rows = Rows(tmp_path)
    assert Schedule(rows, names, jobs, float("inf")).run() == {}
    assert sorted(rows.ended) == sorted(names)
    assert 1 < rows.most <= jobs or jobs == 1 == rows.most


def test_what_others_wait_for_comes_first_then_what_is_prepared_long():
    names = with_bases(DEFAULT)
    first = next_row(names, set())
    assert first == "resnetvlad"
    left = [name for name in names if name not in ("resnetvlad", "gem")]
    assert METHODS[next_row(left, set())].prepare
    assert next_row(["+multi_scale"], {"resnetvlad"}) is None
    assert next_row([], set()) is None


def test_a_failure_is_told_and_the_others_run(tmp_path, capsys):
    rows = Rows(tmp_path, failing={"gem"})
    why_not = Schedule(rows, ["gem", "netvlad", "resnetvlad", "+ensemble"], 2, float("inf")).run()
    assert why_not == {"gem": "it failed"}
    assert sorted(rows.ended) == ["+ensemble", "netvlad", "resnetvlad"]
    assert "gem: not run: it failed" in " ".join(capsys.readouterr().err.split())


def test_one_row_at_a_time_on_a_gpu_or_one_core(monkeypatch):
    assert usual_jobs("cuda") == 1
    for cores, jobs in ((1, 1), (2, 2), (64, 2)):
        monkeypatch.setattr(schedule, "cores", lambda cores=cores: cores)
        assert usual_jobs("cpu") == jobs


def test_an_interruption_ends_what_runs(tmp_path, monkeypatch):
    """Its commands too: a pool of threads would wait for them, and for those that follow."""
    runs = Runs(tmp_path, Sets(tmp_path), "", "", "toy", "cpu")
    ended = []

    def run(_, name):
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        ended.append(runs.processes.run(command))
        runs.processes.run(command)  # no command follows

    def interrupted(running, **_):
        while len(runs.processes._running) < 2:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(Runs, "run", run)
    monkeypatch.setattr(schedule, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Schedule(runs, ["gem", "netvlad"], 2, float("inf")).run()
    assert ended == [-signal.SIGTERM] * 2
