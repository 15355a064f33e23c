"""From the sphere to the squares of the S2 cube and back, equal to the last bit to plain Python.

A position becomes a unit vector, the vector a point (u, v) of one of six cube faces, and (u, v) a
square (i, j) by S2's quadratic projection, which evens out the areas of the squares
(S2 Geometry, http://s2geometry.io/devguide/s2cell_hierarchy).

Multiplication, division and square root are exactly rounded everywhere; sine and cosine are not:
numpy's vectorised ones may differ from the C library's by some units in the last place. That only
matters where a coordinate falls within `EDGE` of the edge of a square, and there sine and cosine
are computed again by the `math` module, as a plain loop over the points would.
"""

import math
from collections.abc import Callable

import numpy as np

from partitioning.hilbert import MAX_LEVEL

SIZE = 1 << MAX_LEVEL
# 64 ulp of u or v shift i or j by less than 2^-17 of a leaf; numpy documents an error of 4 ulp.
EDGE = 2.0**-17
# x, y and z of a point on each face: which of (1, u, v) they are, and their signs.
SOURCES = np.array([[0, 1, 2], [1, 0, 2], [1, 2, 0], [0, 2, 1], [2, 0, 1], [2, 1, 0]])
SIGNS = np.array([[1, 1, 1], [-1, 1, 1], [-1, -1, 1], [-1, -1, -1], [1, -1, -1], [1, 1, -1]])


def squares_of(lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Face, i and j, each int64 (N,), of the leaf squares that hold the positions (degrees)."""
    phi, theta = np.radians(lat), np.radians(lon)
    x, y, z = _vectors(np.cos(phi), np.sin(phi), np.cos(theta), np.sin(theta))
    face, s, t = _face_s_t(x, y, z)
    near_edge = np.flatnonzero((np.abs(s - np.rint(s)) < EDGE) | (np.abs(t - np.rint(t)) < EDGE))
    if len(near_edge):
        exact = _exact_vectors(phi[near_edge], theta[near_edge])
        face[near_edge], s[near_edge], t[near_edge] = _face_s_t(*exact)
    return face, _square(s), _square(t)


def _vectors(
    cos_phi: np.ndarray, sin_phi: np.ndarray, cos_theta: np.ndarray, sin_theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return cos_theta * cos_phi, sin_theta * cos_phi, sin_phi


def _exact_vectors(phi: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    def each(function: Callable[[float], float], angles: np.ndarray) -> np.ndarray:
        return np.array([function(angle) for angle in angles.tolist()])

    return _vectors(
        each(math.cos, phi), each(math.sin, phi), each(math.cos, theta), each(math.sin, theta)
    )


def _face_s_t(
    x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The face int64 (N,), and s and t float64 (N,) in leaf squares, 0 to 2^30, of vectors."""
    size_x, size_y, size_z = np.abs(x), np.abs(y), np.abs(z)
    # The axis of the largest component; ties go to z first, then to y.
    on_x = (size_x > size_y) & (size_x > size_z)
    on_z = ~on_x & (size_z >= size_y)
    # An axis' two other components, in the order in which its positive face has them.
    major = np.where(on_x, x, np.where(on_z, z, y))
    first = np.where(on_x, y, x) / major
    second = np.where(on_z, y, z) / major
    np.negative(first, out=first, where=~on_x)
    np.negative(second, out=second, where=on_z)
    # The face on the other side of the cube has them the other way round.
    opposite = major < 0
    face = np.where(on_x, 0, np.where(on_z, 2, 1))
    face += 3 * opposite
    u, v = np.where(opposite, second, first), np.where(opposite, first, second)
    return face, _leaf_coordinate(u), _leaf_coordinate(v)


def _leaf_coordinate(u: np.ndarray) -> np.ndarray:
    """Cube coordinate -1 to 1 to leaf coordinate 0 to 2^30 by the quadratic projection."""
    s = np.abs(u)
    s *= 3
    s += 1
    np.sqrt(s, out=s)
    s *= 0.5
    np.subtract(1, s, out=s, where=u < 0)
    s *= SIZE
    return s


def _square(s: np.ndarray) -> np.ndarray:
    return np.minimum(np.floor(s), SIZE - 1).astype(np.int64)


def cube_coordinate(s: np.ndarray) -> np.ndarray:
    """The inverse quadratic projection: leaf coordinate 0 to 2^30 to cube coordinate -1 to 1."""
    s = np.asarray(s, np.float64) / SIZE
    return np.where(s >= 0.5, (1 / 3) * (4 * s * s - 1), (1 / 3) * (1 - 4 * (1 - s) * (1 - s)))


def cube_vectors(
    face: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y, z, each like u, of points of the cube: cube coordinates u, v on faces int64."""
    face = np.broadcast_to(face, u.shape)
    sources, vectors = (
        (np.ones_like(u), u, v),
        (np.empty_like(u), np.empty_like(u), np.empty_like(u)),
    )
    # Ids are mostly sorted when they come here, so that a piece lies on one face or two.
    for number in range(6):
        here = face == number
        if here.any():
            for component, source, sign in zip(
                vectors, SOURCES[number], SIGNS[number], strict=True
            ):
                np.multiply(sources[source], sign, out=component, where=here)
    return vectors
