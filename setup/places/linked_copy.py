"""A changed copy of a set of photos: what stays the same is linked, what changes is written anew.

The source is never written to. provenance.json in the copy says where it comes from, what was done
to it and whether the work is finished; a copy of another source, or one that was begun otherwise,
is refused. copied.jsonl names the files that were made: those that the source has lost since go
from the copy too, so that photos which were withdrawn are not kept. Any other file in the copy, one
that was edited there too, is neither removed nor written over, and told.
"""

import json
import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from partitioning.atomic_file import atomic_path
from setup.places.made_files import COPIED, MadeFiles

PROVENANCE = "provenance.json"
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")


class PlacesCopy:
    """A copy of a folder of photos and of all else in it.

    Args:
        source: Folder; a set of places or any other.
        output: Folder of the copy.
        done: What is done to it: plain types, that a resumed run must have alike.
        own: Names of files in `output` that the work writes; the source's are not carried over.

    Attributes:
        photos: Paths of all photos below `source`, in order.
        taken: Those of them that the copy is to have: all, unless the work takes some out.
        gone: Names of files in the copy whose originals the source has lost since they were made.
        left_alone: Names of files in the copy that lie where others were to go, and stay.

    Raises:
        ValueError: there is no photo, one folder lies in the other, or `output` holds something
            else, a copy of another source or what was begun otherwise.
    """

    def __init__(
        self, source: Path, output: Path, done: dict[str, Any], own: tuple[str, ...] = ()
    ) -> None:
        self.source, self.output = source, output
        self._own = {source / name for name in (PROVENANCE, COPIED, *own)}
        self._done = json.loads(json.dumps(done))
        self.photos = photos_below(source)
        first, second = source.resolve(), output.resolve()
        if first.is_relative_to(second) or second.is_relative_to(first):
            raise ValueError(f"{output} and {source} lie in one another; give another --output")
        self._check()
        self.taken, self._made = self.photos, MadeFiles(output)
        lost = self._made.names - self._places([*self.photos, *self._tables()])
        self.gone = sorted(name for name in lost if self._made.owns(name))
        self.left_alone: set[str] = set()

    def begin(self) -> None:
        """Note what is done, remove what the copy had and is to have no more, and copy all tables.

        Raises:
            ValueError: `copied.jsonl` names a file outside of the copy.
        """
        self._write({"is_finished": False})
        tables = self._tables()
        for name in sorted(self._made.names - self._places([*self.taken, *tables])):
            self._made.remove(name)
        for path in tables:  # copied, not linked: tables may be written to
            if self.claim(path):
                self._copy(path)

    def place(self, path: Path) -> Path:
        """Where the copy of a file goes."""
        return self.output / path.relative_to(self.source)

    def name(self, path: Path) -> str:
        """A file's path below the source, as records have it."""
        return path.relative_to(self.source).as_posix()

    def claim(self, path: Path) -> bool:
        """Whether the copy of a file may be written; what another put there is left alone."""
        name = self._place_name(path)
        is_free = self._made.is_free(name)
        if not is_free:
            self.left_alone.add(name)
        return is_free

    def writing(self, path: Path) -> AbstractContextManager[Path]:
        """As `atomic_path`, for the copy of a file that was claimed."""
        return self._made.writing(self._place_name(path))

    def remove(self, path: Path) -> None:
        """Have a file in the copy no more, if it was made."""
        self._made.remove(self._place_name(path))

    def link(self, path: Path) -> bool:
        """Have a file in the copy too: linked, or copied where links cannot be.

        Returns:
            False where another file lies in its place, which stays.
        """
        place = self.place(path)
        if place.is_file() and place.samefile(path):
            self._made.note(self._place_name(path), path)
            return True
        if not self.claim(path):
            return False
        self._made.note(self._place_name(path), path)
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path.resolve(), place)
        except OSError:  # another disk, or one that knows no links
            self._copy(path)
        return True

    def _tables(self) -> list[Path]:
        """All that is no photo in the source."""
        return [
            path
            for path in sorted(self.source.rglob("*"))
            if path.is_file() and path.suffix.lower() not in EXTENSIONS and path not in self._own
        ]

    def _places(self, paths: list[Path]) -> set[str]:
        """Where copies of files go, as paths below the copy."""
        return {self._place_name(path) for path in paths}

    def _place_name(self, path: Path) -> str:
        return self.place(path).relative_to(self.output).as_posix()

    def _copy(self, path: Path) -> None:
        with self.writing(path) as temporary:
            shutil.copyfile(path, temporary)

    def finish(self, **counts: Any) -> None:
        """Note that the work is done, and what came of it."""
        left_alone = sorted(self.left_alone)
        state = {"is_finished": True, "removed": len(self.gone), "left_alone": left_alone}
        self._write({**state, **counts})

    def notes(self) -> str:
        """Of a finished copy, lines on what was removed and on photos that it did not make."""
        lines = []
        if self.gone:
            lines.append(f"{len(self.gone):,} files removed from it, gone from {self.source}")
        if alone := sorted(self.left_alone):
            lines.append(
                f"{len(alone):,} files that it did not make, or that were edited, stay where its "
                f"own would lie: {alone[0]}, ...; move them away to have those"
            )
        found = (path for path in self.output.rglob("*") if path.suffix.lower() in EXTENSIONS)
        names = (path.relative_to(self.output).as_posix() for path in found)
        known = self._made.owns
        if others := sorted(n for n in names if not known(n) and n not in self.left_alone):
            lines.append(f"{len(others):,} photos in it are none of this copy's: {others[0]}, ...")
        return "".join(f"\n  {line}" for line in lines)

    def _write(self, state: dict[str, Any]) -> None:
        before = self.source / PROVENANCE
        record = {"copy_of": str(self.source.resolve()), "done": self._done, **state}
        if before.is_file():
            record["source_provenance"] = json.loads(before.read_text())
        with atomic_path(self.output / PROVENANCE) as temporary:
            temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def _check(self) -> None:
        path = self.output / PROVENANCE
        if not path.is_file():
            if self.output.is_dir() and any(self.output.iterdir()):
                raise ValueError(f"{self.output} is not empty; give an empty folder for --output")
            return
        try:
            record = json.loads(path.read_text())
            before, source = dict(record["done"]), Path(record["copy_of"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} cannot be read ({error!r}); remove {self.output}") from None
        if source.resolve() != self.source.resolve():
            raise ValueError(
                f"{self.output} is a copy of {source}, not of {self.source}; give another --output "
                f"(or, if that folder was moved, mend copy_of in {path})"
            )
        if changed := [k for k in self._done if before.get(k) != self._done[k]]:
            shown = ", ".join(f"{k}: {before.get(k)}" for k in changed)
            raise ValueError(
                f"{self.output} was begun with {shown}; give the same to go on, or an empty folder"
            )


def photos_below(folder: Path) -> list[Path]:
    """All photos in a folder and the folders in it, in order.

    Raises:
        ValueError: there is no such folder, or no photo in it.
    """
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}")
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in EXTENSIONS and path.is_file()
    ]
    if not found:
        raise ValueError(f"no photo ({', '.join(EXTENSIONS)}) in {folder}")
    return found
