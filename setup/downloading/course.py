"""The course of a download: photos are drawn from the ledger, asked for, and written down.

As many tasks as connections wait for servers, and a few more have what came decoded in threads, so
that neither waits for the other. What is drawn ahead is bounded, hence so is the memory.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from setup.downloading.fetch import BUSY_STATUSES, Answer, FetchError, fetch, open_session
from setup.downloading.host_queue import HostQueue
from setup.downloading.ledger import Job, Ledger
from setup.downloading.record import Recorder, Store
from setup.downloading.settings import Settings

DRAWN_AHEAD, PAGE = 4096, 500
MOST_STRIKES = 20  # jobs in a row that a host failed to the last attempt before it is left alone
SAVERS_PER_CORE = 2  # threads; some of them wait for the disk
FOUND = "found"

Result = TypeVar("Result")


class Course:
    """One run over all that is due in a ledger; to be used once, inside a running loop.

    Args:
        ledger: of the folder.
        store: where photos go.
        settings: how they are asked for.
        advance: called with the cause of each row that is done, "" for a photo.

    Attributes:
        tally: how many rows had each cause (`setup.downloading.record.Recorder.record`), and how
            many photos were found in the folder.
    """

    def __init__(
        self, ledger: Ledger, store: Store, settings: Settings, advance: Callable[[str], None]
    ) -> None:
        self.ledger, self.store, self.settings = ledger, store, settings
        self.tally: Counter[str] = Counter()
        self._advance = advance
        self._recorder = Recorder(ledger, store, settings)
        self._queue: HostQueue[Job] = HostQueue(settings.per_host or settings.workers)
        self._room = asyncio.Semaphore(DRAWN_AHEAD)
        self._connections = asyncio.Semaphore(settings.workers)
        self._left: dict[str, str] = {}  # host -> why it is left alone

    async def run(self) -> None:
        """Ask for all that is due.

        Raises:
            OSError: what came cannot be written.
        """
        settings = self.settings
        savers = SAVERS_PER_CORE * len(os.sched_getaffinity(0))
        # Names are resolved in the loop's own threads; a slow name server must not hold up saving.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(settings.workers))
        with ThreadPoolExecutor(savers) as self._savers:
            async with open_session(
                settings.limits, settings.workers, settings.contact, settings.allow_private
            ) as self._session:
                await self._run_together(settings.workers + savers)

    async def _run_together(self, workers: int) -> None:
        """Run to the end of all, or to the first error (a full disk), which stops the others."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._draw(workers))
                for _ in range(workers):
                    group.create_task(self._work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _draw(self, workers: int) -> None:
        """Bring what is due into the queue, and send the workers home when all of it is done."""
        after = -1
        while jobs := await self._in_thread(self.ledger.due, after, PAGE):
            after = jobs[-1].turn
            found = await self._in_thread(lambda page: [self.store.find(job) for job in page], jobs)
            for job, is_found in zip(jobs, found, strict=True):
                await self._room.acquire()
                if is_found:
                    self.tally[FOUND] += 1
                    self._done("")
                else:
                    self._put(job)
        for _ in range(DRAWN_AHEAD):
            await self._room.acquire()
        self._queue.close(workers)

    async def _work(self) -> None:
        while True:
            async with self._connections:
                job = await self._queue.take()
                if job is None:
                    return
                answer = await self._request(job)
            is_last = self._is_last(job, answer)
            self._queue.release(_host(job))
            if is_last:
                self._done(await self._in_thread(self._recorder.record, job, answer))

    async def _request(self, job: Job) -> Answer | FetchError:
        limits = self.settings.limits
        if job.is_there and not (job.etag or job.modified):
            try:
                return await fetch(self._session, job.url, limits, "HEAD")
            except FetchError as error:
                if error.is_passing:
                    return error
                # Some servers answer HEAD with an error; a photo is not removed for that.
        try:
            return await fetch(self._session, job.url, limits, "GET", job.etag, job.modified)
        except FetchError as error:
            return error

    def _is_last(self, job: Job, answer: Answer | FetchError) -> bool:
        """Whether this was the last request for a job, which else waits for another."""
        host, limits = _host(job), self.settings.limits
        if not (isinstance(answer, FetchError) and answer.is_passing):
            self._queue.strike(host, is_failure=False)
            return True
        error = answer
        if error.pause_s > limits.longest_pause_s:
            error.args = (f"{error}: asks for {error.pause_s:.0f} s",)
            self._leave(host, str(error))
            return True
        if job.attempt >= limits.attempts:
            if self._queue.strike(host, is_failure=True) >= MOST_STRIKES:
                self._leave(host, f"{error}, {MOST_STRIKES} times on end")
            return True
        pause_s = max(error.pause_s, limits.pause_s(job.attempt))
        again = job._replace(attempt=job.attempt + 1)
        if error.pause_s or error.status in BUSY_STATUSES:
            self._queue.rest(host, pause_s)
            self._put(again, is_first=True)
        else:
            asyncio.get_running_loop().call_later(pause_s, self._put, again)
        return False

    def _put(self, job: Job, is_first: bool = False) -> None:
        if not self._queue.put(_host(job), job, is_first):
            self._done(self._recorder.leave(job, self._left[_host(job)]))

    def _leave(self, host: str, why: str) -> None:
        """Ask a host nothing more in this run; the next one (--resume) will."""
        self._left.setdefault(host, why)
        for job in self._queue.leave(host):
            self._done(self._recorder.leave(job, self._left[host]))

    def _done(self, cause: str) -> None:
        self.tally[cause] += 1
        self._room.release()
        self._advance(cause)

    async def _in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._savers, function, *arguments)


def _host(job: Job) -> str:
    return urlsplit(job.url).netloc
