"""A made-up town: streets in a grid, blocks of houses, every house with a facade of its own.

SYNTHETIC. It exists so that mining, training and recall can be tested where the truth is known to
the centimetre. x grows east and y north, in metres; data/toy/camera.py takes its photographs.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PATTERN = 16  # edge of a house's own pattern, in squares of half a metre


@dataclass(frozen=True)
class Facades:
    """The street fronts of the houses; one row a front.

    Attributes:
        start, end: `(F, 2)`, metres; seen from the street, start is on the left.
        height: `(F,)`, metres.
        wall, frame, glass: Colours `(F, 3)` in 0..1.
        bay: Width of a window and the wall beside it, m.
        storey: Height of a storey, m.
        window: Shares `(F, 2)` of bay and storey that the window takes.
        pattern: `(F, PATTERN, PATTERN)`, -1 to 1: stucco, tiles or graffiti that no other has.
    """

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    height: NDArray[np.float64]
    wall: NDArray[np.float64]
    frame: NDArray[np.float64]
    glass: NDArray[np.float64]
    bay: NDArray[np.float64]
    storey: NDArray[np.float64]
    window: NDArray[np.float64]
    pattern: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.height)


@dataclass(frozen=True)
class Town:
    """A town and its streets.

    Attributes:
        facades: Of all houses.
        blocks: Number of blocks from west to east and from south to north.
        pitch_m: From the middle of one street to the next.
        street_m: Width of a street, front to front.
    """

    facades: Facades
    blocks: tuple[int, int]
    pitch_m: float
    street_m: float

    @property
    def size_m(self) -> tuple[float, float]:
        """East-west and north-south extent; streets run along the edges too."""
        return self.blocks[0] * self.pitch_m, self.blocks[1] * self.pitch_m

    def street_points(self, step_m: float) -> NDArray[np.float64]:
        """Points `(N, 2)` in the middle of all streets, about `step_m` apart."""
        east, north = self.size_m
        xs, ys = (np.arange(0, extent + 1e-9, step_m) for extent in (east, north))
        across = [(x, row * self.pitch_m) for row in range(self.blocks[1] + 1) for x in xs]
        along = [(column * self.pitch_m, y) for column in range(self.blocks[0] + 1) for y in ys]
        return np.unique(np.round(np.array(across + along), 6), axis=0)


def build_town(
    seed: int = 0,
    blocks: tuple[int, int] = (4, 4),
    pitch_m: float = 70.0,
    street_m: float = 16.0,
) -> Town:
    """Draw a town; the same seed gives the same town.

    Raises:
        ValueError: no block, or streets as wide as the blocks are apart.
    """
    if min(blocks) < 1 or not 0 < street_m < pitch_m - 10:
        raise ValueError(
            f"{blocks[0]} x {blocks[1]} blocks, {pitch_m:g} m apart, with streets of "
            f"{street_m:g} m: need a block, and 10 m between streets"
        )
    random = np.random.default_rng(seed)
    fronts = [
        front
        for column in range(blocks[0])
        for row in range(blocks[1])
        for side in _sides(column, row, pitch_m, street_m)
        for front in _houses(side, random)
    ]
    corners = np.array(fronts)
    return Town(_painted(corners[:, 0], corners[:, 1], random), blocks, pitch_m, street_m)


def _sides(
    column: int, row: int, pitch_m: float, street_m: float
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The four sides of a block, each from left to right as the street sees it."""
    low = np.array([column, row]) * pitch_m + street_m / 2
    high = low + pitch_m - street_m
    south_east, north_west = np.array([high[0], low[1]]), np.array([low[0], high[1]])
    ring = [low, south_east, high, north_west]
    return [(ring[i], ring[(i + 1) % 4]) for i in range(4)]


def _houses(
    side: tuple[NDArray[np.float64], NDArray[np.float64]], random: np.random.Generator
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Cut a side into fronts of 7 to 16 m."""
    start, end = side
    length = float(np.linalg.norm(end - start))
    cuts = [0.0]
    while length - cuts[-1] > 23:
        cuts.append(cuts[-1] + random.uniform(7, 16))
    places = [start + (end - start) * cut / length for cut in [*cuts, length]]
    return list(pairwise(places))


def _painted(
    start: NDArray[np.float64], end: NDArray[np.float64], random: np.random.Generator
) -> Facades:
    count = len(start)
    tone, tint = random.uniform(0.35, 0.9, (count, 1)), random.uniform(-0.2, 0.2, (count, 3))
    coarse = random.uniform(-1, 1, (count, PATTERN // 4, PATTERN // 4))
    fine = random.uniform(-1, 1, (count, PATTERN, PATTERN))
    return Facades(
        start=start,
        end=end,
        height=random.uniform(7, 22, count),
        wall=np.clip(tone + tint, 0.05, 1),
        frame=random.uniform(0.2, 1, (count, 3)),
        glass=random.uniform(0.05, 0.35, (count, 3)),
        bay=random.uniform(1.8, 4.0, count),
        storey=random.uniform(2.6, 4.2, count),
        window=random.uniform(0.35, 0.75, (count, 2)),
        pattern=0.6 * coarse.repeat(4, axis=1).repeat(4, axis=2) + 0.4 * fine,
    )
