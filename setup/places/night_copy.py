"""A night copy of a set of photos: which photos turn night, and how their files are called then."""

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

from data.place_sets.names import FIELDS, PlaceName
from data.places import QUERIES
from partitioning.atomic_file import atomic_path
from setup.places.files import TABLE
from setup.places.linked_copy import EXTENSIONS, PlacesCopy

NOTE = ("night", "synthetic")  # words of the note in a name


class NightCopy(PlacesCopy):
    """A copy whose photos turn night, all of them or the queries; what is night already stays.

    Args:
        source, output, done, own: As `PlacesCopy`.
        queries_only: Leave all that lies in no folder of queries as it is.

    Attributes:
        turned: Photos that turn night.
        linked: The others.

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
        super().__init__(source, output, done, own)
        self.turned = [path for path in self.photos if self.is_turned(path)]
        self.linked = [path for path in self.photos if not self.is_turned(path)]
        if not self.turned:
            asked = f"in a folder called {' or '.join(QUERIES)} " if queries_only else ""
            raise ValueError(f"{source} has no photo by day {asked}that could be turned night")
        self._check_names()

    def is_turned(self, path: Path) -> bool:
        """Whether a photo of the source turns night."""
        folders = path.relative_to(self.source).parts[:-1]
        if self.queries_only and not set(folders) & set(QUERIES):
            return False
        return "night" not in note_words(path.name)

    def place(self, path: Path) -> Path:
        """Where the copy of a file goes."""
        place = super().place(path)
        is_photo = path.suffix.lower() in EXTENSIONS and self.is_turned(path)
        return place.with_name(night_name(path.name)) if is_photo else place

    def begin(self) -> None:
        """As of any copy; files in the table of photos have their new names."""
        super().begin()
        path = self.output / TABLE
        if not path.is_file():
            return
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if not rows or "file" not in rows[0]:
            return
        names = {self.name(one): self.place(one).relative_to(self.output) for one in self.turned}
        with (
            atomic_path(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            table.writeheader()
            for row in rows:
                table.writerow(row | {"file": str(names.get(row["file"], row["file"]))})

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
        return [word for word in PlaceName.parse(name).note.split("_") if word]
    except ValueError:
        return []


def night_name(name: str) -> str:
    """A photo's name by night: its note says night_synthetic; names that are no place's stay."""
    try:
        PlaceName.parse(name)
    except ValueError:
        return name
    # All other fields stay as they are written, to the last digit.
    stem = name.rpartition("@")[0] if name.count("@") > 2 else name.rpartition(".")[0]
    fields = stem.split("@")[1:]
    fields += [""] * (len(FIELDS) - len(fields))
    words = [word for word in note_words(name) if word not in ("day", *NOTE)]
    fields[FIELDS.index("note")] = "_".join([*NOTE, *words])
    return f"@{'@'.join(fields)}@{Path(name).suffix}"
