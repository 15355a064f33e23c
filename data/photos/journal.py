"""What a long work has found out of each photo, a line of JSON each: a stopped run goes on.

The first line says what the work depends on; a file that was begun with something else is refused.
A line that a kill cut short is dropped, and its photo asked again. Facts that are noted with a
photo's stamp hold for the file as it was then: a photo that has changed since is known no more.
"""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

Facts = dict[str, Any]


def stamp_of(path: Path) -> list[int]:
    """Size (bytes) and time of change (ns) of a file, by which a changed one shows; [] of none."""
    try:
        state = path.stat()
    except OSError:
        return []
    return [state.st_size, state.st_mtime_ns]


def remove_made(folder: Path, name: str) -> bool:
    """Remove a file that a record of a folder says was made in it.

    Args:
        folder: Of the record.
        name: Path below it. A record may be a stranger's: nothing outside the folder is removed.

    Returns:
        Whether it was there.

    Raises:
        ValueError: it lies outside.
    """
    place = folder / name
    if not place.parent.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the record of what was made in {folder} names {name}, outside of it")
    is_there = place.is_file() or place.is_symlink()
    if is_there:
        place.unlink()
    return is_there


class PhotoJournal:
    """Facts of photos, by name; a context manager that keeps the file open.

    Args:
        path: Of the file, made where it is missing.
        header: What the facts depend on; plain types.

    Attributes:
        facts: Name of a photo -> what was noted last.

    Raises:
        ValueError: the file was begun with another header, or is none of ours.
    """

    def __init__(self, path: Path, header: Facts) -> None:
        self.path, self.facts = path, dict[str, Facts]()
        self._header = json.loads(json.dumps(header))
        self._file: TextIO | None = None
        self._end = 0
        if path.is_file():
            self._read(path.read_bytes())

    def __enter__(self) -> "PhotoJournal":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a", encoding="utf-8")
        self._file.truncate(self._end)
        if not self._end:
            self._write({"header": self._header})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._end = self._file.seek(0, os.SEEK_END)  # it may be opened again
            self._file.close()

    def current(self, photo: str, stamp: list[int]) -> Facts:
        """What was noted with `stamp=stamp_of(path)`; {} where that was another stamp, or none."""
        facts = self.facts.get(photo, {})
        return facts if facts.get("stamp") == stamp else {}

    def note(self, photo: str, **facts: Any) -> None:
        """Note what is known of a photo; plain types, take the stamp before you read the photo."""
        self.facts[photo] = facts
        self._write({"photo": photo, **facts})

    def forget(self, photo: str) -> None:
        """Note that nothing is known of a photo any more."""
        del self.facts[photo]
        self._write({"photo": photo})

    def _write(self, line: Facts) -> None:
        assert self._file is not None, "a journal is written to in a with block"
        # ASCII: a file's name need not be UTF-8, and what stands for its bytes cannot be encoded.
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _read(self, data: bytes) -> None:
        for number, line in enumerate(data.splitlines(keepends=True)):
            if not line.endswith(b"\n"):
                return  # cut short by a kill
            try:
                entry = json.loads(line)
                if number:
                    photo = str(entry.pop("photo"))
                    self.facts[photo] = entry
                    if not entry:
                        del self.facts[photo]
                else:
                    self._check(entry["header"])
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                if isinstance(error, _OtherHeaderError):
                    raise
                raise ValueError(
                    f"{self.path}, line {number + 1}: cannot be read ({error!r}); remove the file "
                    "to begin anew"
                ) from None
            self._end += len(line)

    def _check(self, before: Facts) -> None:
        now = self._header
        if changed := sorted(k for k in now | before if now.get(k) != before.get(k)):
            shown = ", ".join(f"{k}: {before.get(k)}, now {now.get(k)}" for k in changed)
            raise _OtherHeaderError(
                f"{self.path} was begun otherwise ({shown}); give the same as then to go on, or "
                "another folder to begin anew"
            )


class _OtherHeaderError(ValueError):
    """The file was begun with something else."""
