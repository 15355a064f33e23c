"""Land outlines of the world at 1:110 million, for maps drawn without a network.

The shapes are Natural Earth's (public domain) from the npm package world-atlas (ISC licence, see
LICENSE-land-110m.txt).
"""

from pathlib import Path

import numpy as np

from partitioning.topojson import named_rings

LAND_FILE = Path(__file__).with_name("land-110m.json")


def land_polygons() -> list[np.ndarray]:
    """Closed rings of the land, each float64 (N, 2), (lat, lon) in degrees.

    No ring crosses the antimeridian. A hole (the Caspian Sea) is a ring of its own, wound the other
    way round: rings filled as one path leave it out.
    """
    return [ring for _, rings in named_rings(LAND_FILE, "land") for ring in rings]
