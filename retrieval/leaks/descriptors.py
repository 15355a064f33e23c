"""Photos of different splits that a network finds more alike than different places ever are.

How alike is too alike depends on the network and the town, so the set itself tells: for a sample of
photos, the most similar photo of their own split that was taken elsewhere. The threshold lies
halfway, in squared distance of descriptors, between the 99th percentile of these and identity.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.leaks.pairs import Finding, Pair, finding, near_pairs
from retrieval.leaks.photos import SplitPhotos
from retrieval.nearest import nearest

SAMPLE = 2000  # photos of a split
DEPTH = 64  # neighbours among which one of another place is looked for
QUANTILE = 0.99  # not the highest: a set has its own mistakes in positions
ASSUMED = 0.95  # cosine, where no split has two places


class Threshold(NamedTuple):
    """From which similarity on two photos are near-duplicates.

    Attributes:
        cosine: The threshold.
        reference: 99th percentile of the similarities below; NaN where there are none.
        highest: The highest of them.
        compared: How many there are.
        above: How many of them lie above the threshold: that many of one split alarm by chance.
    """

    cosine: float
    reference: float
    highest: float
    compared: int
    above: int

    def __str__(self) -> str:
        if not self.compared:
            return f"cosine {self.cosine:.4f}, given or assumed: no split shows two places"
        return (
            f"cosine {self.cosine:.4f}; of {self.compared:,} photos the most similar one of "
            f"another place in their own split has {self.reference:.4f} at the 99th percentile, "
            f"{self.highest:.4f} at most; {self.above:,} of them lie above the threshold"
        )


def near_duplicates(
    descriptors: NDArray[Any], photos: SplitPhotos, threshold: Threshold
) -> Finding:
    """Pairs above the threshold.

    Args:
        descriptors: `(N, D)` of length 1; zeros where a photo could not be read.
        photos: N of them.
        threshold: From `threshold_of`.
    """
    is_usable = np.asarray(descriptors.any(axis=1))
    pairs = []
    for a, b, distance in near_pairs(descriptors, photos, is_usable, 2 - 2 * threshold.cosine):
        apart = float(photos.apart_m(np.array([a]), np.array([b]))[0])
        where = f", {apart:,.0f} m apart" if np.isfinite(apart) else ""
        pairs.append(Pair(a, b, 1 - distance / 2, f"cosine {1 - distance / 2:.4f}{where}"))
    facts: dict[str, float | int | str] = {
        **{k: v for k, v in threshold._asdict().items() if v == v},
        "unreadable": int((~is_usable).sum()),
    }
    what = f"Near-duplicates by descriptor: {threshold}."
    return finding("near-duplicate", what, pairs, photos, facts)


def threshold_of(
    descriptors: NDArray[Any],
    photos: SplitPhotos,
    apart_m: float = 100.0,
    given: float = 0.0,
    seed: int = 0,
) -> Threshold:
    """Find the threshold.

    Args:
        descriptors: As `near_duplicates`.
        photos: N of them.
        apart_m: Photos farther from each other than this show different places.
        given: Take this cosine; 0 finds it.
        seed: Of the sample.
    """
    found = [_elsewhere(descriptors, photos, split, apart_m, seed) for split in photos.names]
    alike = np.concatenate(found)
    if not len(alike):
        return Threshold(given or ASSUMED, float("nan"), float("nan"), 0, 0)
    reference = float(np.quantile(alike, QUANTILE))
    cosine = given or 1 - (1 - reference) / 2
    above = int((alike >= cosine).sum())
    return Threshold(cosine, reference, float(alike.max()), len(alike), above)


def _elsewhere(
    descriptors: NDArray[Any], photos: SplitPhotos, split: str, apart_m: float, seed: int
) -> NDArray[np.float64]:
    """Of a sample of a split, the similarity of the most similar photo taken elsewhere in it."""
    rows = photos.rows_of(split)
    rows = rows[descriptors[rows].any(axis=1)]
    if len(rows) < 2:
        return np.empty(0)
    asked = np.random.default_rng(seed).permutation(rows)[:SAMPLE]
    answers = nearest(descriptors[asked], descriptors[rows], min(DEPTH, len(rows)))
    apart = photos.apart_m(asked[:, None], rows[answers.rows])
    is_elsewhere = apart > apart_m  # inf where a zone is unknown
    has_any = is_elsewhere.any(axis=1)
    first = is_elsewhere.argmax(axis=1)
    return 1 - answers.distances[np.arange(len(asked)), first][has_any].astype(float) / 2
