"""How a list gets into the ledger, row by row, and what of it must then be asked for.

A download that was stopped goes on: what finished, well or not, is not asked again. One that went
to its end begins another round: what failed is due again, but not what is gone or opted out.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable

from data.sample import key_problem, safe_key
from setup.downloading.fetch import OPTED_OUT
from setup.downloading.ledger import Ledger
from setup.downloading.report import GONE, Row
from setup.downloading.url_list import is_web_url, with_size

BATCH = 200_000  # rows in one transaction; each touches most pages of the index of keys
REMOVED, LEFT_ALONE = "removed", "host left alone"
_IS_FINAL = f"(status IN {GONE} OR error LIKE '{OPTED_OUT}%' OR error LIKE '{REMOVED}%')"
_ADD_PHOTO = """
INSERT INTO photos (key, url, list, place) VALUES (?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET list = excluded.list, place = excluded.place,
    is_due = is_due OR (sha256 = '' AND url != excluded.url),
    url = iif(sha256 = '', excluded.url, url)
WHERE list < excluded.list
"""
_ADD_METADATA = """
INSERT INTO metadata (key, list, json, problem) VALUES (?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET list = excluded.list, json = excluded.json,
    problem = excluded.problem, is_changed = is_changed OR json != excluded.json
WHERE list < excluded.list OR problem != ''
"""


def begin(ledger: Ledger, is_refresh: bool = False, is_same_list: bool = False) -> int:
    """Begin or go on.

    Args:
        ledger: of the folder.
        is_refresh: ask for the photos that are there as well, unless that was begun and stopped.
        is_same_list: go on with the list that the ledger has.

    Returns:
        The number of the list, which is to be added where it is another one.
    """
    with ledger.change() as run:
        ((number, is_finished, was_refresh),) = run(
            "SELECT list, is_finished, is_refresh FROM download"
        ).fetchall()
        if is_finished:
            run(f"UPDATE photos SET is_due = 1 WHERE sha256 = '' AND NOT {_IS_FINAL}")
            run("UPDATE photos SET is_due = 0 WHERE sha256 = '' AND list < ?", (number,))
        if is_refresh and (is_finished or not was_refresh):
            run("UPDATE photos SET is_due = 1 WHERE sha256 != ''")
        goes_on = is_refresh or (was_refresh and not is_finished)
        run("UPDATE download SET is_finished = 0, is_refresh = ?", (goes_on,))
        if not is_same_list:
            number += 1
            run("UPDATE download SET list = ?, source = ''", (number,))
    return number


def add_metadata(ledger: Ledger, number: int, rows: Iterable[tuple[str, str, str]]) -> None:
    """Add what shards are to say of photos; the first usable row of an id counts.

    Args:
        ledger: of the folder.
        number: of the list.
        rows: (id, JSON, problem), one of the last two empty.
    """
    _in_batches(
        ledger,
        ((safe_key(image_id), number, *facts) for image_id, *facts in rows),
        lambda run, row: run(_ADD_METADATA, row),
    )
    with ledger.change() as run:
        run(
            "UPDATE photos SET is_unpacked = 1 WHERE sha256 != '' "
            "AND key IN (SELECT key FROM metadata WHERE is_changed)"
        )
        run("UPDATE metadata SET is_changed = 0 WHERE is_changed")


def add_list(
    ledger: Ledger,
    number: int,
    rows: Iterable[tuple[str, str]],
    size_suffix: str = "",
    shuffle: bool = False,
    source: str = "",
) -> None:
    """Add the rows of a list, and give those that are new their turns.

    Args:
        ledger: of the folder.
        number: of the list.
        rows: (id, url).
        size_suffix: as `setup.downloading.url_list.with_size`'s letter.
        shuffle: turns in the order of a hash of the key, else in that of the list.
        source: what tells this list from others; `source_of` gives it.
    """
    needs_position = bool(ledger.samples_per_shard)

    def add(run: Callable, row: tuple[int, tuple[str, str]]) -> None:
        place, (image_id, listed_url) = row
        key, url = safe_key(image_id), with_size(listed_url, size_suffix)
        problem = _row_problem(key, url)
        if not problem and needs_position:
            problem = _position_problem(run, key)
        if not problem and run(_ADD_PHOTO, (key, url, number, place)).rowcount == 0:
            problem = "duplicate id"
        if problem:
            run("INSERT INTO refused VALUES (?, ?, ?, ?, ?)", (number, place, key, url, problem))

    _in_batches(ledger, enumerate(rows), add)
    with ledger.change() as run:
        run("DELETE FROM refused WHERE list < ?", (number,))
        # Of an earlier list: what was never asked is forgotten, what failed is not asked again.
        run("DELETE FROM photos WHERE list < ? AND sha256 = '' AND error = ''", (number,))
        run("UPDATE photos SET is_due = 0 WHERE is_due AND list < ? AND sha256 = ''", (number,))
        _give_turns(ledger, run, shuffle)
        run("UPDATE download SET source = ?", (source or "unnamed",))


def source_of(ledger: Ledger) -> str:
    """What the ledger's list was called; "" where it was not read to its end."""
    return ledger.ask("SELECT source FROM download")[0][0]


def adopt(ledger: Ledger, rows: Iterable[Row]) -> None:
    """Take over the rows of a report whose ledger is lost, as those of an earlier list."""
    usable = (row for row in rows if row.status or row.sha256)

    def add(run: Callable, row: Row) -> None:
        run(
            "INSERT INTO photos (key, url, list, place, is_due, status, error, width, height, "
            "sha256) VALUES (?, ?, 0, 0, 0, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            row,
        )

    _in_batches(ledger, usable, add)
    with ledger.change() as run:
        _give_turns(ledger, run, shuffle=False)


def end(ledger: Ledger) -> None:
    """Write down whether the list has been asked for to its end."""
    with ledger.change() as run:
        run("UPDATE download SET is_finished = NOT EXISTS (SELECT 1 FROM photos WHERE is_due)")


def _in_batches(ledger: Ledger, rows: Iterable, add: Callable) -> None:
    rows = iter(rows)
    for first in rows:
        with ledger.change() as run:
            for row in itertools.chain([first], itertools.islice(rows, BATCH - 1)):
                add(run, row)


def _row_problem(key: str, url: str) -> str:
    if problem := key_problem(key):
        return f"bad id: {problem}"
    if not is_web_url(url):
        return "bad url: not http or https" if url else "bad url: none"
    return ""


def _position_problem(run: Callable, key: str) -> str:
    found = run("SELECT problem FROM metadata WHERE key = ?", (key,)).fetchone()
    if found is None:
        return "no position: no row of this id"
    return f"no position: {found[0]}" if found[0] else ""


def _give_turns(ledger: Ledger, run: Callable, shuffle: bool) -> None:
    ledger.define("hash", lambda key: hashlib.blake2b(key.encode(), digest_size=8).digest())
    order = "hash(key)" if shuffle else "list, place, id"
    run(
        "UPDATE photos SET turn = fresh.turn FROM (SELECT id, "
        "(SELECT ifnull(max(turn) + 1, 0) FROM photos) "
        f"+ row_number() OVER (ORDER BY {order}) - 1 AS turn "
        "FROM photos WHERE turn IS NULL) AS fresh WHERE photos.id = fresh.id"
    )
