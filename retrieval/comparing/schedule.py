"""Run rows of `retrieval.compare` beside each other, each when what it is made from is there.

Small networks on small photos gain next to nothing from a second core; a second row does.
"""

import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from rich.console import Console

from retrieval.comparing.methods import METHODS
from retrieval.comparing.runs import NotRunError, Runs


def usual_jobs(device: str) -> int:
    """Rows at a time: two where there are two cores and no GPU to share."""
    if device == "cuda" or cores() < 2:
        return 1
    if device == "auto":
        import torch

        if torch.cuda.is_available():
            return 1
    return 2


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def waits_for(name: str) -> set[str]:
    """The rows whose models a row is made from."""
    method = METHODS[name]
    flags = " ".join([method.train, method.test, *(step.command for step in method.prepare)])
    takes_base = bool(method.base) and ("{base}" in flags or not method.train)
    return {*method.needs, *({method.base} if takes_base else ())}


def next_row(waiting: list[str], running: set[str]) -> str | None:
    """The row to start: one that others wait for, else one prepared long; None = none yet."""
    unfinished = {*waiting, *running}
    ready = [name for name in waiting if not waits_for(name) & unfinished]
    if not ready:
        return None

    def urgency(name: str) -> tuple[int, bool]:
        return sum(name in waits_for(other) for other in waiting), bool(METHODS[name].prepare)

    return max(ready, key=urgency)


class Schedule:
    """Runs what is missing of some rows.

    Args:
        runs: How.
        names: The rows.
        jobs: At a time.
        minutes: No further row is started after so long.
    """

    def __init__(self, runs: Runs, names: list[str], jobs: int, minutes: float) -> None:
        self.runs, self.names, self.jobs, self.minutes = runs, names, jobs, minutes
        self.console = Console(stderr=True)
        self.why_not: dict[str, str] = {}

    def run(self) -> dict[str, str]:
        """Run them; returns why which rows have no figures."""
        began = time.monotonic()
        waiting = [name for name in self.names if not self.runs.is_tested(name)]
        running: dict[Future[None], str] = {}
        with self.console.status("") as status, ThreadPoolExecutor(self.jobs) as pool:
            try:
                while waiting or running:
                    if (time.monotonic() - began) / 60 >= self.minutes:
                        self._leave(waiting)
                    self._start(pool, waiting, running)
                    status.update(", ".join(running.values()))
                    for done in wait(running, return_when=FIRST_COMPLETED).done:
                        self._end(running.pop(done), done)
            except BaseException:  # Ctrl-C, or a full disk: the pool would wait for the others
                self.runs.processes.stop()
                raise
        return self.why_not

    def _start(
        self, pool: ThreadPoolExecutor, waiting: list[str], running: dict[Future[None], str]
    ) -> None:
        while len(running) < self.jobs and (name := next_row(waiting, {*running.values()})):
            waiting.remove(name)
            self._tell(name)
            running[pool.submit(self.runs.run, name)] = name

    def _leave(self, waiting: list[str]) -> None:
        for name in waiting:
            why = f"--minutes {self.minutes:g} were over; run the command again to go on"
            self.why_not[name] = why
        waiting.clear()

    def _end(self, name: str, done: Future[None]) -> None:
        try:
            done.result()
        except NotRunError as error:
            self.why_not[name] = str(error)
            self.console.print(f"{name}: not run: {error}", highlight=False, markup=False)

    def _tell(self, name: str) -> None:
        number, log = self.names.index(name) + 1, self.runs.folder(name) / "log"
        text = f"{name}, {number} of {len(self.names)}; its log is {log}"
        self.console.print(text, highlight=False, markup=False)
