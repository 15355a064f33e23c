"""Cut a town into districts for training, validation and testing, with strips of no one between.

Photos of one street in two splits would let a model pass by heart. So each split is a district of
its own: rectangles that a user draws, or strips across the town's longer side, as many photos in
each as its share. Whoever stands within the buffer of another district is left out, and so are the
photos of a sequence (one drive, one walk) outside the split where most of it lies.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from partitioning.geodesy import haversine_km

BUFFER, OUTSIDE, OTHER_SEQUENCE = "buffer", "outside", "sequence of another split"
GIVE, PER_MOVED = 0.04, 0.1  # share of photos that a cut may be moved by; what one of them costs
EDGES = (5, 95)  # percentiles between which a town's sides are measured: a lost photo is no side
Rectangle = tuple[float, float, float, float]  # west, south, east, north, degrees
Names = NDArray[np.object_]


def strips(utm_m: NDArray[np.float64], shares: Mapping[str, float], buffer_m: float) -> Names:
    """Strips across the longer side of the town, from the west or the south.

    A cut lies where few photos are lost to the buffer, if there is such a place near its share.

    Args:
        utm_m: `(N, 2)`, metres east and north.
        shares: Split -> share of the photos, in the order in which the strips lie.
        buffer_m: Width of the strip between two districts.

    Returns:
        Split of each photo or `BUFFER`, `(N,)`.
    """
    low, high = np.percentile(utm_m, EDGES, axis=0)
    along = utm_m[:, int(np.argmax(high - low))]
    bounds = np.cumsum([share / sum(shares.values()) for share in shares.values()])[:-1]
    ordered = np.sort(along)
    cuts = np.array([_quiet_cut(ordered, float(bound), buffer_m) for bound in bounds])
    names = np.array(list(shares), object)[np.searchsorted(cuts, along, "right")]
    for cut in cuts:
        names[np.abs(along - cut) < buffer_m / 2] = BUFFER
    return names


def _quiet_cut(ordered: NDArray[np.float64], bound: float, buffer_m: float) -> float:
    """Where to cut, near a share of the photos, so that few stand in the buffer."""
    first, last = np.quantile(ordered, np.clip([bound - GIVE, bound + GIVE], 0, 1))
    cuts = np.linspace(first, last, 201)
    low, at, high = (np.searchsorted(ordered, cuts + side * buffer_m / 2) for side in (-1, 0, 1))
    moved = np.abs(at - bound * len(ordered))
    return float(cuts[np.argmin(high - low + moved * PER_MOVED)])


def districts(
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
    drawn: Mapping[str, Rectangle],
    rest: str | None,
    buffer_m: float,
) -> Names:
    """Rectangles, and all else as one more split.

    Args:
        lat: Degrees `(N,)`.
        lon: Degrees.
        drawn: Split -> its rectangle.
        rest: Split of what lies in none; None leaves that out.
        buffer_m: From a rectangle to the photos of any other split at least, to 0.6%.

    Returns:
        Split of each photo, `BUFFER`, or `OUTSIDE`, `(N,)`.
    """
    names = np.full(len(lat), rest or OUTSIDE, object)
    for split, rectangle in drawn.items():
        apart_m = _apart_m(lat, lon, rectangle)
        # Who was in another rectangle is now too near to this one, or in both.
        is_taken = np.isin(names, [name for name in drawn if name != split])
        names[(apart_m < buffer_m) & ((apart_m > 0) | is_taken)] = BUFFER
        names[(apart_m == 0) & (names != BUFFER)] = split
    return names


def _apart_m(
    lat: NDArray[np.float64], lon: NDArray[np.float64], rectangle: Rectangle
) -> NDArray[np.float64]:
    """How far points lie from a rectangle; 0 inside."""
    west, south, east, north = rectangle
    return 1000 * haversine_km(lat, lon, np.clip(lat, south, north), np.clip(lon, west, east))


def whole_sequences(names: Names, sequences: Sequence[str], splits: Sequence[str]) -> Names:
    """Leave out the photos of a sequence that lie outside the split where most of it lies.

    Args:
        names: Split of each photo, or why it has none, `(N,)`.
        sequences: Of each photo, "" where unknown.
        splits: Names of splits; of two with as many photos of a sequence, the first keeps it.
    """
    counts: dict[str, Counter[str]] = {}
    for name, sequence in zip(names, sequences, strict=True):
        if sequence and name in splits:
            counts.setdefault(sequence, Counter())[name] += 1
    home = {
        sequence: max(splits, key=lambda split: count[split]) for sequence, count in counts.items()
    }
    kept = names.copy()
    for row, (name, sequence) in enumerate(zip(names, sequences, strict=True)):
        if name in splits and sequence and home[sequence] != name:
            kept[row] = OTHER_SEQUENCE
    return kept
