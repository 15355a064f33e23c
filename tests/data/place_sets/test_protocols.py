"""Benchmarks by name on tiny sets: counts that must hold, right answers by metres and by frames."""

from dataclasses import replace

import numpy as np
import pytest

from data.place_sets.frame_numbers import frame_of, read_frames
from data.place_sets.names import PlaceName
from data.place_sets.protocols import PROTOCOLS, get_place_protocol, read_protocol


@pytest.fixture
def touch(tmp_path):
    """Write empty files; only their names count here."""

    def write(folder, names):
        (tmp_path / "images" / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (tmp_path / "images" / folder / name).write_bytes(b"")
        return tmp_path

    return write


def at(east, north, zone=10, **fields):
    return str(PlaceName(east, north, zone, "S", **fields))


def small(name, database, queries):
    """A protocol with other counts."""
    protocol = get_place_protocol(name)
    return replace(protocol, counts=dict.fromkeys(protocol.counts, (database, queries)))


def test_a_set_of_other_counts_is_refused_by_both_counts(touch):
    touch("test/database", [at(0, 0), at(100, 0), "note.jpg"])
    data = touch("test/queries", [at(20, 0)])
    with pytest.raises(ValueError, match="10,000 photos of the database and 6,816 queries") as said:
        read_protocol("pitts30k", data, "test")
    for part in ("found were 2 and 1", "1 files were refused, as note.jpg", "--allow_counts"):
        assert part in str(said.value)
    allowed = read_protocol("pitts30k", data, "test", allow_counts=True)
    assert str(allowed).startswith("NOT Pitts30k (right within 25 m): Pitts30k test has 10,000")
    right = read_protocol(small("pitts30k", 2, 1), data, "test")
    assert right.protocol == "Pitts30k (right within 25 m)"
    assert right.positives.of(0).tolist() == [0]


def test_unknown_names_and_splits_list_those_there_are(touch):
    touch("test/database", [at(0, 0)])
    data = touch("test/queries", [at(20, 0)])
    with pytest.raises(
        ValueError, match=r"unknown protocol 'pitts'; there are pitts30k, pitts250k"
    ):
        read_protocol("pitts", data)
    with pytest.raises(ValueError, match="MSLS val, 740 queries is known for val, not for test"):
        read_protocol("msls_val_740", data, "test")


def test_zones_of_two_towns_never_look_near(touch):
    """San Francisco and Copenhagen at the same metres of their zones."""
    touch("val/database", [at(500, 0, 10), at(500, 5, 33)])
    data = touch("val/queries", [at(501, 0, 10), at(501, 5, 33), at(900, 0, 33)])
    places = read_protocol(small("msls_val_740", 2, 3), data)
    names = [path.name for path in places.database.paths]
    for query, path in enumerate(places.queries.paths):
        asked = PlaceName.parse(path.name)
        expected = [
            row
            for row, name in enumerate(map(PlaceName.parse, names))
            if name.utm_zone == asked.utm_zone
            and np.hypot(name.utm_east - asked.utm_east, name.utm_north - asked.utm_north) <= 25
        ]
        assert places.positives.of(query).tolist() == expected
    assert places.positives.counts.tolist() == [1, 1, 0]  # the third counts as missed


@pytest.mark.parametrize("name", ["nordland", "nordland_1", "nordland_2760", "amstertime"])
def test_right_answers_by_frames_against_a_loop(name, touch):
    protocol = get_place_protocol(name)
    rng = np.random.default_rng(0)
    database = rng.choice(400, 120, replace=False) * 1
    asked = rng.choice(40, 30, replace=False) * 10
    # One side as the benchmark's downloader names it, the other as a camera does.
    touch("test/database", [f"@0@{n * 2.381:.1f}@@@@@{n}@@@@@@@@.jpg" for n in database])
    data = touch("test/queries", [f"winter2-image-{n:05d}.png" for n in asked])
    places = read_protocol(small(name, 120, 30), data)
    assert places.unit == "frames"
    for query, path in enumerate(places.queries.paths):
        number = int(path.stem.split("-")[-1])
        right = {frame_of(places.database.paths[row].name) for row in places.positives.of(query)}
        assert right == {n for n in database.tolist() if abs(n - number) <= protocol.frames}
    assert len({len(places.positives.of(q)) for q in range(30)}) > 1


def test_frames_must_be_said_where_papers_differ(touch):
    touch("test/database", [f"Image{n:03d}.jpg" for n in range(200)])
    data = touch("test/queries", [f"Image{n:03d}.jpg" for n in range(200)])
    with pytest.raises(ValueError, match=r"papers differ.*--frames"):
        read_protocol("gardens_point", data)
    places = read_protocol("gardens_point", data, frames=3)
    assert places.positives.counts.tolist() == [4, 5, 6, *[7] * 194, 6, 5, 4]
    assert read_protocol("frames", data, frames=0).positives.counts.tolist() == [1] * 200
    with pytest.raises(ValueError, match="goes by metres"):
        read_protocol("pitts30k", data, frames=3)
    with pytest.raises(ValueError, match="0 or more"):
        read_protocol("nordland", data, frames=-2)


def test_renumbered_queries_of_nordland_are_refused(touch):
    touch("test/database", [f"{n}.jpg" for n in range(100)])
    data = touch("test/queries", [f"{n}.jpg" for n in range(10)])
    with pytest.raises(ValueError, match="are every 10th frame, numbered by the ride's own"):
        read_protocol(small("nordland_2760", 100, 10), data)


def test_numbers_of_frames(touch, tmp_path):
    assert frame_of("image-00010.png") == 10
    assert frame_of("day_2/Image042_left.jpg") == 42
    assert frame_of("@0@23.8@@@@@10@@@@@@@@.jpg") == 10
    assert frame_of("@0@23.8@.jpg") is None
    assert frame_of("@@.jpg") is None
    touch("ride", ["a7.jpg", "none.jpg", "b8.png", "c9.txt"])
    frames = read_frames(tmp_path / "images" / "ride")
    assert frames.utm_m[:, 1].tolist() == [7, 8]
    assert frames.refused == {"none.jpg": "no number of a frame in its name"}
    touch("ride", ["b7.jpg"])
    with pytest.raises(ValueError, match="both frame 7"):
        read_frames(tmp_path / "images" / "ride")
    with pytest.raises(ValueError, match="no folder"):
        read_frames(tmp_path / "nowhere")


def test_each_condition_of_svox_has_its_folder(touch):
    touch("test/gallery", [at(0, 0)])
    touch("test/queries_night", [at(1, 0), at(2, 0)])
    data = touch("test/queries_rain", [at(900, 0), at(3, 0)])
    night = read_protocol(small("svox_night", 1, 2), data)
    rain = read_protocol(small("svox_rain", 1, 2), data)
    assert night.positives.counts.tolist() == [1, 1]
    assert sorted(rain.positives.counts.tolist()) == [0, 1]
    with pytest.raises(ValueError, match="must hold one of queries_snow"):
        read_protocol("svox_snow", data)


def test_every_protocol_has_a_ground_truth():
    assert len(PROTOCOLS) == 21
    for name, protocol in PROTOCOLS.items():
        assert name == protocol.name
        assert protocol.frames is None or protocol.frames >= -1
        assert all(min(counts) > 0 for counts in protocol.counts.values())
    titles = [str(protocol) for protocol in PROTOCOLS.values()]
    assert len(set(titles)) == len(titles)  # a table's rows tell the protocols apart
