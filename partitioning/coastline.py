"""Land outlines of the world at 1:110 million, for maps drawn without a network.

The shapes are Natural Earth's (public domain) from the npm package world-atlas (ISC licence, see
LICENSE-land-110m.txt): a TopoJSON file (https://github.com/topojson/topojson-specification), whose
rings are made of arcs and whose arcs are differences of whole numbers. Its rings cross the
antimeridian and are cut there.
"""

import json
from pathlib import Path

import numpy as np

from partitioning.antimeridian import map_rings

LAND_FILE = Path(__file__).with_name("land-110m.json")


def land_polygons() -> list[np.ndarray]:
    """Closed rings of the land, each float64 (N, 2), (lat, lon) in degrees.

    No ring crosses the antimeridian. A hole (the Caspian Sea) is a ring of its own, wound the other
    way round: rings filled as one path leave it out.
    """
    topology = json.loads(LAND_FILE.read_text())
    arcs = [_decoded(arc, topology["transform"]) for arc in topology["arcs"]]
    shapes = topology["objects"]["land"]["geometries"]
    polygons = [polygon for shape in shapes for polygon in shape["arcs"]]
    return [
        ring
        for polygon in polygons
        for numbers in polygon
        for ring in map_rings(_ring(arcs, numbers))
    ]


def _decoded(arc: list[list[int]], transform: dict) -> np.ndarray:
    """The points (N, 2), (lat, lon), of an arc of (x, y) differences."""
    lon_lat = np.cumsum(arc, axis=0) * transform["scale"] + transform["translate"]
    return lon_lat[:, ::-1]


def _ring(arcs: list[np.ndarray], numbers: list[int]) -> np.ndarray:
    """Join arcs end to end; ~number is an arc backwards, and each starts where the last ended."""
    parts = [arcs[number] if number >= 0 else arcs[~number][::-1] for number in numbers]
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])
