"""What a ledger says in the end: the rows of the report, in the order of the list, and counts."""

from collections.abc import Iterator

from setup.downloading.ledger import Ledger
from setup.downloading.report import Row

_ROWS = """
SELECT key, url, status, error, width, height, sha256, list, place FROM photos
    WHERE sha256 != '' OR error != ''
UNION ALL SELECT key, url, 0, error, 0, 0, '', list, place FROM refused
ORDER BY list DESC, place
"""


def report_rows(ledger: Ledger) -> Iterator[Row]:
    """The rows of the list in its order, less those not asked for yet; then earlier lists' rows."""
    for *row, _, _ in ledger.stream(_ROWS):
        yield Row(*row)


def count_there(ledger: Ledger, number: int) -> int:
    """How many photos of a list are there."""
    sql = "SELECT count(*) FROM photos WHERE list = ? AND sha256 != ''"
    return ledger.ask(sql, (number,))[0][0]


def count_due(ledger: Ledger, with_refresh: bool = True) -> int:
    """How many photos are still to be asked for, with those that are there or without."""
    condition = "" if with_refresh else " AND sha256 = ''"
    return ledger.ask(f"SELECT count(*) FROM photos WHERE is_due{condition}")[0][0]
