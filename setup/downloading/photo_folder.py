"""Where downloaded photos go: a folder of KEY.jpg."""

import hashlib
from pathlib import Path

from data.images import ImageError, image_size, read_bytes
from partitioning.atomic_file import atomic_path
from setup.downloading.ledger import Job, Ledger
from setup.downloading.report import Row

PAGE = 10_000


class PhotoFolder:
    """A folder of photos, beside its ledger.

    Args:
        ledger: of the folder.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.directory, self.ledger = ledger.directory, ledger

    def check(self) -> int:
        """Have photos asked for that are not there any more; returns how many."""
        for unfinished in self.directory.glob("*.jpg.tmp"):  # of a killed run
            unfinished.unlink()
        after, lost = -1, 0
        while found := self.ledger.ask(
            "SELECT turn, key FROM photos WHERE turn > ? AND sha256 != '' ORDER BY turn LIMIT ?",
            (after, PAGE),
        ):
            gone = [turn for turn, key in found if not self._path(key).is_file()]
            self.ledger.lose(gone)
            after, lost = found[-1][0], lost + len(gone)
        return lost

    def find(self, job: Job) -> bool:
        """Whether a photo lies there that the ledger does not know, which it does then."""
        if job.is_there or not self._path(job.key).is_file():
            return False
        try:
            data = read_bytes(self._path(job.key))
            height, width = image_size(data, job.key)
        except ImageError:
            return False
        sha256 = hashlib.sha256(data).hexdigest()
        self.ledger.finish(job, Row(job.key, job.url, 200, "", width, height, sha256))
        return True

    def save(self, job: Job, row: Row, jpg: bytes, etag: str, modified: str) -> None:
        """Keep a photo; the ledger hears of it when it is on disk."""
        with atomic_path(self._path(job.key)) as temporary:
            temporary.write_bytes(jpg)
        self.ledger.finish(job, row, etag, modified)

    def remove(self, job: Job, row: Row) -> None:
        """Remove a photo that is not to be had any more."""
        self._path(job.key).unlink(missing_ok=True)
        self.ledger.finish(job, row)

    def settle(self, turn: int) -> None:
        """Nothing more to do after a photo."""

    def close(self) -> None:
        """Nothing more to do after all."""

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.jpg"
