"""What became of every URL of a download: an SQLite file beside the photos.

A row is changed in one transaction with what else must be true, so a download that is killed at
any moment goes on from what had finished. Nothing here grows with the list but the file itself.

`photos` has a row for each key that is or was in the list. Its `turn` is its place in the order
of asking, given once for ever; it is `is_due` where it must be asked; it is there where it has a
sha256; it `is_unpacked` where its shard does not show yet what became of it. `refused` has the
rows of the list that are not asked for. `metadata` holds what shards say of each photo, `packing`
the photos whose shard is still open. `list` numbers the runs: a row of an earlier list has an
earlier number.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from setup.downloading.report import Row

LEDGER = "ledger.sqlite"
VERSION = 1
CACHE_KIB = 16_000
WAL_PAGES = 4_000  # 16 MB between checkpoints, which wait for the disk
SCHEMA = """
CREATE TABLE IF NOT EXISTS photos (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, url TEXT NOT NULL, turn INTEGER,
    list INTEGER NOT NULL, place INTEGER NOT NULL, is_due INTEGER NOT NULL DEFAULT 1,
    status INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
    width INTEGER NOT NULL DEFAULT 0, height INTEGER NOT NULL DEFAULT 0,
    sha256 TEXT NOT NULL DEFAULT '', etag TEXT NOT NULL DEFAULT '',
    modified TEXT NOT NULL DEFAULT '', is_unpacked INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX IF NOT EXISTS turns ON photos (turn);
CREATE INDEX IF NOT EXISTS due ON photos (turn) WHERE is_due;
CREATE INDEX IF NOT EXISTS unpacked ON photos (turn) WHERE is_unpacked;
CREATE TABLE IF NOT EXISTS refused (
    list INTEGER NOT NULL, place INTEGER NOT NULL, key TEXT NOT NULL, url TEXT NOT NULL,
    error TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS metadata (
    key TEXT PRIMARY KEY, list INTEGER NOT NULL, json TEXT NOT NULL, problem TEXT NOT NULL,
    is_changed INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packing (turn INTEGER PRIMARY KEY, jpg BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS download (
    list INTEGER NOT NULL, is_finished INTEGER NOT NULL, is_refresh INTEGER NOT NULL,
    samples_per_shard INTEGER NOT NULL, source TEXT NOT NULL);
"""


class Job(NamedTuple):
    """A photo to ask for.

    Attributes:
        turn: of the photo, which names its row.
        key, url: of the photo.
        sha256: of the photo that we have, and ask only whether it is still to be had; "" for none.
        etag, modified: of the file that it was made of.
        attempt: 1, 2, ...
    """

    turn: int
    key: str
    url: str
    sha256: str = ""
    etag: str = ""
    modified: str = ""
    attempt: int = 1

    @property
    def is_there(self) -> bool:
        """Whether we have the photo."""
        return bool(self.sha256)


class Ledger:
    """The ledger of one folder; a context manager, for any thread, for one process at a time.

    Args:
        directory: where it lies; made if it is not there.
        samples_per_shard: 0 for a folder of photos.

    Raises:
        ValueError: another process writes it, or it was begun for another kind of output.
        OSError: it cannot be read or written.
    """

    def __init__(self, directory: Path, samples_per_shard: int = 0) -> None:
        self.directory, self.path = directory, directory / LEDGER
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._guard = os.open(directory, os.O_RDONLY)
        try:
            self._lock_out_others()
            self._open()
            self._check_kind(samples_per_shard)
        except BaseException:
            os.close(self._guard)
            raise
        self.samples_per_shard = samples_per_shard

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        os.close(self._guard)

    def _lock_out_others(self) -> None:
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another download into {self.directory} is at work") from None

    def _open(self) -> None:
        with self._errors():
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False
            )
            run = self._connection.execute
            run("PRAGMA journal_mode = WAL")
            run("PRAGMA synchronous = NORMAL")  # whole after a power cut, less the last moments
            run(f"PRAGMA cache_size = -{CACHE_KIB}")
            run(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            version = run("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise ValueError(f"{self.path}: of another version of this tool ({version})")
            self._connection.executescript(SCHEMA)
            run(f"PRAGMA user_version = {VERSION}")

    def _check_kind(self, samples_per_shard: int) -> None:
        with self.change() as run:
            (found,) = run("SELECT max(samples_per_shard) FROM download").fetchone()
            if found is None:
                run("INSERT INTO download VALUES (0, 1, 0, ?, '')", (samples_per_shard,))
            elif found != samples_per_shard:
                kind = f"--shards --samples_per_shard {found}" if found else "no --shards"
                raise ValueError(f"{self.directory} was begun with {kind}; go on so")

    @contextmanager
    def change(self) -> Iterator[Any]:
        """A transaction: yields what runs SQL; all of it is done, or nothing after an error."""
        with self._lock, self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def define(self, name: str, function: Callable[[str], bytes]) -> None:
        """Let SQL call a function of a text."""
        self._connection.create_function(name, 1, function, deterministic=True)

    def ask(self, sql: str, values: tuple = ()) -> list[tuple]:
        """The rows that a query finds."""
        with self._lock, self._errors():
            return self._connection.execute(sql, values).fetchall()

    def stream(self, sql: str, values: tuple = ()) -> Iterator[tuple]:
        """The rows that a query finds, one by one; nothing may be changed meanwhile."""
        with self._lock, self._errors():
            yield from self._connection.execute(sql, values)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as those of any file."""
        try:
            yield
        except sqlite3.OperationalError as error:  # a full disk has several names here
            way_out = "see that the disk has room and can be written, then go on with --resume"
            raise OSError(f"{self.path}: {error}; {way_out}") from error
        except sqlite3.DatabaseError as error:
            way_out = "remove it, and photos that lie there as files are taken over"
            raise ValueError(f"{self.path}: no ledger, or damaged ({error}); {way_out}") from error

    def due(self, after: int, most: int) -> list[Job]:
        """The next photos to ask for, whose turn is after `after`."""
        found = self.ask(
            "SELECT turn, key, url, sha256, etag, modified FROM photos "
            "WHERE is_due AND turn > ? ORDER BY turn LIMIT ?",
            (after, most),
        )
        return [Job(*row) for row in found]

    def finish(
        self, job: Job, row: Row, etag: str = "", modified: str = "", jpg: bytes | None = None
    ) -> None:
        """Write down what became of a photo, and keep it until its shard is packed.

        Args:
            job: that is done.
            row: what became of it.
            etag: of the file, as the server named it.
            modified: date of the file, as the server gave it.
            jpg: the photo, where it goes into a shard.
        """
        values = (row.status, row.error, row.width, row.height, row.sha256, etag, modified)
        is_unpacked = jpg is not None or (job.is_there and not row.sha256)
        with self.change() as run:
            run(
                "UPDATE photos SET is_due = 0, status = ?, error = ?, width = ?, height = ?, "
                "sha256 = ?, etag = ?, modified = ?, is_unpacked = is_unpacked OR ? WHERE turn = ?",
                (*values, is_unpacked and bool(self.samples_per_shard), job.turn),
            )
            if jpg is not None:
                run("INSERT OR REPLACE INTO packing VALUES (?, ?)", (job.turn, jpg))

    def keep(self, job: Job, etag: str = "", modified: str = "") -> None:
        """Write down that a photo that is there has been asked for and stays."""
        with self.change() as run:
            run(
                "UPDATE photos SET is_due = 0, etag = iif(? = '', etag, ?), "
                "modified = iif(? = '', modified, ?) WHERE turn = ?",
                (etag, etag, modified, modified, job.turn),
            )

    def lose(self, turns: list[int]) -> None:
        """Photos that are not where they were: they are due again."""
        with self.change() as run:
            for turn in turns:
                run(
                    "UPDATE photos SET is_due = 1, sha256 = '', status = 0, is_unpacked = 0 "
                    "WHERE turn = ?",
                    (turn,),
                )
