"""What an answer means for its photo: kept, failed, removed; small on disk and in the ledger."""

import hashlib
from typing import Protocol

from data.images import ImageError
from setup.downloading.fetch import Answer, FetchError
from setup.downloading.ledger import Job, Ledger
from setup.downloading.ledger_list import LEFT_ALONE, REMOVED
from setup.downloading.report import Row
from setup.downloading.settings import Settings
from setup.downloading.small_jpeg import as_small_jpeg

UNCHECKED = "unchecked"


class Store(Protocol):
    """Where photos go: photo_folder.py or photo_shards.py."""

    def check(self) -> int:
        """Have photos asked for that are not where the ledger has them; returns how many."""

    def find(self, job: Job) -> bool:
        """Take over a photo that lies there unknown to the ledger; whether there is one."""

    def save(self, job: Job, row: Row, jpg: bytes, etag: str, modified: str) -> None:
        """Keep a photo; the ledger has it when it is safe."""

    def remove(self, job: Job, row: Row) -> None:
        """Remove a photo that is not to be had any more."""

    def settle(self, turn: int) -> None:
        """Do what is to be done when a photo has been asked for, whatever became of it."""

    def close(self) -> None:
        """Do what is to be done when all have."""


class Recorder:
    """Writes down what became of photos; for any thread.

    Args:
        ledger: of the folder.
        store: where photos go.
        settings: how they are saved.
    """

    def __init__(self, ledger: Ledger, store: Store, settings: Settings) -> None:
        self.ledger, self.store, self.settings = ledger, store, settings

    def record(self, job: Job, answer: Answer | FetchError) -> str:
        """Write down an answer.

        Returns:
            The cause of the row, "" for a photo; `UNCHECKED` for one that stays as it was, because
            nobody can tell whether it is still to be had.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        if isinstance(answer, FetchError):
            cause = self._fail(job, answer)
        elif answer.body is None:
            self.ledger.keep(job, answer.etag, answer.modified)
            cause = ""
        else:
            cause = self._save(job, answer.body, answer.etag, answer.modified)
        self.store.settle(job.turn)
        return cause

    def leave(self, job: Job, why: str) -> str:
        """Write down that a photo was not asked for; returns as `record`."""
        return self.record(job, FetchError(f"{LEFT_ALONE}: {why}"))

    def _fail(self, job: Job, error: FetchError) -> str:
        row = Row(job.key, job.url, error.status, str(error))
        if not job.is_there:
            self.ledger.finish(job, row)
            return row.cause
        if not error.is_withdrawn:
            self.ledger.keep(job)
            return UNCHECKED
        self.store.remove(job, row._replace(error=f"{REMOVED}: {error}"))
        return REMOVED

    def _save(self, job: Job, body: bytes, etag: str, modified: str) -> str:
        settings = self.settings
        try:
            jpg, width, height = as_small_jpeg(body, job.key, settings.size, settings.max_pixels)
        except ImageError as error:
            return self._fail(job, FetchError(f"bad image: {error}", 200))
        sha256 = hashlib.sha256(jpg).hexdigest()
        if sha256 == job.sha256:
            self.ledger.keep(job, etag, modified)
        else:
            row = Row(job.key, job.url, 200, "", width, height, sha256)
            self.store.save(job, row, jpg, etag, modified)
        return ""
