"""A folder of fetched shards that stays below a size, shared by any number of processes.

A shard is fetched once, however many want it at the same moment: whoever comes second waits for
the first. The shards used longest ago make room for new ones; a process that still reads one keeps
it, for a removed file lives on until its last reader closes it.

Locks are `flock`s: they end with the process that holds them, however it ends.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

WAIT_S = 0.1  # between looks whether others have finished and left room


class ShardCache:
    """A folder for shards.

    Args:
        directory: The folder; made when the first shard comes.
        limit_bytes: What the shards in it, with those on their way, may take together.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        self.directory, self.limit_bytes = directory, limit_bytes

    def holds(self, name: str) -> bool:
        """Whether a shard is here now."""
        return (self.directory / name).exists()

    def open(self, name: str, size: int, fetch: Callable[[Path], None]) -> BinaryIO:
        """Open a shard, fetching it first where it is not here.

        Args:
            name: Of the file; one name must always mean the same bytes.
            size: Of the shard, bytes.
            fetch: Writes the shard to the path given.

        Raises:
            ValueError: it is larger than all that the cache may hold.
        """
        if size > self.limit_bytes:
            raise ValueError(
                f"a shard of {size:,} bytes is more than the {self.limit_bytes:,} that the cache "
                f"{self.directory} may hold: give it more by cache_bytes"
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        while (file := self._opened(name)) is None:
            with locked(self.directory / f"{name}.lock"):
                if not self.holds(name):  # another process may have fetched it meanwhile
                    self._fetch(name, size, fetch)
        return file

    def _opened(self, name: str) -> BinaryIO | None:
        path = self.directory / name
        try:
            os.utime(path)  # the time of its last use, by which the oldest are found
            return path.open("rb")
        except FileNotFoundError:
            return None

    def _fetch(self, name: str, size: int, fetch: Callable[[Path], None]) -> None:
        # Its size is in its name: the room it will take counts from its first byte on.
        part = self.directory / f"{name}.{size}.part"
        part.unlink(missing_ok=True)  # of a process that was killed: the lock is ours
        while not self._reserve(part, size):
            time.sleep(WAIT_S)
        try:
            fetch(part)
            part.replace(self.directory / name)
        finally:
            part.unlink(missing_ok=True)

    def _reserve(self, part: Path, size: int) -> bool:
        """Remove what was used longest ago until there is room; False where others hold it all."""
        with locked(self.directory / "room.lock"):
            room = self.limit_bytes - size - self._coming()
            if room < 0:
                return False
            for _, taken, path in sorted(self._shards(), reverse=True):
                room -= taken
                if room < 0:
                    path.unlink(missing_ok=True)
            part.touch()
            return True

    def _shards(self) -> Iterator[tuple[float, int, Path]]:
        """Time of last use, size and path of each shard."""
        for path in self.directory.glob("*.tar"):
            with suppress(FileNotFoundError):
                facts = path.stat()
                yield facts.st_mtime_ns, facts.st_size, path

    def _coming(self) -> int:
        """Bytes of the shards on their way; what a dead process left of one is removed."""
        total = 0
        for part in self.directory.glob("*.part"):
            name, size, _ = part.name.rsplit(".", 2)
            if _is_locked(self.directory / f"{name}.lock"):
                total += int(size)
            else:
                part.unlink(missing_ok=True)
        return total


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock, alone among all threads and processes."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # By name: a process forked meanwhile has the file open too, and would keep the lock.
            fcntl.flock(file, fcntl.LOCK_UN)


def _is_locked(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(file, fcntl.LOCK_UN)
        return False
