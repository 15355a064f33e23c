"""What is known of an area's photos: tables of their own in the ledger of the folder.

`street` has a row for each photo that the service listed, also for those that are refused, with
their `problem`; `seen` is the number of the round that listed it last. `searches` has the boxes
that are searched: due, done, or cut into smaller ones because they were full. A page and what
follows from it are written in one transaction, so that nothing is asked twice after a kill.
`crops` says of panoramas that show a part of the sphere where they lie in it, pixels of any scale.
`collection` holds what the folder was begun with. Any SQL tool can ask these tables (SQLite).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple
from typing import Any, NamedTuple

from data.sample import safe_key
from setup.downloading.ledger import Ledger
from setup.downloading.ledger_list import REMOVED
from setup.street.area import Box
from setup.street.photo import StreetPhoto

PAGE = 1000
SIZE_PX = 1024  # short side of a saved photo: the height of a panorama 2048 wide
GONE = "gone at the source"
DUE, DONE, CUT = "due", "done", "cut"
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS street (
    id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, lat REAL, lon REAL, heading REAL,
    captured_at TEXT NOT NULL, sequence TEXT NOT NULL, author TEXT NOT NULL,
    licence TEXT NOT NULL, is_panorama INTEGER NOT NULL, hfov_deg REAL, page TEXT NOT NULL,
    url TEXT NOT NULL, problem TEXT NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS searches (
    number INTEGER PRIMARY KEY, west REAL NOT NULL, south REAL NOT NULL, east REAL NOT NULL,
    north REAL NOT NULL, state TEXT NOT NULL DEFAULT 'due', next_url TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '', UNIQUE (west, south, east, north))""",
    """CREATE TABLE IF NOT EXISTS crops (
    id TEXT PRIMARY KEY, full_width REAL NOT NULL, full_height REAL NOT NULL,
    crop_left REAL NOT NULL, crop_top REAL NOT NULL, crop_width REAL NOT NULL,
    crop_height REAL NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS collection (
    source TEXT NOT NULL, server TEXT NOT NULL, size INTEGER NOT NULL, is_large INTEGER NOT NULL,
    any_licence INTEGER NOT NULL, round INTEGER NOT NULL, is_refresh INTEGER NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS places ON street (lat, lon)",
)
_ADD_PHOTO = """
INSERT INTO street (id, lat, lon, heading, captured_at, sequence, author, licence, is_panorama,
    hfov_deg, page, url, problem, key, seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET lat = excluded.lat, lon = excluded.lon, heading = excluded.heading,
    captured_at = excluded.captured_at, sequence = excluded.sequence, author = excluded.author,
    licence = excluded.licence, is_panorama = excluded.is_panorama, hfov_deg = excluded.hfov_deg,
    page = excluded.page, url = excluded.url, problem = excluded.problem, seen = excluded.seen
"""


class Kind(NamedTuple):
    """What all runs into one folder have in common.

    Attributes:
        source: the service's name.
        server: where its interface is.
        size: short side of a saved photo, px.
        is_large: whether the largest pictures are asked for.
        any_licence: whether photos are kept whatever their licence.
    """

    source: str
    server: str
    size: int = SIZE_PX
    is_large: bool = False
    any_licence: bool = False


class Search(NamedTuple):
    """A box to search.

    Attributes:
        number: of its row.
        box: to search.
        next_url: of the page to go on with; "" for the first.
    """

    number: int
    box: Box
    next_url: str = ""


class Collection:
    """The tables of one folder.

    Args:
        ledger: of the folder.
        given: fields of the `Kind`; where one is not given, the folder's, else the default.

    Attributes:
        kind: of the folder.

    Raises:
        ValueError: the folder was begun otherwise, or not at all.
    """

    def __init__(self, ledger: Ledger, given: Mapping[str, Any]) -> None:
        self.ledger = ledger
        with ledger.change() as run:
            for statement in _SCHEMA:
                run(statement)
            known = run("SELECT source, server, size, is_large, any_licence FROM collection")
            self.kind = _kind(known.fetchone(), given, str(ledger.directory))
            run(
                "INSERT INTO collection SELECT ?, ?, ?, ?, ?, 1, 0 "
                "WHERE NOT EXISTS (SELECT 1 FROM collection)",
                self.kind,
            )

    @property
    def round(self) -> int:
        """Of listing; a refresh begins another."""
        return self.ledger.ask("SELECT round FROM collection")[0][0]

    def begin(self, boxes: Iterable[Box], is_refresh: bool) -> bool:
        """Begin or go on.

        Args:
            boxes: to search; those that were searched already are not searched again.
            is_refresh: search all again, unless that was begun and stopped.

        Returns:
            Whether this is a refresh, also because one was stopped.
        """
        with self.ledger.change() as run:
            for box in boxes:
                run(
                    "INSERT OR IGNORE INTO searches (west, south, east, north) VALUES (?, ?, ?, ?)",
                    box,
                )
            ((was_refresh,),) = run("SELECT is_refresh FROM collection").fetchall()
            if is_refresh and not was_refresh:
                run("UPDATE collection SET round = round + 1, is_refresh = 1")
                run(f"UPDATE searches SET state = '{DUE}', next_url = '' WHERE state != '{CUT}'")
        return bool(is_refresh or was_refresh)

    def end_refresh(self) -> None:
        """Write down that a refresh went to its end."""
        with self.ledger.change() as run:
            run("UPDATE collection SET is_refresh = 0")

    def due(self) -> list[Search]:
        """What is still to be searched."""
        found = self.ledger.ask(
            "SELECT number, west, south, east, north, next_url FROM searches "
            f"WHERE state = '{DUE}' ORDER BY number"
        )
        return [Search(row[0], row[1:5], row[5]) for row in found]

    def keep(
        self,
        search: Search,
        photos: Iterable[StreetPhoto],
        next_url: str = "",
        cut: Iterable[Box] = (),
    ) -> list[Search]:
        """Write a page down, and what is to be searched after it.

        Args:
            search: that gave the page.
            photos: of the page.
            next_url: of the next page.
            cut: smaller boxes to search instead, where there may be more without a next page.

        Returns:
            What is to be searched after it.
        """
        state = DUE if next_url else CUT if cut else DONE
        with self.ledger.change() as run:
            ((number,),) = run("SELECT round FROM collection").fetchall()
            for photo in photos:
                _add(run, photo, number)
            run(
                "UPDATE searches SET state = ?, next_url = ?, error = '' WHERE number = ?",
                (state, next_url, search.number),
            )
            new = [
                run(
                    "INSERT INTO searches (west, south, east, north) VALUES (?, ?, ?, ?) ON "
                    "CONFLICT (west, south, east, north) DO UPDATE SET state = 'due' "
                    "RETURNING number",
                    box,
                ).fetchone()[0]
                for box in cut
            ]
        if next_url:
            return [search._replace(next_url=next_url)]
        return [Search(number, box) for number, box in zip(new, cut, strict=True)]

    def fail(self, search: Search, cause: str) -> None:
        """Write down that a box could not be searched; it stays due."""
        with self.ledger.change() as run:
            run("UPDATE searches SET error = ? WHERE number = ?", (cause, search.number))

    def restart(self, search: Search) -> Search:
        """Begin a box again at its first page."""
        with self.ledger.change() as run:
            run("UPDATE searches SET next_url = '' WHERE number = ?", (search.number,))
        return search._replace(next_url="")

    def lose(self, photo_id: str, problem: str) -> None:
        """Write down that a listed photo is none any more."""
        with self.ledger.change() as run:
            run("UPDATE street SET problem = ? WHERE id = ?", (problem, photo_id))

    def add(self, photo: StreetPhoto) -> None:
        """Write down what the service says of one photo."""
        with self.ledger.change() as run:
            ((number,),) = run("SELECT round FROM collection").fetchall()
            _add(run, photo, number)

    def unlisted(self) -> list[str]:
        """Ids of photos that no search of this round gave."""
        found = self.ledger.ask(
            "SELECT id FROM street, collection WHERE problem = '' AND seen < round"
        )
        return [photo_id for (photo_id,) in found]

    def wanted(self) -> Iterator[tuple[str, str]]:
        """Id and URL of each usable photo, in the order of the ids."""
        after = ""
        while found := self.ledger.ask(
            "SELECT id, url FROM street WHERE problem = '' AND id > ? ORDER BY id LIMIT ?",
            (after, PAGE),
        ):
            yield from found
            after = found[-1][0]

    def renew(self) -> None:
        """Give the photos the URLs that were listed last, and those that came back their turn."""
        with self.ledger.change() as run:
            run(
                "UPDATE photos SET url = street.url, is_due = is_due OR error = ? "
                "FROM street WHERE street.key = photos.key AND street.problem = ''",
                (f"{REMOVED}: {GONE}",),
            )

    def count(self) -> int:
        """How many photos are usable."""
        return self.ledger.ask("SELECT count(*) FROM street WHERE problem = ''")[0][0]

    def failures(self) -> dict[str, int]:
        """How many boxes could not be searched, or not to their end, by cause."""
        return dict(
            self.ledger.ask("SELECT error, count(*) FROM searches WHERE error != '' GROUP BY error")
        )


def _add(run: Callable[..., Any], photo: StreetPhoto, number: int) -> None:
    """Write a photo down, in a transaction, as listed in a round."""
    *told, crop = photo
    run(_ADD_PHOTO, (*told, safe_key(photo.id), number))
    run("DELETE FROM crops WHERE id = ?", (photo.id,))
    if crop:
        run("INSERT INTO crops VALUES (?, ?, ?, ?, ?, ?, ?)", (photo.id, *astuple(crop)))


def _kind(known: tuple | None, given: Mapping[str, Any], folder: str) -> Kind:
    """What a folder is begun or gone on with; raises ValueError where those differ."""
    if known is None and "source" not in given:
        raise ValueError(f"{folder} holds no collection yet; give --source and --area")
    if known is None:
        return Kind(**given)
    kind = Kind(*known[:3], *map(bool, known[3:]))
    for name, value in given.items():
        if value != (begun := getattr(kind, name)):
            raise ValueError(f"{folder} was begun with {name} {begun}, not {value}; go on so")
    return kind
