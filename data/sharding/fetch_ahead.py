"""Fetch remote shards in threads before a sample of theirs is wanted.

What fails here is left to the reader who will want the shard: he tries again, and reports it.
"""

import logging
import threading
from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)


class FetchAhead:
    """A list of shards to fetch, worked off by daemon threads.

    Args:
        fetch: Fetches the shard of a number.
        threads: Shards fetched at once.
    """

    def __init__(self, fetch: Callable[[int], object], threads: int = 2) -> None:
        self._fetch, self._threads = fetch, threads
        self._wanted: list[int] = []
        self._lock = threading.Lock()
        self._running = 0

    def want(self, shards: Sequence[int]) -> None:
        """Fetch these, the first first, and forget what was wanted before."""
        with self._lock:
            self._wanted = list(shards)
            starting = min(self._threads, len(self._wanted)) - self._running
            self._running += max(0, starting)
        # No thread is left waiting while there is nothing to do: a process that forks is best
        # without any.
        for _ in range(starting):
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._running -= 1
                    return
                shard = self._wanted.pop(0)
            try:
                self._fetch(shard)
            except Exception as error:  # whatever it is, the thread goes on
                logger.info("not fetched ahead: %s", error)
