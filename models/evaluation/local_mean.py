"""Where a posterior points: not the likeliest cell's mean alone but the mean of what is about it.

    answer = the direction of  sum over cells c of  p_c v_c
             over the cells within `radius_km` of the likeliest one that are among the `top_k`

v_c is the mean position of cell c's photos as a point of the unit sphere, p_c its posterior: one
step of mean shift with a flat kernel from the likeliest cell (Comaniciu and Meer, "Mean Shift: A
Robust Approach Toward Feature Space Analysis", PAMI 24, 2002). Where neighbours share the
probability their weighted mean lies nearer to the truth than any of them; cells far away, the
other guesses, take no part, or the answer would fall into the sea between them. With `radius_km` 0
it is the likeliest cell's mean. Torch-free.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.decode import FloatArray
from partitioning.geodesy import EARTH_RADIUS_KM, positions_of, unit_vectors

RADIUS_KM, TOP_K = 200.0, 50
CHUNK = 256  # photos at a time: bounds the temporaries


class Positions(NamedTuple):
    """Attributes: lat, lon, degrees, each `(N,)`."""

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]


def local_means(
    posterior: FloatArray,
    lat: ArrayLike,
    lon: ArrayLike,
    radius_km: float = RADIUS_KM,
    top_k: int = TOP_K,
) -> Positions:
    """Decode N posteriors to positions.

    Args:
        posterior: `(N, C)`, rows sum to 1.
        lat: mean latitude of each cell `(C,)`, degrees.
        lon: mean longitude of each cell `(C,)`, degrees.
        radius_km: cells whose mean lies within this distance of the likeliest cell's count.
        top_k: only so many of the likeliest cells count; equals of the last one count as well.

    Raises:
        ValueError: the cells are not the posterior's, or a setting makes no sense.
    """
    vectors = unit_vectors(lat, lon)
    if posterior.ndim != 2 or posterior.shape[1] != len(vectors):
        raise ValueError(
            f"a posterior of shape {posterior.shape} is none over {len(vectors)} cells: they "
            "belong to different partitions"
        )
    if not (radius_km >= 0 and top_k >= 1):
        raise ValueError(f"radius_km must be at least 0 and top_k 1, got {radius_km}, {top_k}")
    means = np.empty((len(posterior), 3))
    for start in range(0, len(posterior), CHUNK):
        piece = slice(start, start + CHUNK)
        means[piece] = _means(posterior[piece], vectors, radius_km, top_k)
    return Positions(*positions_of(*means.T))


def _means(
    posterior: FloatArray, vectors: NDArray[np.float64], radius_km: float, top_k: int
) -> NDArray[np.float64]:
    """Sums of weighted vectors `(n, 3)`."""
    best = vectors[posterior.argmax(axis=1)]
    rank = posterior.shape[1] - min(top_k, posterior.shape[1])
    least = np.partition(posterior, rank, axis=1)[:, rank, None]
    # Within a chord of the unit sphere; in float64 the dot product is good to 0.2 m.
    half_angle = min(radius_km / EARTH_RADIUS_KM, np.pi) / 2
    chord_squared = 2 - 2 * (best @ vectors.T)
    inside = (chord_squared <= 4 * np.sin(half_angle) ** 2 + 1e-15) & (posterior >= least)
    sums = np.where(inside, posterior, 0) @ vectors
    # Over more than half the globe the vectors may cancel out: then the likeliest cell stands.
    cancelled = np.linalg.norm(sums, axis=1) < 1e-9
    return np.where(cancelled[:, None], best, sums)
