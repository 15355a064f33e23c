"""Maps: self-contained, escaped, forbidding every request."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from partitioning import s2
from partitioning.geodesy import haversine_km
from retrieval.mapping.map import write_map, write_overview

HOSTILE = (
    '</script><script>document.title="owned"</script><!--<script>"{{data}}'
    "<img src=x onerror=\"document.title='owned'\">' onclick=alert(1)&lt;"
)


class Page(HTMLParser):
    """What a browser would make of the file: its tags, the text of its scripts, its title."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.scripts, self.title, self.inside = [], [], "", ""
        self.policy = ""
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        self.page = json.loads(self.scripts[0])

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside == "title":
            self.title += data


@pytest.fixture
def thumbnail():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 30, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def arguments(thumbnail):
    cell = s2.cell_ids(48.85, 2.35, level=8)
    ring = s2.corners(cell)[0]
    region = {"type": "Polygon", "coordinates": [[[x, y] for y, x in [*ring, ring[0]]]]}
    token = str(s2.tokens(cell)[0])
    match = {"lat": 48.86, "lon": 2.3, "score": 0.9, "title": "A", "thumbnail": thumbnail}
    return {
        "photo_jpeg_thumbnail": thumbnail,
        "prediction": (48.85, 2.35),
        "region_geojson": region,
        "cells": [{"token": token, "probability": 0.7, "polygon": ring}],
        "matches": [match, {**match, "thumbnail": None}],
        "truth": (48.0, 2.0),
        "title": "A photo",
        "notes": ["A note."],
        "radius_km": 12.0,
    }


def test_the_page_holds_what_it_was_given(tmp_path, arguments, thumbnail):
    write_map(tmp_path / "map.html", **arguments)
    page = Page(tmp_path / "map.html").page
    assert page["prediction"] == [48.85, 2.35]
    assert page["truth"] == [48.0, 2.0]
    assert page["error_km"] == haversine_km(48.85, 2.35, 48.0, 2.0)
    assert page["region"] == arguments["region_geojson"]
    assert page["radius_km"] == 12
    assert base64.b64decode(page["photo"].removeprefix("data:image/jpeg;base64,")) == thumbnail
    assert [match["thumbnail"] is None for match in page["matches"]] == [False, True]
    assert page["matches"][0]["km"] == pytest.approx(3.8, abs=0.1)
    (ring,) = page["cells"][0]["rings"]
    np.testing.assert_allclose(ring[:4], arguments["cells"][0]["polygon"], atol=1e-6)
    assert sum(map(len, page["land"])) > 1000
    assert list(tmp_path.iterdir()) == [tmp_path / "map.html"]


def test_a_cell_draws_itself_from_its_token_and_splits_at_the_antimeridian(tmp_path, arguments):
    cells = s2.cell_ids([10.0, 48.85], [179.999, 2.35], level=3)
    arguments["cells"] = [{"token": str(t), "probability": 0.5} for t in s2.tokens(cells)]
    # A cell whose outline runs from 175 E to 175 W.
    across = np.array([[0.0, 175], [0, -175], [9, -175], [9, 175]])
    arguments["cells"].append({"token": "x", "probability": 0, "polygon": across})
    write_map(tmp_path / "map.html", **arguments)
    drawn = Page(tmp_path / "map.html").page["cells"]
    assert len(drawn[1]["rings"]) == 1
    assert len(drawn[2]["rings"]) == 2
    for cell in drawn:
        for ring in cell["rings"]:
            lon = np.array(ring)[:, 1]
            assert np.ptp(lon) < 30


def test_nothing_but_the_barest_is_needed(tmp_path, arguments):
    bare = {"photo_jpeg_thumbnail": None, "truth": None, "cells": [], "matches": [], "notes": []}
    empty = {"type": "FeatureCollection", "features": []}
    write_map(
        tmp_path / "m.html", **{**arguments, **bare, "region_geojson": empty, "radius_km": None}
    )
    page = Page(tmp_path / "m.html").page
    assert page["photo"] is page["truth"] is page["error_km"] is page["radius_km"] is None


def hostile(arguments):
    region = {"type": "Feature", "properties": {"name": HOSTILE}, "geometry": None}
    return {
        **arguments,
        "title": HOSTILE,
        "notes": [HOSTILE],
        "region_geojson": region,
        "cells": [{**arguments["cells"][0], "token": HOSTILE}],
        "matches": [{**arguments["matches"][0], "title": HOSTILE}],
    }


