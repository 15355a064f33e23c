"""A changed copy of a set of photos: what stays the same is linked, what changes is written anew.

The source is never written to. provenance.json in the copy says where it comes from, what was done
to it and whether the work is finished; a copy that was begun otherwise is refused.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from partitioning.atomic_file import atomic_path

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

    Raises:
        ValueError: there is no photo, one folder lies in the other, or `output` holds something
            else or what was begun otherwise.
    """

    def __init__(
        self, source: Path, output: Path, done: dict[str, Any], own: tuple[str, ...] = ()
    ) -> None:
        self.source, self.output = source, output
        self._own = {source / name for name in (PROVENANCE, *own)}
        self._done = json.loads(json.dumps(done))
        self.photos = photos_below(source)
        first, second = source.resolve(), output.resolve()
        if first.is_relative_to(second) or second.is_relative_to(first):
            raise ValueError(f"{output} and {source} lie in one another; give another --output")
        self._check()

    def begin(self) -> None:
        """Note what is done, and copy all that is no photo: tables may be written to."""
        self._write({"is_finished": False})
        for path in sorted(self.source.rglob("*")):
            if path.is_file() and path.suffix.lower() not in EXTENSIONS and path not in self._own:
                self._copy(path)

    def place(self, path: Path) -> Path:
        """Where the copy of a file goes."""
        return self.output / path.relative_to(self.source)

    def name(self, path: Path) -> str:
        """A file's path below the source, as records have it."""
        return path.relative_to(self.source).as_posix()

    def link(self, path: Path) -> None:
        """Have a file in the copy too: linked, or copied where links cannot be."""
        place = self.place(path)
        if place.is_file():
            if place.samefile(path):
                return
            place.unlink()
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path.resolve(), place)
        except OSError:  # another disk, or one that knows no links
            self._copy(path)

    def _copy(self, path: Path) -> None:
        with atomic_path(self.place(path)) as temporary:
            shutil.copyfile(path, temporary)

    def finish(self, **counts: Any) -> None:
        """Note that the work is done, and what came of it."""
        self._write({"is_finished": True, **counts})

    def _write(self, state: dict[str, Any]) -> None:
        before = self.source / PROVENANCE
        record = {"copy_of": str(self.source), "done": self._done, **state}
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
            before = json.loads(path.read_text())["done"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} cannot be read ({error!r}); remove {self.output}") from None
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
