"""What a collection says of itself: what there is, what was refused and why, what became of it."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from setup.downloading.ledger import Ledger
from setup.downloading.progress import counted
from setup.street.collection import Collection
from setup.street.tables import ATTRIBUTION, CREDITS, PHOTOS

REPORT = "report.csv"


class Listed(NamedTuple):
    """What the service has in the area.

    Attributes:
        photos: usable ones.
        panoramas: of them.
        authors, sequences: how many different ones.
        years: photos of each year, "" where it is unknown.
        licences: photos under each.
        refused: photos that are not usable, by cause.
        failed: boxes that could not be searched, by cause.
    """

    photos: int
    panoramas: int
    authors: int
    sequences: int
    years: Counter[str]
    licences: Counter[str]
    refused: Counter[str]
    failed: Counter[str]

    def text(self) -> str:
        """In a few lines."""
        years = ", ".join(f"{year or 'unknown'} {n:,}" for year, n in sorted(self.years.items()))
        lines = [
            f"{self.photos:,} photos, {self.panoramas:,} of them panoramas; {self.sequences:,} "
            f"sequences of {self.authors:,} authors"
        ]
        lines += [f"years: {years}", f"licences: {counted(self.licences)}"] if self.photos else []
        lines += [f"refused: {counted(self.refused)}"] if self.refused else []
        lines += [f"boxes not searched to their end: {counted(self.failed)}"] if self.failed else []
        return "\n".join(lines)


class Collected(NamedTuple):
    """What came of a collection.

    Attributes:
        listed: what the service has.
        photos: how many are there.
        kept: how many of them were there before.
        removed: how many went in this run, because they are gone at the source or not open.
        unchecked: how many a refresh could not tell of; they are kept.
        lost: how many were not where the ledger had them; they were asked for again.
        failures: pictures that could not be had, by cause.
        is_whole: whether every box was searched and every picture asked for.
    """

    listed: Listed
    photos: int = 0
    kept: int = 0
    removed: int = 0
    unchecked: int = 0
    lost: int = 0
    failures: Counter[str] = Counter()  # noqa: RUF012  never changed
    is_whole: bool = True

    def text(self, out: Path) -> str:
        """In a few lines."""
        before = f" ({self.kept:,} of them were there before)" if self.kept else ""
        lines = [self.listed.text(), f"{self.photos:,} photos are in {out}{before}"]
        notes = {
            f"not had: {counted(self.failures)}; each one in {REPORT}": bool(self.failures),
            f"{self.removed:,} removed: gone at the source, or not open any more": self.removed,
            f"{self.unchecked:,} kept, though nobody could tell whether they are still there": (
                self.unchecked
            ),
            f"{self.lost:,} had gone from the folder and were asked for again": self.lost,
            f"for the next step: {PHOTOS}; whom to credit: {CREDITS}, {ATTRIBUTION}": self.photos,
        }
        return "\n".join([*lines, *(note for note, is_told in notes.items() if is_told)])


def listed(collection: Collection) -> Listed:
    """Count what is listed."""
    ledger = collection.ledger
    ((photos, panoramas, authors, sequences),) = ledger.ask(
        "SELECT count(*), ifnull(sum(is_panorama), 0), count(DISTINCT author), "
        "count(DISTINCT sequence) FROM street WHERE problem = ''"
    )
    return Listed(
        photos,
        panoramas,
        authors,
        sequences,
        _counts(ledger, "substr(captured_at, 1, 4)", "problem = ''"),
        _counts(ledger, "licence", "problem = ''"),
        _counts(ledger, "problem", "problem != ''"),
        Counter(collection.failures()),
    )


def _counts(ledger: Ledger, column: str, condition: str) -> Counter[str]:
    sql = f"SELECT {column}, count(*) FROM street WHERE {condition} GROUP BY 1"
    return Counter({str(value or ""): count for value, count in ledger.ask(sql)})
