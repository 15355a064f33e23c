"""What photos of different splits share: an author, a sequence, a panorama, or the same ground."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from partitioning.geodesy import EARTH_RADIUS_KM, unit_vectors
from retrieval.leaks.pairs import Finding, Pair, finding
from retrieval.leaks.photos import SplitPhotos

MOST_COMPARED = 1000  # photos of one name; an author may have a million
PANORAMA_M = 50.0  # tiles of one panorama have one position, give or take its GPS
# A distance across a border of zones may come out longer than it is: by the sphere, which stands
# for the ellipsoid, and by the arithmetic of UTM 6 degrees from a zone's middle (3 cm, measured).
SPHERE, MAP_M = 1.006, 0.1


def shared_groups(photos: SplitPhotos, kind: str, is_allowed: bool = False) -> Finding:
    """Authors, sequences or panoramas with photos in two splits; one pair stands for each.

    Args:
        photos: Of all splits.
        kind: One of `photos.groups`.
        is_allowed: Report them, but do not call them a leak.
    """
    names = photos.groups[kind]
    rows_of: dict[str, dict[str, list[int]]] = {}
    for row, (name, split) in enumerate(zip(names.tolist(), photos.splits.tolist(), strict=True)):
        if name:
            rows_of.setdefault(name, {}).setdefault(split, []).append(row)
    pairs, far = [], 0
    for name, by_split in rows_of.items():
        for first, second in combinations(by_split.values(), 2):
            a, b, apart_m = _nearest(photos, first, second)
            # Numbers that start anew in each split name different panoramas.
            if kind == "panorama" and apart_m > PANORAMA_M:
                far += 1
            else:
                pairs.append(Pair(a, b, float(len(first) + len(second)), f"{kind} {name}"))
    known = int((names != "").sum())
    what = f"One {kind} with photos in two splits; of {known:,} photos it is known."
    facts: dict[str, float | int | str] = {"known": known, "names": len(rows_of)}
    if kind == "panorama":
        what += f" A name that comes again over {PANORAMA_M:g} m away counts as another's."
        facts["same_name_elsewhere"] = far
    return finding(f"same {kind}", what, pairs, photos, facts, bool(pairs) and not is_allowed)


def near_splits(photos: SplitPhotos, radius_m: float) -> Finding:
    """Photos of different splits that were taken within a radius, and how far splits lie apart."""
    pairs, facts = [], dict[str, float | int | str]()
    for first, second in combinations(photos.names, 2):
        least = np.inf
        zones = [set(photos.zones[photos.rows_of(s)].tolist()) for s in (first, second)]
        for zone in zones[0] & zones[1]:
            a, b = (_in_zone(photos, split, zone) for split in (first, second))
            apart_m, found = cKDTree(photos.utm_m[b]).query(photos.utm_m[a])
            least = min(least, float(apart_m.min()))
            pairs += _near(a, b[found], apart_m, radius_m)
        for zone in zones[0]:
            a, b, apart_m = _across(photos, (first, second), zone)
            least = min(least, float(apart_m.min(initial=np.inf)))
            pairs += _near(a, b, apart_m, SPHERE * radius_m + MAP_M)
        facts[f"{first}-{second} least distance, m"] = (
            round(least, 2) if np.isfinite(least) else "no common zone"
        )
    what = (
        f"Photos of another split within {radius_m:g} m: the same place in two splits. Across a "
        f"border of UTM zones {SPHERE - 1:.1%} and {MAP_M:g} m farther: by that the way may err."
    )
    return finding("same ground", what, pairs, photos, facts)


def _near(
    a: NDArray[np.int64], b: NDArray[np.int64], apart_m: NDArray[np.float64], most_m: float
) -> list[Pair]:
    """Pairs of those rows `a` and `b` that lie within a distance."""
    return [
        Pair(int(a[i]), int(b[i]), -float(apart_m[i]), f"{apart_m[i]:.1f} m apart")
        for i in np.flatnonzero(apart_m <= most_m)
    ]


def _across(
    photos: SplitPhotos, splits: tuple[str, str], zone: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows of one split in a zone, the nearest of the other split in other zones, and metres."""
    none = np.empty(0, np.int64)
    if photos.latlon is None:
        return none, none, np.empty(0)
    a, b = _in_zone(photos, splits[0], zone), photos.rows_of(splits[1])
    b = b[photos.zones[b] != zone]
    a, b = (rows[~np.isnan(photos.latlon[rows, 0])] for rows in (a, b))
    if not len(a) or not len(b):
        return none, none, np.empty(0)
    points = [unit_vectors(*photos.latlon[rows].T) for rows in (a, b)]
    chords, found = cKDTree(points[1]).query(points[0])
    return a, b[found], 2000 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chords / 2, 1))


def _nearest(photos: SplitPhotos, first: list[int], second: list[int]) -> tuple[int, int, float]:
    """Of two lists of photos those that are nearest to each other, and their distance in m."""
    some, others = np.array(first[:MOST_COMPARED]), np.array(second[:MOST_COMPARED])
    apart_m = photos.apart_m(some[:, None], others[None])
    at, to = np.unravel_index(apart_m.argmin(), apart_m.shape)
    return int(some[at]), int(others[to]), float(apart_m[at, to])


def _in_zone(photos: SplitPhotos, split: str, zone: int) -> NDArray[np.int64]:
    rows = photos.rows_of(split)
    return rows[photos.zones[rows] == zone]
