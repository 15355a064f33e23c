"""What photos of different splits share: an author, a sequence, a panorama, or the same ground."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from retrieval.leaks.pairs import Finding, Pair, finding
from retrieval.leaks.photos import SplitPhotos

MOST_COMPARED = 1000  # photos of one name; an author may have a million
PANORAMA_M = 50.0  # tiles of one panorama have one position, give or take its GPS


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
            for row in np.flatnonzero(apart_m <= radius_m):
                distance = float(apart_m[row])
                pair = Pair(int(a[row]), int(b[found[row]]), -distance, f"{distance:.1f} m apart")
                pairs.append(pair)
        facts[f"{first}-{second} least distance, m"] = (
            round(least, 2) if np.isfinite(least) else "no common zone"
        )
    what = f"Photos of another split within {radius_m:g} m: the same place in two splits."
    return finding("same ground", what, pairs, photos, facts)


def _nearest(photos: SplitPhotos, first: list[int], second: list[int]) -> tuple[int, int, float]:
    """Of two lists of photos those that are nearest to each other, and their distance in m."""
    some, others = np.array(first[:MOST_COMPARED]), np.array(second[:MOST_COMPARED])
    apart_m = photos.apart_m(some[:, None], others[None])
    at, to = np.unravel_index(apart_m.argmin(), apart_m.shape)
    return int(some[at]), int(others[to]), float(apart_m[at, to])


def _in_zone(photos: SplitPhotos, split: str, zone: int) -> NDArray[np.int64]:
    rows = photos.rows_of(split)
    return rows[photos.zones[rows] == zone]