def test_what_users_write_stays_text(tmp_path, arguments):
    write_map(tmp_path / "plain.html", **arguments)
    write_map(tmp_path / "hostile.html", **hostile(arguments))
    plain, page = Page(tmp_path / "plain.html"), Page(tmp_path / "hostile.html")
    assert page.tags == plain.tags
    assert page.scripts[1:] == plain.scripts[1:]
    assert page.title == HOSTILE
    assert page.page["title"] == page.page["notes"][0] == page.page["cells"][0]["token"] == HOSTILE
    # html.parser is no browser: a comment opened inside a script would swallow its end there.
    assert page.text.lower().count("<script") == 4
    assert "<!--" not in page.text


def test_the_page_asks_nobody_for_anything(tmp_path, arguments):
    write_map(tmp_path / "map.html", **arguments)
    page = Page(tmp_path / "map.html")
    for tag, attributes in page.tags:
        assert not {"src", "href", "srcset", "action", "data"} & set(attributes), tag
    assert "sourceMappingURL" not in page.text
    styled, leaflet, written = page.text.partition(page.scripts[1])
    assert leaflet
    assert not re.search(r"url\(|@import", styled + written)
    addresses = {
        address
        for address in re.findall(r"https?://[\w./?=#%-]+", page.text)
        if "bug" not in address  # comments in leaflet.css
    }
    assert addresses == {"http://www.w3.org/2000/svg", "https://leafletjs.com"}
    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in page.scripts[1:]
    ]
    assert page.policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}' 'sha256-{digests[2]}'"
    )


def test_scripts_make_no_markup_of_texts(tmp_path, arguments):
    write_map(tmp_path / "map.html", **arguments)
    own = "".join(Page(tmp_path / "map.html").scripts[2:])
    assert re.findall(r"innerHTML = (\w+)", own) == ["PIN"]
    assert not re.search(r"insertAdjacent|document\.write|outerHTML|eval\(", own)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": (120.0, 2.0)}, "positions are not"),
        ({"prediction": (np.nan, 2.0)}, "positions are not"),
        ({"truth": (0.0, 400.0)}, "positions are not"),
        ({"photo_jpeg_thumbnail": b"<svg onload=x>"}, "neither JPEG"),
        ({"cells": [{"token": "x1", "probability": 1.5}]}, "probability 1.5"),
        ({"cells": [{"token": "no token", "probability": 0.5}]}, "no S2 token"),
        ({"matches": [{"lat": 0, "lon": 0, "score": np.nan, "title": ""}]}, "not JSON compliant"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, arguments, change, message):
    with pytest.raises(ValueError, match=message):
        write_map(tmp_path / "map.html", **{**arguments, **change})
    assert list(tmp_path.iterdir()) == []


def test_an_overview_sorts_by_error_and_keeps_the_unplaced(tmp_path, thumbnail):
    fixes = [
        {"title": "none", "truth": (1, 2), "prediction": None},
        {"title": "far", "truth": (0, 179), "prediction": (0, -170), "note": "cell"},
        {"title": HOSTILE, "truth": (0, 179), "prediction": (0, -179), "thumbnail": thumbnail},
    ]
    write_overview(tmp_path / "o.html", fixes, "All", ["n"])
    page = Page(tmp_path / "o.html")
    assert [fix["title"] for fix in page.page["fixes"]] == [HOSTILE, "far", "none"]
    errors = [fix["error_km"] for fix in page.page["fixes"]]
    assert errors == [haversine_km(0, 179, 0, -179), haversine_km(0, 179, 0, -170), None]
    assert page.text.lower().count("<script") == 4
    with pytest.raises(ValueError, match="at least one photo"):
        write_overview(tmp_path / "p.html", [], "none")


def rendered(path, profile):
    """The page as a headless browser leaves it, and what it wrote to its console."""
    command = "chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    command += " --disable-background-networking --disable-component-update --disable-sync"
    command += " --enable-logging=stderr --virtual-time-budget=3000 --dump-dom"
    done = subprocess.run(
        [*command.split(), f"--user-data-dir={profile}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_draws_it_and_runs_nothing_of_users(tmp_path, arguments, thumbnail):
    write_map(
        tmp_path / "map.html",
        **{
            **hostile(arguments),
            "region_geojson": {
                "type": "Feature",
                "properties": {},
                "geometry": arguments["region_geojson"],
            },
        },
    )
    fixes = [
        {"title": HOSTILE, "truth": (0, 179), "prediction": (0, -179), "thumbnail": thumbnail},
        {"title": "none", "truth": (1, 2), "prediction": None},
    ]
    write_overview(tmp_path / "overview.html", fixes, HOSTILE)
    for name in ("map.html", "overview.html"):
        dom, console = rendered(tmp_path / name, tmp_path / "profile")
        assert console == []
        title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)[1]
        assert title.startswith("&lt;/script&gt;")
        assert '<img src="x"' not in dom
        assert dom.count("<canvas") >= 1
        assert len(re.findall(r"<button", dom)) >= 3
