"""What a long work has found out of each photo, a line of JSON each: a stopped run goes on.

The first line says what the work depends on; a file that was begun with something else is refused.
A line that a kill cut short is dropped, and its photo asked again.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

Facts = dict[str, Any]


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
            self._file.close()

    def note(self, photo: str, **facts: Any) -> None:
        """Note what is known of a photo; plain types."""
        self.facts[photo] = facts
        self._write({"photo": photo, **facts})

    def _write(self, line: Facts) -> None:
        assert self._file is not None, "a journal is written to in a with block"
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
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
