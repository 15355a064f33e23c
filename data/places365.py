"""The 365 scenes of Places, in the order of its networks' outputs, and what sums them up.

Sixteen groups (shops, workplaces, ... mountains, ... industry) and three kinds: indoor, natural,
urban, the S16 and S3 of the field's tables. A scene in several groups or kinds counts for each in
equal parts, as in Mueller-Budack et al., 2018 (https://doi.org/10.1007/978-3-030-01258-8_35).

Names and numbers of scenes and groups are those of Places (Zhou et al., 2017,
https://github.com/CSAILVision/places365). Which scene is in which group (`places365.csv`) we have
judged ourselves; Places publishes its own judgement as a sheet, linked there as "scene hierarchy",
and `Hierarchy.load` reads that too, where labels have to be exactly the field's.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TABLE = Path(__file__).with_name("places365.csv")
NUM_PLACES = 365
KINDS = ("indoor", "natural", "urban")
GROUPS = (
    "shopping and dining",
    "workplace",
    "home or hotel",
    "indoor transportation",
    "indoor sports and leisure",
    "indoor culture",
    "water, ice, snow",
    "mountains, hills, desert, sky",
    "forest, field, jungle",
    "man-made elements in nature",
    "outdoor transportation",
    "cultural or historical place",
    "sports fields, parks, leisure",
    "industry and construction",
    "houses, cabins, gardens, farms",
    "commercial buildings, cities, towns",
)
GROUPS_OF_KIND = (slice(0, 6), slice(6, 10), slice(10, 16))

Scores = NDArray[np.floating]


class Scenes(NamedTuple):
    """Probabilities of photos.

    Attributes:
        s3: `(N, 3)`, of the kinds.
        s16: `(N, 16)`, of the groups.
    """

    s3: Scores
    s16: Scores


@dataclass(frozen=True)
class Hierarchy:
    """Which scene is in which groups.

    Attributes:
        names: of the 365 scenes, such as "balcony/exterior".
        groups: bool `(365, 16)`.
    """

    names: tuple[str, ...]
    groups: NDArray[np.bool_]

    @classmethod
    def load(cls, path: Path | None = None) -> "Hierarchy":
        """Read our own table, or the sheet that Places publishes, saved as CSV.

        Raises:
            ValueError: it is neither, or a scene is missing, unknown or in no group.
        """
        path = path or TABLE
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
        try:
            found = _of_own(rows) if rows[0] == ["number", "scene", "groups"] else _of_sheet(rows)
        except (IndexError, ValueError) as error:
            raise ValueError(f"{path}: not a table of the scenes of Places ({error})") from None
        names = place_names()
        if wrong := sorted(set(names).symmetric_difference(found)):
            raise ValueError(f"{path}: it lacks, or Places has no scene {', '.join(wrong[:5])}")
        groups = np.array([found[name] for name in names])
        if not groups.any(axis=1).all():
            raise ValueError(f"{path}: {names[int(groups.any(axis=1).argmin())]} is in no group")
        return cls(names, groups)

    def sum_up(self, probabilities: Scores) -> Scenes:
        """Probabilities `(N, 365)` of scenes to those of groups and kinds."""
        kinds = np.stack([self.groups[:, group].any(axis=1) for group in GROUPS_OF_KIND], axis=1)
        return Scenes(probabilities @ _shares(kinds), probabilities @ _shares(self.groups))


def place_names() -> tuple[str, ...]:
    """The 365 scenes by number."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(row["scene"] for row in csv.DictReader(file))


def plain_name(name: str) -> str:
    """A scene's name without what other lists add: `'/b/balcony/exterior'`, blanks, capitals."""
    name = name.strip().strip("'").lower().replace(" ", "_")
    return name[3:] if len(name) > 3 and name[0] == name[2] == "/" else name


def _shares(which: NDArray[np.bool_]) -> Scores:
    return which / which.sum(axis=1, keepdims=True)


def _of_own(rows: list[list[str]]) -> dict[str, list[bool]]:
    return {
        scene: [str(group) in groups.split() for group in range(len(GROUPS))]
        for _, scene, groups in rows[1:]
    }


def _of_sheet(rows: list[list[str]]) -> dict[str, list[bool]]:
    """Two rows of titles; then a scene, its three kinds and its sixteen groups as 0 or 1."""
    scenes = [row for row in rows if row[0].strip("' ").startswith("/")]
    first = 1 + len(KINDS)
    return {
        plain_name(row[0]): [bool(int(float(row[first + i]))) for i in range(len(GROUPS))]
        for row in scenes
    }
