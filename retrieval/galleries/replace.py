"""Write a directory whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from partitioning.atomic_file import flush


def restore(directory: Path) -> None:
    """Put back what a killed run had moved aside, where nothing has taken its place."""
    if not directory.exists():
        for lost in sorted(directory.parent.glob(f".{escape(directory.name)}.*.old"))[:1]:
            lost.rename(directory)


@contextmanager
def replaced_directory(directory: Path) -> Iterator[Path]:
    """Give an empty sibling to fill; on success it becomes `directory`, on failure it vanishes.

    Files are synced before the rename, so that a power cut leaves the old directory or the new one.
    What was at `directory` is kept beside it until the new one is in place, then removed; one that
    is killed between the two leaves it there for `restore`.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    new = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    old = directory.with_name(f".{directory.name}.{os.getpid()}.old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        for path in [*new.iterdir(), new]:
            flush(path)
        if directory.exists():
            directory.rename(old)
        try:
            new.rename(directory)
        except OSError:
            if old.exists():
                old.rename(directory)
            raise
        flush(directory.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
