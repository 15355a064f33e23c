"""Cells as GeoJSON: right ring, right side, split at the antimeridian."""

import json

import numpy as np
import pytest

from partitioning import s2
from partitioning.cells import build
from partitioning.geojson import feature_collection, outlines, to_geojson


def map_area(rings):
    total = 0.0
    for ring in rings:
        lat, lon = ring.T
        total += np.sum(lon[:-1] * lat[1:] - lon[1:] * lat[:-1]) / 2
    return total


def is_inside(ring, lat, lon):
    """Count the edges that a ray to the east crosses."""
    y, x = ring[:-1].T
    next_y, next_x = ring[1:].T
    crosses = (y > lat) != (next_y > lat)
    with np.errstate(divide="ignore", invalid="ignore"):
        east = lon < x + (lat - y) / (next_y - y) * (next_x - x)
    return np.sum(crosses & east) % 2 == 1


@pytest.mark.parametrize("level", [0, 1, 2, 4])
def test_the_cells_of_a_level_tile_the_map(level):
    """Their map areas sum to that of the map: nothing is lost or doubled at a seam or a pole."""
    lat, lon = np.meshgrid(np.arange(-89.5, 90), np.arange(-179.5, 180))
    ids = np.unique(s2.cell_ids(lat.ravel(), lon.ravel(), level))
    assert len(ids) == 6 * 4**level
    rings = outlines(ids)
    assert all(map_area(of_cell) > 0 for of_cell in rings), "a ring is clockwise"
    # Chords for arcs: the errors of neighbours cancel, those of unlike levels would not.
    assert sum(map(map_area, rings)) == pytest.approx(180 * 360, rel=1e-6)
    assert max(np.abs(ring[:, 1]).max() for of_cell in rings for ring in of_cell) <= 180


def test_positions_lie_inside_the_outline_of_their_cell():
    rng = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, 2000))), rng.uniform(-180, 180, 2000)
    for level in (1, 3, 8):
        ids = s2.cell_ids(lat, lon, level)
        found = [
            any(is_inside(ring, *position) for ring in rings)
            for rings, *position in zip(outlines(ids), lat, lon, strict=True)
        ]
        # A point between an arc and its chord may fall on the wrong side.
        assert np.mean(found) > 0.995


def test_features_are_geojson_with_the_cells_facts(towns):
    cells = build(*towns, 20, 500)
    collection = json.loads(json.dumps(to_geojson(cells)))
    assert collection["type"] == "FeatureCollection"
    assert len(collection["features"]) == len(cells)
    kinds = set()
    for row, feature in enumerate(collection["features"]):
        facts, geometry = feature["properties"], feature["geometry"]
        assert (facts["class_id"], facts["photos"]) == (row, cells.photos[row])
        assert facts["token"] == cells.tokens[row]
        assert facts["lat"] == pytest.approx(cells.lat[row], abs=1e-7)
        polygons = geometry["coordinates"]
        polygons = [polygons] if geometry["type"] == "Polygon" else polygons
        assert all(ring[0] == ring[-1] and len(ring) > 3 for (ring,) in polygons)
        kinds.add(geometry["type"])
    assert "Polygon" in kinds


def test_a_cell_across_the_antimeridian_is_a_multipolygon():
    """A face is the only cell across it: 180 is the middle of face 3 and an edge below that."""
    cells = build([0.0] * 5, [179.0] * 5, 1, 5, min_level=0)
    (feature,) = to_geojson(cells)["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    longitudes = [[point[0] for point in ring] for (ring,) in feature["geometry"]["coordinates"]]
    assert sorted((min(x), max(x)) for x in longitudes) == [(-180, -135), (135, 180)]


def test_no_cell_is_an_empty_collection():
    assert to_geojson(build([], [], 1, 5)) == {"type": "FeatureCollection", "features": []}


def test_any_cells_in_any_order_become_features():
    ids = s2.from_tokens(["b", "47a1cbd595522b39", "3"])
    collection = feature_collection(ids, [{"rank": i} for i in range(3)])
    assert [f["properties"]["rank"] for f in collection["features"]] == [0, 1, 2]
    # Face "b" lies around the south pole: its border on the map is cut at the antimeridian.
    kinds = [feature["geometry"]["type"] for feature in collection["features"]]
    assert kinds == ["MultiPolygon", "Polygon", "Polygon"]
    assert feature_collection(ids[:0], [])["features"] == []
