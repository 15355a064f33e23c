"""A training set with another added: who asks, who answers, who is left out."""

import numpy as np
import pytest

from data.place_sets.joined_places import joined_places, read_training_places
from data.place_sets.names import PlaceName
from data.places import read_places


def write(root, database, queries, note="", zone=32):
    """A training split with photos at these metres east."""
    for part, places in (("database", database), ("queries", queries)):
        folder = root / "images" / "train" / part
        folder.mkdir(parents=True)
        for east in places:
            (folder / str(PlaceName(east, 0.0, zone, note=note))).write_bytes(b"")
    return root


@pytest.fixture
def day(tmp_path):
    return write(tmp_path / "day", [0, 100, 200], [1, 101, 500], "day")


@pytest.fixture
def night(tmp_path):
    return write(tmp_path / "night", [0, 100, 300], [2, 102, 301], "night")


def notes(photos):
    return [PlaceName.parse(path.name).note for path in photos.paths]


@pytest.mark.parametrize("to", ["queries", "database", "both"])
def test_positives_are_those_of_a_loop_over_both(day, night, to):
    joined = read_training_places(day, night, to, 10.0)
    sets = [read_places(d, "train", 10.0, drop_without_positive=False) for d in (day, night)]
    database = [(p, x) for i, s in enumerate(sets) if i == 0 or to != "queries"
                for p, x in zip(s.database.paths, s.database.utm_m[:, 0], strict=True)]  # fmt: skip
    asked = [(p, x) for i, s in enumerate(sets) if i == 0 or to != "database"
             for p, x in zip(s.queries.paths, s.queries.utm_m[:, 0], strict=True)]  # fmt: skip
    kept = [(p, x) for p, x in asked if any(abs(x - y) <= 10 for _, y in database)]
    assert joined.database.paths == [path for path, _ in database]
    assert joined.queries.paths == [path for path, _ in kept]
    assert joined.dropped == len(asked) - len(kept)
    for query, (_, x) in enumerate(kept):
        near = [row for row, (_, y) in enumerate(database) if abs(x - y) <= 10]
        assert sorted(joined.positives.of(query)) == near


def test_a_night_query_has_day_photos_as_positives(day, night):
    joined = read_training_places(day, night)
    assert notes(joined.queries) == ["day", "day", "night", "night"]
    assert set(notes(joined.database)) == {"day"}
    assert joined.dropped == 2  # 500 and, without the night's database, 301


def test_nothing_added_is_the_set_itself(day):
    alone, plain = read_training_places(day, radius_m=10.0), read_places(day, "train", 10.0)
    assert alone.queries.paths == plain.queries.paths
    assert alone.dropped == plain.dropped == 1
    np.testing.assert_array_equal(alone.positives.counts, plain.positives.counts)


def test_sets_that_do_not_go_together_are_refused(day, night, tmp_path):
    with pytest.raises(ValueError, match="is in both sets"):
        read_training_places(day, day)
    with pytest.raises(ValueError, match="UTM zones"):
        read_training_places(day, write(tmp_path / "other", [0], [1], zone=33))
    with pytest.raises(ValueError, match="no folder"):
        read_training_places(day, tmp_path / "nothing")
    places = [read_places(d, "train") for d in (day, night)]
    with pytest.raises(ValueError, match="queries, database, both, got 'all'"):
        joined_places(*places, "all")
