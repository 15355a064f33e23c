"""Sets of places on disk: who shows a query's place, what is dropped, what is refused."""

import math

import numpy as np
import pytest

from data.place_sets.names import PlaceName
from data.places import Photos, Places, read_photos, read_places


def photos(*positions, zone=32):
    utm = np.array(positions, float).reshape(-1, 2)
    return Photos([None] * len(utm), utm, np.full(len(utm), zone))


@pytest.fixture
def write_set(tmp_path, jpeg):
    """Write empty-handed files: only their names count here."""

    def write(split, database, queries, folder="database", images=True, zone=32):
        root = tmp_path / ("images" if images else "") / split
        for name, positions in ((folder, database), ("queries", queries)):
            (root / name).mkdir(parents=True)
            for number, (east, north) in enumerate(positions):
                place = PlaceName(east, north, zone, "T", note=str(number))
                (root / name / str(place)).write_bytes(b"")
        return tmp_path

    return write


DATABASE = [(395000.0, 4991000.0), (395030.0, 4991000.0), (395000.0, 4991100.0)]
QUERIES = [(395008.0, 4991000.0), (395015.0, 4991000.0), (395000.0, 4991060.0)]


@pytest.mark.parametrize(("folder", "images"), [("database", True), ("gallery", False)])
def test_positives_are_those_within_the_radius(write_set, folder, images):
    places = read_places(write_set("test", DATABASE, QUERIES, folder, images))
    for i, query in enumerate(places.queries.utm_m):
        near = [j for j, point in enumerate(places.database.utm_m) if math.dist(query, point) <= 25]
        assert places.positives.of(i).tolist() == near
    assert sorted(places.positives.counts) == [0, 2, 2]
    assert (places.radius_m, places.dropped) == (25.0, 0)
    assert "1 queries without a positive" in str(places)


def test_training_takes_ten_metres_and_drops_queries_without_a_positive(write_set):
    places = read_places(write_set("train", DATABASE, QUERIES), "train")
    assert places.radius_m == 10.0
    assert len(places.queries) == 1
    assert places.dropped == 2
    assert places.queries.utm_m[0].tolist() == [395008.0, 4991000.0]
    assert places.positives.counts.tolist() == [1]
    assert "2 queries dropped: none within 10 m" in str(places)


def test_names_without_a_position_are_counted_by_name(write_set):
    folder = write_set("test", DATABASE, QUERIES)
    (folder / "images/test/database/holiday.jpg").write_bytes(b"")
    (folder / "images/test/database/@x@y@.jpg").write_bytes(b"")
    (folder / "images/test/database/notes.txt").write_text("not a photo")
    found = read_photos(folder / "images/test/database")
    assert len(found) == 3
    assert set(found.refused) == {"holiday.jpg", "@x@y@.jpg"}
    assert "not named @UTM_east" in found.refused["holiday.jpg"]


def test_several_zones_are_refused():
    with pytest.raises(ValueError, match=r"zones 31 \(1 photos\), 32 \(2 photos\)"):
        Places.of(photos((0, 0), (5, 5)), photos((0, 0), zone=31))
    assert Places.of(photos((0, 0), zone=0), photos((0, 0))).positives.counts.tolist() == [1]


def test_empty_sides_and_far_apart_sides_are_refused(write_set, tmp_path):
    with pytest.raises(ValueError, match="the database has no photo"):
        Places.of(photos(), photos((0, 0)))
    with pytest.raises(ValueError, match="the queries has no photo"):
        Places.of(photos((0, 0)), photos())
    with pytest.raises(ValueError, match="no query has a photo of the database within 25 m"):
        Places.of(photos((0, 0)), photos((100, 0)))
    with pytest.raises(ValueError, match=r"`python -m setup.make_toy_city` makes a synthetic one"):
        read_places(tmp_path / "nowhere")
    folder = write_set("test", DATABASE, [])
    with pytest.raises(ValueError, match=r"images/test: the queries has no photo"):
        read_places(folder)
    (folder / "images/test/gallery").mkdir()
    with pytest.raises(ValueError, match="one of database and gallery; it holds database and gal"):
        read_places(folder)
    with pytest.raises(ValueError, match="split must be one of train, val, test"):
        read_places(folder, "tests")


def test_only_bad_names_say_why(write_set):
    folder = write_set("test", [], QUERIES)
    (folder / "images/test/database/a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 were refused: a\.jpg: not named"):
        read_places(folder)
