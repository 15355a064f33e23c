"""Which files in a folder a work made, so that it replaces and removes these and no others.

A line of copied.jsonl each: a file's path and its stamp, noted just before it takes its place, so
that a killed run knows what it made. What has another stamp now was edited, or is another's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from data.photos.journal import PhotoJournal, remove_made, stamp_of
from partitioning.atomic_file import atomic_path

COPIED = "copied.jsonl"
HEADER = {"files made in": "this folder"}


class MadeFiles:
    """The record of a folder; threads may share it.

    Args:
        folder: Of the files; their names are paths below it.

    Raises:
        ValueError: the record cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journal, self._lock = PhotoJournal(folder / COPIED, HEADER), Lock()

    @property
    def names(self) -> set[str]:
        """All on record, those that are there no more too."""
        return set(self._journal.facts)

    def owns(self, name: str) -> bool:
        """Whether what lies there was made, and has not been changed since."""
        stamps = self._journal.facts.get(name, {}).get("stamps", [])
        return stamp_of(self.folder / name) in [stamp for stamp in stamps if stamp]

    def is_free(self, name: str) -> bool:
        """Whether a file may be written there: there is none, or it was made."""
        place = self.folder / name
        return self.owns(name) or not (place.exists() or place.is_symlink())

    def note(self, name: str, file: Path) -> None:
        """Note that `file` is about to take its place; what was made before is known until then."""
        stamps = [stamp_of(file)]
        if self.owns(name) and (old := stamp_of(self.folder / name)) not in stamps:
            stamps.append(old)
        if self._journal.facts.get(name) != {"stamps": stamps}:
            with self._lock, self._journal:
                self._journal.note(name, stamps=stamps)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """As `atomic_path`, noted."""
        with atomic_path(self.folder / name) as temporary:
            yield temporary
            self.note(name, temporary)

    def remove(self, name: str) -> None:
        """Remove what was made; what is there and was not stays, and is on no record any more.

        Raises:
            ValueError: the record names a file outside of the folder.
        """
        if self.owns(name):
            remove_made(self.folder, name)
        if name in self._journal.facts:
            with self._lock, self._journal:
                self._journal.forget(name)
