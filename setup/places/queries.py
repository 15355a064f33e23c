"""Which photos of a district are asked (queries) and which answer (database).

Where a place was photographed at several times, the newest photos ask and the older ones answer,
as a user's photo of today asks a map of yesterday. Else a share is drawn. Either way each query has
a photo of the database within the radius; one that somebody marked as a query need not have.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data.place_sets.near_positions import Neighbours, within

YEAR, DATE, SHARE, GIVEN = "newest_year", "newest_date", "share", "given"
LENGTHS = {YEAR: 4, DATE: 10}  # letters of "YYYY-MM-DD" that are compared
LEAST_SHARE = 0.02  # fewer queries than that of all photos: too few years or dates to go by them

Mask = NDArray[np.bool_]


def newest(utm_m: NDArray[np.float64], days: Sequence[str], radius_m: float, rule: str) -> Mask:
    """Photos that are the newest of their place, where there are older ones.

    A query has an older photo within the radius, which is none itself, for this one is newer.

    Args:
        utm_m: `(N, 2)`, metres east and north.
        days: "YYYY-MM-DD" or as much of it as is known; a photo that lacks what is compared
            neither asks nor counts.
        radius_m: How far a place reaches.
        rule: `YEAR` or `DATE`.
    """
    length = LENGTHS[rule]
    known = np.array([len(day) >= length for day in days], bool)
    digits = [day[:length].replace("-", "") for day in days]
    numbers = np.array([int(text) if text else 0 for text in digits], np.int64)
    near, query = _pairs(utm_m, radius_m)
    both = known[near] & known[query]
    has_older, has_newer = np.zeros(len(utm_m), bool), np.zeros(len(utm_m), bool)
    has_older[query[both & (numbers[near] < numbers[query])]] = True
    has_newer[query[both & (numbers[near] > numbers[query])]] = True
    return has_older & ~has_newer


def drawn(
    utm_m: NDArray[np.float64], names: Sequence[str], radius_m: float, share: float, seed: int
) -> Mask:
    """A share of the photos, of those that have company; no query is left without an answer.

    Their order hangs on their names and the seed alone, not on where they stand in a folder.
    """
    found = within(utm_m, utm_m, radius_m)
    company = [found.of(row)[found.of(row) != row] for row in range(len(utm_m))]
    answers = np.array([len(others) for others in company], np.int64)  # of them, no queries
    asks = np.zeros(len(utm_m), bool)
    left = round(share * len(utm_m))
    for row in sorted(range(len(utm_m)), key=lambda row: _draw(names[row], seed)):
        others = company[row]
        if not left:
            break
        if answers[row] and (answers[others[asks[others]]] > 1).all():
            asks[row] = True
            answers[others] -= 1
            left -= 1
    return asks


def _pairs(
    utm_m: NDArray[np.float64], radius_m: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of all pairs of two different photos within the radius: neighbour, photo."""
    found: Neighbours = within(utm_m, utm_m, radius_m)
    query = np.repeat(np.arange(len(utm_m)), found.counts)
    other = found.indices != query
    return found.indices[other], query[other]


def _draw(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
