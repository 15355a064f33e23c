"""Rings of a TopoJSON file (https://github.com/topojson/topojson-specification).

Its rings are made of arcs, which neighbours share, and its arcs are differences of whole numbers.
The rings of Natural Earth's files cross the antimeridian and are cut there.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from partitioning.antimeridian import map_rings


def named_rings(path: Path, layer: str) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The name, "" where it has none, and the closed rings of each shape of a layer.

    Rings are float64 (N, 2), (lat, lon) in degrees, none across the antimeridian. A hole is a ring
    of its own, wound the other way round.
    """
    topology = json.loads(path.read_text(encoding="utf-8"))
    arcs = [_decoded(arc, topology["transform"]) for arc in topology["arcs"]]
    for shape in topology["objects"][layer]["geometries"]:
        polygons = shape["arcs"] if shape["type"] == "MultiPolygon" else [shape["arcs"]]
        rings = [
            ring
            for polygon in polygons
            for numbers in polygon
            for ring in map_rings(_ring(arcs, numbers))
        ]
        yield shape.get("properties", {}).get("name", ""), rings


def _decoded(arc: list[list[int]], transform: dict) -> np.ndarray:
    """The points (N, 2), (lat, lon), of an arc of (x, y) differences."""
    lon_lat = np.cumsum(arc, axis=0) * transform["scale"] + transform["translate"]
    return lon_lat[:, ::-1]


def _ring(arcs: list[np.ndarray], numbers: list[int]) -> np.ndarray:
    """Join arcs end to end; ~number is an arc backwards, and each starts where the last ended."""
    parts = [arcs[number] if number >= 0 else arcs[~number][::-1] for number in numbers]
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])
