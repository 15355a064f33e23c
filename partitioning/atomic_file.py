"""Files that are there whole or not at all: written beside their place, synced, then renamed."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield the path of a temporary file, which takes the place of `path` once the block is done.

    The temporary file lies in the same directory, because a rename is only atomic within one
    filesystem, and is gone if the block fails. Two that write one file at once have one each; what
    a killed process left is used again, but for the second one's. The directory is made where it is
    missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, descriptor = _claimed(path)
    try:
        try:
            yield temporary
            flush(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        flush(path.parent)
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile would keep the lock
        os.close(descriptor)


def _claimed(path: Path) -> tuple[Path, int]:
    """An empty temporary file beside `path`, and the descriptor that holds its lock."""
    temporary = path.with_name(f"{path.name}.tmp")
    while True:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another process or thread writes it
            os.close(descriptor)
            temporary = path.with_name(f"{secrets.token_hex(4)}.{path.name}.tmp")
            continue
        except OSError:  # a file system without locks
            pass
        if _is_at(temporary, descriptor):
            os.ftruncate(descriptor, 0)
            return temporary, descriptor
        os.close(descriptor)  # it was renamed or removed before the lock was ours


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def flush(path: Path) -> None:
    """Have a file's bytes, or a directory's names, on disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
