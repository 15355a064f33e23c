"""Geocells as GeoJSON (RFC 7946) and as rings for a map.

An S2 edge is a great circle; on a map in degrees the long edges of large cells bend, so they get
points between their corners. From level 6 on (about 1.5 degrees) the bend cannot be seen.
"""

from collections.abc import Sequence

import numpy as np

from partitioning import s2
from partitioning.antimeridian import map_rings
from partitioning.cells import Cells

# 1e-7 degrees are 1 cm; more digits would only make the file larger.
DIGITS = 7


def outlines(ids: np.ndarray) -> list[list[np.ndarray]]:
    """Closed rings (M, 2), (lat, lon) in degrees, of each cell: one, or two at the antimeridian."""
    rings: list[list[np.ndarray]] = [[]] * len(ids)
    levels = s2.levels(ids)
    for level in np.unique(levels):
        rows = np.flatnonzero(levels == level)
        boundaries = s2.boundaries(ids[rows], edge_points=max(1, 64 >> int(level)))
        for row, boundary in zip(rows, boundaries, strict=True):
            rings[row] = map_rings(boundary)
    return rings


def to_geojson(cells: Cells) -> dict:
    """The cells as a FeatureCollection with class_id, token, photos and mean position."""
    names = cells.tokens
    properties = [
        {
            "class_id": class_id,
            "token": str(names[class_id]),
            "photos": int(cells.photos[class_id]),
            "lat": round(float(cells.lat[class_id]), DIGITS),
            "lon": round(float(cells.lon[class_id]), DIGITS),
        }
        for class_id in range(len(cells))
    ]
    return feature_collection(cells.ids, properties)


def feature_collection(ids: np.ndarray, properties: Sequence[dict]) -> dict:
    """S2 cells uint64 (N,) as a FeatureCollection; `properties` holds one dict a cell."""
    features = [
        {"type": "Feature", "properties": facts, "geometry": _geometry(rings)}
        for facts, rings in zip(properties, outlines(ids), strict=True)
    ]
    return {"type": "FeatureCollection", "features": features}


def _geometry(rings: list[np.ndarray]) -> dict:
    polygons = [[np.round(ring[:, ::-1], DIGITS).tolist()] for ring in rings]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}
