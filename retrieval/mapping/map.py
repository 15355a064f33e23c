"""A fix, or many, drawn as one HTML file that opens from disk and asks nobody for anything.

Everything is inside: Leaflet 1.9.4 (https://leafletjs.com, BSD-2, vendored in
retrieval/mapping/leaflet), the land outlines of Natural Earth, the photos as data URLs. A content
security policy in the page forbids the browser every request and every script but those written
here, by their hashes (https://www.w3.org/TR/CSP3/), so that a title full of markup stays a title.
The page is map.html, what it does basemap.js and map.js.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partitioning import s2
from partitioning.antimeridian import map_rings
from partitioning.atomic_file import atomic_path
from partitioning.coastline import land_polygons
from partitioning.geodesy import check_positions, haversine_km
from partitioning.geojson import outlines

ROOM = Path(__file__).parent
SIGNATURES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"RIFF": "webp"}

Position = tuple[float, float]


def write_map(
    path: Path | str,
    photo_jpeg_thumbnail: bytes | None,
    prediction: Position,
    region_geojson: Mapping[str, Any],
    cells: Sequence[Mapping[str, Any]],
    matches: Sequence[Mapping[str, Any]],
    truth: Position | None,
    title: str,
    notes: Sequence[str],
    radius_km: float | None = None,
) -> None:
    """Write the map of one fix.

    Args:
        path: of the HTML file, replaced atomically.
        photo_jpeg_thumbnail: the photo as JPEG, PNG or WebP, some 400 px wide; None for none.
        prediction: (lat, lon) in degrees.
        region_geojson: the region, any GeoJSON object; drawn as an outline.
        cells: token, probability and, where the outline is known already, polygon (N, 2) of
            (lat, lon) in degrees, which may cross the antimeridian.
        matches: lat, lon, score, title and thumbnail (bytes or None) of gallery photos, best
            first.
        truth: (lat, lon) in degrees; None where it is not known.
        title: of the page, any text.
        notes: sentences for the reader, any text.
        radius_km: drawn as a circle around the prediction; None for none.

    Raises:
        ValueError: a position or probability that is none, or a thumbnail that is not an image.
    """
    at = _position(prediction)
    known = None if truth is None else _position(truth)
    page = {
        "kind": "fix",
        "photo": _data_url(photo_jpeg_thumbnail),
        "prediction": at,
        "radius_km": radius_km,
        "region": region_geojson,
        "cells": [_drawn_cell(cell) for cell in cells],
        "matches": [_drawn_match(match, at) for match in matches],
        "truth": known,
        "error_km": None if known is None else float(haversine_km(*at, *known)),
    }
    _write(path, title, notes, page)


def write_overview(
    path: Path | str, fixes: Sequence[Mapping[str, Any]], title: str, notes: Sequence[str] = ()
) -> None:
    """Write one map of many photos: a line from each truth to its prediction, coloured by error.

    Args:
        path: of the HTML file, replaced atomically.
        fixes: per photo title, truth (lat, lon), prediction (lat, lon) or None where it was not
            placed; optionally thumbnail (bytes or None) and note, a sentence.
        title: of the page, any text.
        notes: sentences for the reader, any text.

    Raises:
        ValueError: no fix, a position that is none, or a thumbnail that is not an image.
    """
    if not fixes:
        raise ValueError("an overview needs at least one photo")
    drawn = sorted((_drawn_fix(fix) for fix in fixes), key=_error_or_infinity)
    _write(path, title, notes, {"kind": "overview", "fixes": drawn})


def _drawn_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    probability = float(cell["probability"])
    if not 0 <= probability <= 1:
        raise ValueError(f"cell {cell['token']} has probability {probability}")
    if cell.get("polygon") is None:
        (rings,) = outlines(s2.from_tokens([cell["token"]]))
    else:
        polygon = np.asarray(cell["polygon"], np.float64)
        check_positions(polygon[:, 0], polygon[:, 1])
        rings = map_rings(polygon)
    rounded = [np.round(ring, 6).tolist() for ring in rings]
    return {"token": str(cell["token"]), "probability": probability, "rings": rounded}


def _drawn_match(match: Mapping[str, Any], prediction: list[float]) -> dict[str, Any]:
    at = _position((match["lat"], match["lon"]))
    return {
        "lat": at[0],
        "lon": at[1],
        "score": float(match["score"]),
        "title": str(match["title"]),
        "thumbnail": _data_url(match.get("thumbnail")),
        "km": float(haversine_km(*prediction, *at)),
    }


def _drawn_fix(fix: Mapping[str, Any]) -> dict[str, Any]:
    truth = _position(fix["truth"])
    placed = None if fix["prediction"] is None else _position(fix["prediction"])
    return {
        "title": str(fix["title"]),
        "note": str(fix.get("note") or ""),
        "thumbnail": _data_url(fix.get("thumbnail")),
        "truth": truth,
        "prediction": placed,
        "error_km": None if placed is None else float(haversine_km(*truth, *placed)),
    }


def _error_or_infinity(fix: Mapping[str, Any]) -> float:
    return float("inf") if fix["error_km"] is None else fix["error_km"]


def _position(position: Sequence[float]) -> list[float]:
    lat, lon = float(position[0]), float(position[1])
    check_positions(np.array([lat]), np.array([lon]))
    return [lat, lon]


def _data_url(image: bytes | None) -> str | None:
    if image is None:
        return None
    for signature, kind in SIGNATURES.items():
        if image.startswith(signature):
            return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
    raise ValueError(f"a thumbnail of {len(image)} bytes is neither JPEG, PNG nor WebP")


def _write(path: Path | str, title: str, notes: Sequence[str], page: dict[str, Any]) -> None:
    """Fill the template and write it."""
    land = [np.round(ring, 2).tolist() for ring in land_polygons()]
    page = {**page, "title": title, "notes": list(notes), "land": land}
    # Leaflet's own images are not used, nor is its source map: no name of a file is left.
    leaflet_js = (ROOM / "leaflet" / "leaflet.js").read_text()
    leaflet_js = leaflet_js.replace("//# sourceMappingURL=leaflet.js.map", "")
    leaflet_css = re.sub(r"url\([^)]*\)", "none", (ROOM / "leaflet" / "leaflet.css").read_text())
    basemap_js, map_js = ((ROOM / name).read_text() for name in ("basemap.js", "map.js"))
    parts = {
        "title": html.escape(title),
        "policy": _policy(leaflet_js, basemap_js, map_js),
        "leaflet_css": leaflet_css,
        "leaflet_js": leaflet_js,
        "basemap_js": basemap_js,
        "map_js": map_js,
        "data": _json_in_html(page),
    }
    template = (ROOM / "map.html").read_text()
    # One pass: what is filled in is never searched for names again.
    filled = re.sub(r"\{\{(\w+)\}\}", lambda name: parts[name[1]], template)
    with atomic_path(path) as temporary:
        temporary.write_text(filled, encoding="utf-8")


def _policy(*scripts: str) -> str:
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"


def _json_in_html(page: dict[str, Any]) -> str:
    """JSON that no `</script>` or `<!--` in a text can end."""
    text = json.dumps(page, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
