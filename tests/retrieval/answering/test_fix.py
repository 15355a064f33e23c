"""The answer as JSON: one valid object, with the region as GeoJSON."""

import json

import pytest

from partitioning import s2
from retrieval.answering.fix import CellGuess, Fix, Match


@pytest.fixture
def fix():
    """A region of three cells, one of them across the antimeridian."""
    ids = s2.cell_ids([48.8, -17.0, 10.0], [2.3, 179.99, 10.0], 6)
    ids[1] = s2.cell_ids([0.0], [180.0], 1)[0]
    cells = tuple(CellGuess(str(token), 0.3, 0.0, 0.0, 5) for token in s2.tokens(ids))
    match = Match("k", 48.8, 2.3, 0.75, "k.jpg", {"author": "Zoë </script>", "heading": 12.5})
    return Fix(48.8, 2.3, 12.0, "cell", 0.3, 0.9, True, cells, (match,), {"urban": 1.0}, ("n",))


def test_json_holds_everything_in_plain_types(fix):
    read = json.loads(fix.to_json())
    assert read == json.loads(json.dumps(fix.as_dict(), allow_nan=False))
    fields = {"lat", "lon", "radius_km", "level", "confidence", "mass", "calibrated", "cells"}
    assert set(read) == fields | {"matches", "scene", "notes", "region_geojson"}
    assert read["matches"][0]["facts"]["author"] == "Zoë </script>"
    assert read["cells"][0]["token"] == fix.cells[0].token
    assert "\n" not in fix.to_json(indent=None)


def test_region_is_the_outline_of_the_cells(fix):
    region = fix.region_geojson
    assert [f["properties"]["token"] for f in region["features"]] == [c.token for c in fix.cells]
    for feature, cell in zip(region["features"], fix.cells, strict=True):
        assert feature["properties"]["probability"] == cell.probability
        if cell is not fix.cells[1]:
            (ring,) = feature["geometry"]["coordinates"]
            assert ring[0] == ring[-1]
            corners = s2.corners(s2.from_tokens([cell.token]))[0]
            for lat, lon in corners:
                assert [pytest.approx(lon, abs=1e-6), pytest.approx(lat, abs=1e-6)] in ring
    assert fix.region_geojson is region, "drawn once"
