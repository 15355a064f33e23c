"""Write a directory whole or not at all."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from partitioning.atomic_file import flush


def restore(directory: Path) -> None:
    """Put back the gallery that a killed run had moved aside, where nothing has taken its place."""
    whole = [path for path in _moved_aside(directory) if (path / "gallery.json").is_file()]
    if whole and not directory.exists():
        max(whole, key=lambda path: path.stat().st_mtime_ns).rename(directory)


def _moved_aside(directory: Path) -> list[Path]:
    """What runs have moved aside from here and not removed yet, whole or not."""
    name = re.compile(rf"\.{re.escape(directory.name)}\.\d+\.old")
    found = directory.parent.iterdir() if directory.parent.is_dir() else ()
    return [path for path in found if name.fullmatch(path.name)]


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
    for path in _moved_aside(directory):
        (path / "gallery.json").unlink(missing_ok=True)  # half removed, it is none to put back
        shutil.rmtree(path, ignore_errors=True)
