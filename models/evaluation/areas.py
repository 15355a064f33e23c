"""Is the answer in the right country, region, sub-region, city?

OSV-5M names the areas of its photos with a reverse geocoder: the nearest place of a gazetteer
(GeoNames) lends its names, https://github.com/gastruc/osv5m. A gazetteer is not shipped here, so
the nearest *photo with a name* lends it: a training photo where the training table is given, else
another test photo (never the photo itself: its own name would be an answer slipped in). An answer
with no such photo within `REACH_KM` has no name and is wrong. A photo whose area no other photo
shares cannot be won; `ceiling` says how many the true positions themselves would win. These
figures are therefore near the paper's, a little below, and not the same.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.intervals import Share, share_of
from partitioning.geodesy import EARTH_RADIUS_KM, unit_vectors

REACH_KM = 100.0
CHUNK = 512

FloatArray = NDArray[np.float64]
Texts = NDArray[np.object_]


class AreaAccuracy(NamedTuple):
    """Attributes: right, answers in the photo's own area; ceiling, the same of true positions."""

    right: Share
    ceiling: Share


class Named(NamedTuple):
    """Photos whose areas have names: lat, lon, degrees `(R,)`, and name, str `(R,)`."""

    lat: FloatArray
    lon: FloatArray
    name: Texts


def area_accuracy(
    answer: tuple[FloatArray, FloatArray],
    truth: tuple[FloatArray, FloatArray],
    name: Texts,
    reference: Named | None = None,
) -> AreaAccuracy | None:
    """Count answers in the right area; None where no photo has a name.

    Args:
        answer: lat, lon of the answers, degrees `(N,)` each.
        truth: lat, lon of the photos.
        name: the true area of each photo, "" where unknown; those are left out.
        reference: photos that lend their names; None = the test photos, each to the others.
    """
    known = np.flatnonzero(name != "")
    if not known.size:
        return None
    own = None if reference is not None else np.arange(len(known))
    lending = reference or Named(truth[0][known], truth[1][known], name[known])
    shares = []
    for lat, lon in (answer, truth):
        found = nearest_names(lat[known], lon[known], lending, own)
        shares.append(share_of(int((found == name[known]).sum()), len(known)))
    return AreaAccuracy(*shares)


def nearest_names(
    lat: FloatArray, lon: FloatArray, lending: Named, own: NDArray[np.int64] | None = None
) -> Texts:
    """Name of the nearest photo that has one, "" where none lies within `REACH_KM`; `(N,)`.

    Args:
        lat: degrees `(N,)`.
        lon: degrees `(N,)`.
        lending: photos with names; those called "" are left out.
        own: the row of `lending` that is the asking photo itself and may not answer, `(N,)`.
    """
    used = np.flatnonzero(lending.name != "")
    used = used[np.argsort(lending.lat[used], kind="stable")]
    sorted_lat, vectors = lending.lat[used], unit_vectors(lending.lat[used], lending.lon[used])
    reach_deg = np.degrees(REACH_KM / EARTH_RADIUS_KM)
    found = np.full(len(lat), "", dtype=object)
    order = np.argsort(lat, kind="stable")
    # Neighbours in latitude are asked together: only a belt of the sphere can hold their answers.
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        first = np.searchsorted(sorted_lat, lat[rows].min() - reach_deg)
        end = np.searchsorted(sorted_lat, lat[rows].max() + reach_deg, side="right")
        if first == end:
            continue
        cosines = unit_vectors(lat[rows], lon[rows]) @ vectors[first:end].T
        if own is not None:
            cosines[used[first:end][None, :] == own[rows][:, None]] = -2.0
        best = cosines.argmax(axis=1)
        near = cosines[np.arange(len(rows)), best] >= np.cos(REACH_KM / EARTH_RADIUS_KM)
        found[rows[near]] = lending.name[used[first + best[near]]]
    return found
