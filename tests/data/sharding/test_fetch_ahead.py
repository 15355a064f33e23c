"""Fetching ahead: in order, a few at a time, never twice at once, through errors."""

import threading
import time

from data.sharding.fetch_ahead import FetchAhead


def wait_for(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_all_are_fetched_the_first_first():
    fetched = []
    ahead = FetchAhead(fetched.append, threads=1)
    ahead.want([3, 1, 2])
    wait_for(lambda: len(fetched) == 3)
    assert fetched == [3, 1, 2]
    ahead.want([5])
    wait_for(lambda: fetched[-1] == 5)


def test_what_is_no_more_wanted_is_left():
    go, fetched = threading.Event(), []

    def fetch(shard):
        go.wait(5)
        fetched.append(shard)

    ahead = FetchAhead(fetch, threads=1)
    ahead.want([1, 2, 3])
    ahead.want([7])
    go.set()
    wait_for(lambda: 7 in fetched)
    assert set(fetched) <= {1, 7}


def test_no_more_at_once_than_threads_and_errors_do_not_stop_it():
    running, most, fetched, lock = set(), [], [], threading.Lock()

    def fetch(shard):
        with lock:
            running.add(shard)
            most.append(len(running))
        time.sleep(0.005)
        with lock:
            running.remove(shard)
            fetched.append(shard)
        raise OSError("the host is away")

    ahead = FetchAhead(fetch, threads=2)
    for _ in range(3):
        ahead.want(range(10))
    wait_for(lambda: set(fetched) == set(range(10)))
    assert max(most) == 2
    wait_for(lambda: ahead._running == 0)
    ahead.want([99])
    wait_for(lambda: 99 in fetched)
