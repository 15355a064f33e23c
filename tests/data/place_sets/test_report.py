"""The page on a set of places: its figures against loops, its pictures, its warnings."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from data.place_sets.measures import measure_places
from data.place_sets.names import PlaceName
from data.place_sets.plots import COLOURS, answer_of
from data.place_sets.report import markdown
from data.places import main


@pytest.fixture
def write_set(tmp_path, jpeg):
    """Write `(split, part, east, north, fields)` with photos of their own."""

    def write(photos):
        for number, (split, part, east, north, fields) in enumerate(photos):
            folder = tmp_path / "town" / "images" / split / part
            folder.mkdir(parents=True, exist_ok=True)
            name = PlaceName(east, north, 32, "T", tile=str(number), **fields)
            (folder / str(name)).write_bytes(jpeg(24 + 8 * (number % 2), 32, number))
        return tmp_path / "town"

    return write


@pytest.fixture
def town(write_set):
    rng = np.random.default_rng(0)
    photos = []
    for split, corner in (("train", 0), ("val", 400), ("test", 900)):
        for part, count in (("database", 20), ("queries", 6)):
            for number in range(count):
                east, north = (
                    np.round(corner + rng.uniform(0, 150), 2),
                    np.round(rng.uniform(0, 90), 2),
                )
                year = {"database": "2019", "queries": "202"}[part] + "1" * (part == "queries")
                fields = {"heading": float(90 * (number % 4)), "timestamp": f"{year}0501"}
                photos.append(
                    (split, part, east, north, fields | {"note": ["day", "night"][number % 2]})
                )
    return write_set(photos)


def names_of(town, split, part):
    folder = town / "images" / split / part
    return [PlaceName.parse(path.name) for path in sorted(folder.iterdir())]


def test_figures_against_loops(town):
    measures = measure_places(town, on_photo=lambda: None)
    assert list(measures.splits) == ["train", "val", "test"]
    for split, measured in measures.splits.items():
        database, queries = (names_of(town, split, part) for part in ("database", "queries"))
        radius_m = 10 if split == "train" else 25
        apart = [
            [math.hypot(q.utm_east - d.utm_east, q.utm_north - d.utm_north) for d in database]
            for q in queries
        ]
        np.testing.assert_allclose(measured.nearest_m, [min(row) for row in apart])
        positives = [sum(m <= radius_m for m in row) for row in apart]
        assert measured.positives.tolist() == positives
        plain = measured.plain()
        assert plain["queries_without_positive"] == positives.count(0)
        hectares = {(n.utm_east // 100, n.utm_north // 100) for n in database + queries}
        assert plain["area_km2"] == pytest.approx(len(hectares) / 100)
        assert plain["photos_per_km2"] == pytest.approx(26 / len(hectares) * 100, abs=0.1)
        places = {(n.utm_east // 25, n.utm_north // 25) for n in database}
        assert plain["places"] == len(places)
        assert plain["years"] == {"2019": [20, 0], "2021": [0, 6]}
        assert plain["query_notes"] == {"day": 3, "night": 3}
        assert plain["with_heading"] == 26
        assert plain["sizes_px"] == {"32 x 24": 13, "32 x 32": 13}
        for query in np.flatnonzero(measured.positives):
            path, metres = answer_of(measured, int(query))
            answer, asked = PlaceName.parse(path.name), queries[query]
            right = [d for d, m in zip(database, apart[query], strict=True) if m <= radius_m]
            assert answer in right
            assert metres == pytest.approx(apart[query][database.index(answer)])
            if any(d.heading == asked.heading for d in right):
                assert answer.heading == asked.heading
    both = [names_of(town, s, "database") + names_of(town, s, "queries") for s in ("train", "test")]
    nearest = min(
        math.hypot(a.utm_east - b.utm_east, a.utm_north - b.utm_north)
        for a in both[0]
        for b in both[1]
    )
    assert measures.apart_m["train-test"] == pytest.approx(nearest, abs=0.01)


def test_the_page_and_its_pictures(town, tmp_path, capsys):
    lost = town / "images" / "test" / "queries" / "holiday.jpg"
    lost.write_bytes(b"")
    damaged = next((town / "images" / "val" / "database").iterdir())
    damaged.write_bytes(b"no photo")
    assert main(["report", str(town), "--output", str(tmp_path / "page")]) == 0
    said = capsys.readouterr().out
    assert "train: 20 database photos, 6 queries, " in said
    page = (tmp_path / "page" / "report.md").read_text()
    assert "**without a position**: holiday.jpg: not named @UTM_east" in page
    assert f"**cannot be read**: {damaged.name}: not an image" in page
    assert "Nearest photos of two splits: train-val " in page
    report = json.loads((tmp_path / "page" / "report.json").read_text())
    assert report["splits"]["test"]["queries"] == 6
    drawn = np.asarray(Image.open(tmp_path / "page" / "map.png").convert("RGB")).reshape(-1, 3)
    for colour in COLOURS.values():  # every split is on the map
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(drawn - rgb).max(axis=1) < 4).sum() > 50
    for name in ("distances.png", "samples.png"):
        assert f"]({name})" in page
        assert Image.open(tmp_path / "page" / name).width > 300


def test_splits_that_share_places_are_warned_of(write_set):
    photos = [("train", "database", 0, 0), ("train", "queries", 5, 0)]
    photos += [("test", "database", 29, 0), ("test", "queries", 200, 0)]
    town = write_set([(*photo, {}) for photo in photos])
    page = markdown(measure_places(town, on_photo=lambda: None))
    assert "**train-test share places: a test would be passed by heart.**" in page
    assert "| **queries without a positive** | 0 | 1 |" in page
    assert "years (database + queries): unknown: 1 + 1" in page


def test_errors_say_what_is_missing(write_set, tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "error: no folder" in capsys.readouterr().err
    town = write_set([("test", "database", 0, 0, {})])
    (town / "images/test/queries").mkdir()
    assert main(["report", str(town)]) == 2
    assert (
        "no photo of known position in the queries: the folder is empty" in capsys.readouterr().err
    )
