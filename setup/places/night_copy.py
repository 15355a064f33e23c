"""A night copy of a set of photos: which photos turn night, and how their files are called then."""

import csv
from collections import defaultdict
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from data.place_sets.names import FIELDS, PlaceName
from data.places import QUERIES
from data.seg_maps.stored_maps import RECORD
from setup.places.files import TABLE
from setup.places.linked_copy import EXTENSIONS, PlacesCopy

NOTE = ("night", "synthetic")  # words of the note in a name
MASKS = "masks"  # name of folders that setup.panorama_tiles writes


class NightCopy(PlacesCopy):
    """A copy whose photos turn night, all of them or the queries; what is night already stays.

    Args:
        source, output, done, own: As `PlacesCopy`.
        queries_only: Leave all that lies in no folder of queries as it is.

    Attributes:
        turned: Photos that turn night.
        linked: The others.
        maps: Those of the others that are no photos, but maps of classes and masks.

    Raises:
        ValueError: no photo turns night, two would have one name, or as `PlacesCopy`.
    """

    def __init__(
        self,
        source: Path,
        output: Path,
        done: dict[str, Any],
        own: tuple[str, ...] = (),
        queries_only: bool = False,
    ) -> None:
        self.queries_only = queries_only
        self._map_folders = {path.parent for path in source.rglob(RECORD)}
        super().__init__(source, output, done, own)
        self.maps = [path for path in self.photos if self._is_map(path)]
        self.turned = [path for path in self.photos if self.is_turned(path)]
        self.linked = [path for path in self.photos if not self.is_turned(path)]
        if not self.turned:
            asked = f"in a folder called {' or '.join(QUERIES)} " if queries_only else ""
            raise ValueError(f"{source} has no photo by day {asked}that could be turned night")
        self._check_names()

    def is_turned(self, path: Path) -> bool:
        """Whether a photo of the source turns night."""
        folders = path.relative_to(self.source).parts[:-1]
        if self._is_map(path):
            return False
        if self.queries_only and not set(folders) & set(QUERIES):
            return False
        return "night" not in note_words(path.name)

    def place(self, path: Path) -> Path:
        """Where the copy of a file goes."""
        place = super().place(path)
        is_photo = path.suffix.lower() in EXTENSIONS and self.is_turned(path)
        return place.with_name(night_name(path.name)) if is_photo else place

    def writing_at(self, place: Path) -> AbstractContextManager[Path]:
        """As `writing`, by the place of a copy."""
        return self._made.writing(place.relative_to(self.output).as_posix())

    def finish(self, **counts: Any) -> None:
        """As of any copy; tables of photos have the new names, and "" of what has no copy."""
        files = {
            path: self.place(path) if self._has_copy(path, counts["unreadable"]) else None
            for path in self.turned
        }
        for table in sorted(self.source.rglob(TABLE)):
            if self.claim(table):
                self._rename_in(table, files)
        super().finish(**counts)

    def _rename_in(self, table: Path, files: dict[Path, Path | None]) -> None:
        """Write a table's copy; its files are paths below its own folder."""
        with table.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if "file" not in header:
            return
        column, folder = header.index("file"), self.place(table).parent
        for row in rows:
            if len(row) > column and (photo := table.parent / row[column]) in files:
                place = files[photo]
                row[column] = place.relative_to(folder).as_posix() if place else ""
        with (
            self.writing(table) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file, lineterminator="\n").writerows([header, *rows])

    def _has_copy(self, path: Path, unreadable: dict[str, str]) -> bool:
        return self.name(path) not in unreadable and self._place_name(path) not in self.left_alone

    def _is_map(self, path: Path) -> bool:
        folders = path.relative_to(self.source).parts[:-1]
        return MASKS in folders or not self._map_folders.isdisjoint(path.parents)

    def _check_names(self) -> None:
        sources = defaultdict(list)
        for path in self.photos:
            sources[self.place(path)].append(self.name(path))
        for names in sources.values():
            if len(names) > 1:
                raise ValueError(
                    f"{self.source}: {' and '.join(names)} would have one name by night; give one "
                    "of them another number of its tile or panorama"
                )


def note_words(name: str) -> list[str]:
    """Words of the note in a photo's name; none where the name is no place's."""
    try:
        note = PlaceName.parse(f"{_stem(name)}@.jpg").note
    except ValueError:
        return []
    return [word for word in note.split("_") if word]


def night_name(name: str) -> str:
    """A photo's name by night: its note says night_synthetic; names that are no place's stay."""
    stem = _stem(name)
    try:
        PlaceName.parse(f"{stem}@.jpg")
    except ValueError:
        return name
    # All other fields stay as they are written, to the last digit.
    fields = stem.split("@")[1:]
    fields += [""] * (len(FIELDS) - len(fields))
    words = [word for word in note_words(name) if word not in ("day", *NOTE)]
    fields[FIELDS.index("note")] = "_".join([*NOTE, *words])
    return f"@{'@'.join(fields)}@{Path(name).suffix}"


def _stem(name: str) -> str:
    """All fields of a name; the last need not be followed by an @."""
    stem, _, rest = name.rpartition("@")
    return stem if rest.startswith(".") else name.rpartition(".")[0]
