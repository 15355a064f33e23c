"""How fast positions become S2 leaf ids, against s2sphere, on one core in the same run.

    python -m benchmarks.s2_ids

s2sphere (pure Python) takes one point at a time; ours takes arrays. The two take turns, and the
best turn of each counts, so that other work on the machine disturbs the ratio least. Times are CPU
times of one thread.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import s2sphere

from partitioning import s2


def s2sphere_ids(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Leaf ids by s2sphere, point by point."""
    positions = zip(lat.tolist(), lon.tolist(), strict=True)
    return np.array(
        [s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(*p)).id() for p in positions],
        np.uint64,
    )


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds that the work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Time both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument(
        "--points_s2sphere", type=int, default=50_000, help="a slice of them; default: %(default)s"
    )
    parser.add_argument("--turns", type=int, default=5, help="default: %(default)s")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, options.points)))
    lon = rng.uniform(-180, 180, options.points)
    few = slice(options.points_s2sphere)
    equal = int(np.sum(s2.cell_ids(lat[few], lon[few]) == s2sphere_ids(lat[few], lon[few])))
    ours, theirs = [], []
    for _ in range(options.turns):
        ours.append(seconds(lambda: s2.cell_ids(lat, lon)) / options.points)
        theirs.append(seconds(lambda: s2sphere_ids(lat[few], lon[few])) / len(lat[few]))
    print(f"positions to S2 leaf ids, one core, best of {options.turns} turns")
    print(f"  s2sphere            {1 / min(theirs):12,.0f} a second")
    print(f"  partitioning.s2     {1 / min(ours):12,.0f} a second")
    print(f"  ratio               {min(theirs) / min(ours):12.1f} x s2sphere (goal: 40)")
    print(f"  equal ids           {equal:12,} of {len(lat[few]):,}")


if __name__ == "__main__":
    main()
