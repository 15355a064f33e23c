"""A folder of photos becomes a set of places: nothing lost, nothing shared between splits."""

import csv
import json
import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import utm
from PIL import Image

import setup.places.files
import setup.places.scan
from data.place_sets.names import PlaceName
from data.places import SPLITS, read_places
from setup.make_places import REPORT, Source, main, make_places
from setup.places.files import COLUMNS, TABLE
from setup.places.leaks import find_leaks
from setup.places.plan import Planned, PlanSettings
from setup.places.queries import drawn, newest
from setup.places.sources import SourcePhoto
from setup.places.splits import BUFFER, OTHER_SEQUENCE, districts, strips, whole_sequences
from setup.places.zones import in_zones

LAT, LON = 45.06, 7.65
BOXES = {"val": (0, 95), "test": (100, 150)}  # metres from LON
METRE_LAT, METRE_LON = 1 / 111_140, 1 / 78_700  # degrees, near enough at 45 N


def degrees(value):
    whole, rest = divmod(abs(value), 1)
    minutes, rest = divmod(rest * 60, 1)
    return (whole, minutes, rest * 60)


def gps(lat, lon, heading=None):
    tags = {1: "NS"[lat < 0], 2: degrees(lat), 3: "EW"[lon < 0], 4: degrees(lon)}
    return tags if heading is None else tags | {17: heading}


@pytest.fixture
def shoot(tmp_path, picture, encode):
    """Write a JPEG with the EXIF of where and when."""

    def write(name, lat=None, lon=None, day=None, heading=None, seed=None, kind="JPEG"):
        exif = Image.Exif()
        if lat is not None:
            exif[0x8825] = gps(lat, lon, heading)
        if day:
            exif[0x8769] = {0x9003: f"{day.replace('-', ':')} 10:00:00"}
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = sum(map(ord, name)) * 1000 + len(name) if seed is None else seed
        path.write_bytes(encode(picture(24, 32, seed), kind, exif=exif))
        return path

    return write


@pytest.fixture
def town(shoot, tmp_path):
    """A street of 40 places 30 m apart, each taken in 2019 and some again in 2022."""
    for place in range(40):
        lat, lon = LAT, LON + place * 30 * METRE_LON
        shoot(f"a/{place:03d}.jpg", lat, lon, "2019-05-01", heading=90.0)
        if place % 2:  # the folders of two days hold files of the same names
            shoot(f"b/{place:03d}.jpg", lat + 4 * METRE_LAT, lon, "2022-07-02", seed=5000 + place)
    return tmp_path / "photos"


def positions(directory):
    """Split -> metres of all of its photos, from the names on disk."""
    found = {}
    for path in directory.rglob("*.jpg"):
        name = PlaceName.parse(path.name)
        found.setdefault(path.parts[-3], []).append((name.utm_east, name.utm_north))
    return found


def test_a_folder_becomes_three_districts_that_share_nothing(town, tmp_path):
    made = make_places(Source(town), tmp_path / "set")
    found = positions(tmp_path / "set")
    assert set(found) == set(SPLITS)
    for first, second in combinations(found.values(), 2):
        assert min(math.dist(a, b) for a in first for b in second) >= 50
    counts = made.plans[""].counts()
    assert sum(counts.values()) == 60
    assert counts[BUFFER] > 0
    assert sum(map(len, found.values())) == 60 - counts[BUFFER]  # equal names hide nothing
    assert made.leaks[""].is_clean
    for split in SPLITS:  # a newer photo asks, an older one of its place answers
        places = read_places(tmp_path / "set", split)
        assert places.dropped == 0
        assert (places.positives.counts > 0).all()
        years = [PlaceName.parse(path.name).timestamp[:4] for path in places.queries.paths]
        assert set(years) == {"2022"}
        assert "2019" in {PlaceName.parse(p.name).timestamp[:4] for p in places.database.paths}
        name = PlaceName.parse(places.database.paths[0].name)
        assert (name.utm_zone, name.utm_letter, name.heading) == (32, "T", 90.0)
        assert utm.to_latlon(name.utm_east, name.utm_north, 32, "T") == pytest.approx(
            (name.lat, name.lon), abs=2e-6
        )


def test_report_and_table_tell_of_every_photo(town, tmp_path, shoot, encode, picture):
    shoot("no_gps.jpg")
    shoot("null.jpg", 0.0, 0.0)
    shoot("pole.jpg", 88.0, 3.0)
    whole = shoot("cut.jpg", LAT, LON, seed=1)
    whole.write_bytes(whole.read_bytes()[:-200])
    (town / "twin.jpg").write_bytes((town / "a" / "000.jpg").read_bytes())
    (town / "notes.jpg").write_text("no photo")
    (town / "LICENSE").write_text("not even named as one")
    made = make_places(Source(town), tmp_path / "set")
    report = json.loads((tmp_path / "set" / REPORT).read_text())
    assert report["refused"] == made.refused
    for name, why in {
        "no_gps.jpg": "no position",
        "null.jpg": "position 0, 0",
        "pole.jpg": "no UTM zone",
        "cut.jpg": "unreadable: cut.jpg: truncated",
        "notes.jpg": "unreadable: notes.jpg: not an image",
        "twin.jpg": "the same bytes as another: a/000.jpg",
    }.items():
        assert report["refused"].pop(name).startswith(why)
    assert not report["refused"]
    assert report["found"] == 66
    assert report["refused_by_reason"] == dict.fromkeys(report["refused_by_reason"], 1) | {
        "unreadable": 2
    }
    rows = list(csv.DictReader((tmp_path / "set" / TABLE).open()))
    assert tuple(rows[0]) == COLUMNS
    assert {row["img_id"] for row in rows} == {
        path.relative_to(town).as_posix() for part in "ab" for path in (town / part).iterdir()
    }
    for row in rows:
        assert bool(row["file"]) == (row["split"] in SPLITS)
        if row["file"]:
            copy = tmp_path / "set" / row["file"]
            assert copy.read_bytes() == (town / row["img_id"]).read_bytes()
    assert not (tmp_path / "set.part").exists()
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "images", "photos.csv", "report.json",
    ]  # fmt: skip


def test_a_table_gives_positions_and_its_bad_rows_are_told(shoot, tmp_path):
    lines = ["file,latitude,lng,compass_angle,captured_at,sequence,author"]
    for place in range(30):
        shoot(f"x/{place}.jpg", seed=place)
        lon = LON + place * 40 * METRE_LON
        for shot in range(2):  # two photos of each place
            name = f"x/{place}.jpg" if shot else f"y/{place}.png"
            if not shot:
                shoot(name, seed=100 + place, kind="PNG")
            lines.append(f"{name},{LAT},{lon},400,2021-03-04,s{place},ann")
    shoot("nan.jpg", seed=300)
    lines += ["nan.jpg,nan,7.6,,,,", "x/0.jpg,1,2,,,,", "gone.jpg,45,7,,,,", "swap.jpg,120,45,,,,"]
    table = tmp_path / "photos" / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    made = make_places(Source(table=table), tmp_path / "set", PlanSettings(queries="share"))
    assert made.plans[""].rule == "share"
    photos = made.plans[""].photos
    assert len(photos) == 60
    assert {(p.photo.heading, p.photo.day, p.photo.author) for p in photos} == {
        (40.0, "2021-03-04", "ann")
    }
    reasons = {name.split(": ")[-1]: why for name, why in made.refused.items()}
    assert reasons == {
        "nan.jpg": "missing", "x/0.jpg": "duplicate id", "swap.jpg": "swapped?",
        "gone.jpg": f"no such photo in {tmp_path / 'photos'}",
    }  # fmt: skip
    for path in (tmp_path / "set").rglob("*.jpg"):  # PNGs became JPEGs
        assert path.read_bytes()[:2] == b"\xff\xd8"
    name = PlaceName.parse(next((tmp_path / "set" / "images").rglob("*.jpg")).name)
    assert name.pano_id.startswith("s")
    assert name.timestamp == "20210304"


def test_a_stopped_run_goes_on_and_ends_the_same(town, tmp_path, monkeypatch):
    whole = make_places(Source(town), tmp_path / "whole", size=16)
    write, written = setup.places.files.atomic_path, Counter()

    def stop(path):
        written["files"] += 1
        if written["files"] == 20:
            raise KeyboardInterrupt
        return write(path)

    monkeypatch.setattr(setup.places.files, "atomic_path", stop)
    arguments = ["--images", str(town), "--output", str(tmp_path / "set"), "--size", "16"]
    assert main(arguments) == 130
    assert not (tmp_path / "set").exists()
    part = tmp_path / "set.part"
    there = {path: path.stat().st_mtime_ns for path in part.rglob("*.jpg")}
    assert 0 < len(there) < 60
    (part / "seen.jsonl").open("a").write('{"name": "a/0')  # as if cut in the middle of a line
    monkeypatch.setattr(setup.places.files, "atomic_path", write)
    monkeypatch.setattr(setup.places.scan, "_see", None)  # no photo is looked at again
    assert main(arguments) == 0
    files = {
        path.relative_to(tmp_path / name): path.read_bytes()
        for name in ("whole", "set")
        for path in (tmp_path / name).rglob("*.jpg")
    }
    assert len(files) == sum(1 for p in whole.plans[""].photos if p.folder)
    for path, time in there.items():
        again = tmp_path / "set" / path.relative_to(part)
        assert again.stat().st_mtime_ns == time


def test_a_run_with_other_settings_keeps_nothing_of_the_first(town, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(setup.places.files, "_write_table", full)
    arguments = ["--images", str(town), "--output", str(tmp_path / "set")]
    assert main([*arguments, "--size", "16"]) == 2
    monkeypatch.undo()
    assert main([*arguments, "--splits", "test"]) == 0
    assert set(positions(tmp_path / "set")) == {"test"}
    path = next((tmp_path / "set").rglob("*.jpg"))
    assert Image.open(path).size == (32, 24)
    assert main(arguments) == 2  # there is a set now


def test_one_town_on_a_border_is_one_zone_and_two_towns_are_two(shoot, tmp_path):
    lat, lon = np.array([47.0, 47.0, 47.0, 47.001]), np.array([11.99, 11.995, 12.01, 11.99])
    (zone,) = in_zones(lat, lon)  # zone 33 begins at 12 E
    assert zone.zone == 32
    for row, (east, north) in enumerate(zone.utm_m):
        assert (east, north) == pytest.approx(
            utm.from_latlon(lat[row], lon[row], 32, "T")[:2], abs=1e-6
        )
    (equator,) = in_zones([0.001, -0.001, -0.002], [32.6, 32.6, 32.6])
    assert np.diff(equator.utm_m[:, 1]) == pytest.approx([-221, -110.5], abs=0.5)
    assert equator.letters == ["M", "M", "M"]
    for number in range(8):
        for town, east in enumerate((7.65, 15.0)):
            place = LAT, east + number * 100 * METRE_LON
            for shot in range(2):
                shoot(f"{town}/{number}_{shot}.jpg", *place, seed=number * 10 + town * 5 + shot)
    photos, small = Source(tmp_path / "photos"), PlanSettings(splits=("test",))
    with pytest.raises(ValueError, match=r"32 \(16 photos\), 33 \(16 photos\).*--by_zone"):
        make_places(photos, tmp_path / "set", small)
    shoot("alone.jpg", 45.0, 60.0, seed=999)
    made = make_places(photos, tmp_path / "set", small, by_zone=True)
    assert list(made.plans) == ["zone32", "zone33"]
    assert made.refused == {"alone.jpg": "too few photos in UTM zone 41"}
    assert len(read_places(tmp_path / "set" / "zone33").queries) == 3


def test_errors_name_the_way_out(shoot, tmp_path, capsys):
    def run(*arguments):
        status = main([*arguments, "--output", str(tmp_path / "set")])
        return status, capsys.readouterr().err

    photos = tmp_path / "photos"
    assert "error: give a folder of photos (--images)" in run()[1]
    assert f"no folder {photos}" in run("--images", str(photos))[1]
    photos.mkdir()
    assert "no photo (.jpg, .jpeg, .png, .webp)" in run("--images", str(photos))[1]
    shoot("a.jpg")
    assert "none of 1 photos can be used: a.jpg: no position" in run("--images", str(photos))[1]
    for number in range(4):
        shoot(f"{number}.jpg", LAT, LON + number * METRE_LON, seed=number)
    status, said = run("--images", str(photos))
    assert status == 2
    assert "fewer splits (--splits test), a smaller --buffer_m" in said
    assert (
        "--buffer_m 20 must be more than the 25 m"
        in run("--images", str(photos), "--buffer_m", "20")[1]
    )
    assert "both must lie between" in run("--images", str(photos), "--val_share", "0.9")[1]
    assert "west,south,east,north" in run("--images", str(photos), "--val_area", "1,2,3")[1]
    assert "--test_area is missing" in run("--images", str(photos), "--val_area", "1,2,3,4")[1]
    assert "its files would be taken for photos" in run("--images", str(tmp_path))[1]
    assert not (tmp_path / "set").exists()


def test_who_asks_may_be_said(town, tmp_path):
    by_folder = make_places(
        Source(town / "a", query_folder=town / "b"), tmp_path / "one", PlanSettings(("test",))
    )
    assert by_folder.plans[""].rule == "given"
    assert by_folder.plans[""].counts() == {"test/database": 40, "test/queries": 20}
    inside = make_places(
        Source(town, query_folder=town / "b"), tmp_path / "two", PlanSettings(("test",))
    )
    assert inside.plans[""].counts() == {"test/database": 40, "test/queries": 20}
    lines = [
        f"a/{i:03d}.jpg,{LAT},{LON + i * 30 * METRE_LON},{'query' * (i % 4 == 0)}"
        for i in range(40)
    ]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["id,lat,lon,asks", *lines]))
    source = Source(town, table, query_column="asks")
    by_column = make_places(source, tmp_path / "three", PlanSettings(("test",)))
    assert by_column.plans[""].counts() == {"test/database": 50, "test/queries": 10}
    with pytest.raises(ValueError, match="no column ask; found id, lat, lon, asks"):
        make_places(Source(town, table, query_column="ask"), tmp_path / "four")


def test_districts_drawn_in_degrees(town, tmp_path):
    west, east = LON + 310 * METRE_LON, LON + 710 * METRE_LON
    areas = {"val": (LON - 1, LAT - 1, west, LAT + 1), "test": (east, LAT - 1, LON + 1, LAT + 1)}
    arguments = ["--images", str(town), "--output", str(tmp_path / "set")]
    for split, area in areas.items():
        arguments += [f"--{split}_area", ",".join(map(str, area))]
    assert main(arguments) == 0
    for path in (tmp_path / "set").rglob("*.jpg"):
        split, lon = path.parts[-3], PlaceName.parse(path.name).lon
        assert split == ("val" if lon <= west else "test" if lon >= east else "train")
    found = positions(tmp_path / "set")
    for first, second in combinations(found.values(), 2):
        assert min(math.dist(a, b) for a in first for b in second) >= 50


def test_strips_have_their_shares_and_cross_the_longer_side():
    rng = np.random.default_rng(0)
    utm_m = rng.uniform((0, 0), (400, 2000), (3000, 2))
    utm_m[0] = (900_000, 0)  # a photo lost far away does not turn the strips
    names = strips(utm_m, {"train": 0.6, "val": 0.2, "test": 0.2}, 50.0)
    counts = Counter(names)
    assert counts["train"] == pytest.approx(1800, abs=120)
    assert counts["val"] == pytest.approx(600, abs=160)
    assert counts[BUFFER] == pytest.approx(3000 * 2 * 50 / 2000, rel=0.3)
    north = {name: utm_m[names == name, 1] for name in ("train", "val", "test")}
    assert north["val"].min() - north["train"].max() >= 50
    assert north["test"].min() - north["val"].max() >= 50


def test_a_cut_takes_the_gap_beside_it():
    """Half of the photos end at 1,000 m; a field of 80 m lies at 46% of them."""
    east = np.concatenate([np.linspace(0, 920, 460), np.linspace(1000, 2080, 540)])
    utm_m = np.stack([east, np.zeros(1000)], axis=1)
    names = strips(utm_m, {"val": 0.49, "test": 0.51}, 60.0)
    assert Counter(names) == {"val": 460, "test": 540}
    far = strips(utm_m, {"val": 0.7, "test": 0.3}, 60.0)
    assert Counter(far)[BUFFER] == pytest.approx(30, abs=2)  # no gap there: 2 m apart


def test_rectangles_nearer_than_the_buffer_keep_apart():
    metres = np.arange(2.5, 200, 5)
    lon = LON + metres * METRE_LON
    edges = {name: LON + np.array(ends) * METRE_LON for name, ends in BOXES.items()}
    boxes = {name: (ends[0], LAT - 1, ends[1], LAT + 1) for name, ends in edges.items()}
    names = districts(np.full(len(lon), LAT), lon, boxes, "train", 30.0)
    for x, name in zip(metres, names, strict=True):
        apart = {box: max(low - x, x - high, 0) for box, (low, high) in BOXES.items()}
        inside = [box for box, distance in apart.items() if distance == 0]
        near = [box for box, distance in apart.items() if distance < 30]
        assert name == ("train" if not near else inside[0] if near == inside else BUFFER), x


def test_a_sequence_stays_where_most_of_it_is():
    names = np.array(["train", "train", "val", BUFFER, "test", "val"], object)
    kept = whole_sequences(names, ["s", "s", "s", "s", "", "t"], SPLITS)
    assert kept.tolist() == ["train", "train", OTHER_SEQUENCE, BUFFER, "test", "val"]


@pytest.mark.parametrize("rule", ["newest_year", "newest_date"])
def test_the_newest_of_a_place_ask(rule):
    rng = np.random.default_rng(3)
    utm_m = rng.uniform(0, 200, (120, 2))
    days = [f"20{rng.integers(18, 21)}-0{rng.integers(1, 4)}-11" for _ in utm_m]
    days[:6] = ["", "2019", "2030", "2019-02", "2030-01", ""]
    asks = newest(utm_m, days, 25.0, rule)
    length = 4 if rule == "newest_year" else 10
    for row, day in enumerate(days):
        near = [
            days[other][:length]
            for other in range(len(days))
            if other != row
            and math.dist(utm_m[row], utm_m[other]) <= 25
            and len(days[other]) >= length
        ]
        own = day[:length]
        expected = len(own) == length and any(d < own for d in near) and all(d <= own for d in near)
        assert asks[row] == expected
    for row in np.flatnonzero(asks):
        answered = np.hypot(*(utm_m - utm_m[row]).T) <= 25
        assert (answered & ~asks).any()


def test_a_drawn_share_leaves_every_query_an_answer():
    rng = np.random.default_rng(4)
    utm_m = rng.uniform(0, 300, (150, 2))
    names = [f"{row}" for row in range(150)]
    asks = drawn(utm_m, names, 25.0, 0.3, seed=0)
    assert asks.sum() == 45
    for row in np.flatnonzero(asks):
        near = np.hypot(*(utm_m - utm_m[row]).T) <= 25
        assert (near & ~asks).any()
    order = rng.permutation(150)  # the order of the photos decides nothing
    again = drawn(utm_m[order], [names[row] for row in order], 25.0, 0.3, seed=0)
    assert (again == asks[order]).all()
    assert (drawn(utm_m, names, 25.0, 0.3, seed=1) != asks).any()
    crowd = drawn(np.zeros((4, 2)), names[:4], 25.0, 0.9, seed=0)
    assert crowd.sum() == 3


def test_the_leak_check_finds_leaks(tmp_path):
    def placed(split, part, east, sha256, sequence=""):
        name = str(PlaceName(500_000.0 + east, 4_990_000.0, 32, "T", tile=sha256))
        folder = tmp_path / "images" / split / part
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
        photo = SourcePhoto(tmp_path, sha256, sequence=sequence)
        return Planned(photo, sha256, split, part == "queries", name, (east, 0.0))

    clean = [
        placed("train", "database", 0, "a", "s"), placed("train", "queries", 5, "b", "s"),
        placed("val", "database", 100, "c"), placed("val", "queries", 110, "d"),
    ]  # fmt: skip
    leaks = find_leaks(tmp_path, clean, 25.0)
    assert leaks.is_clean
    assert leaks.nearest_m == {"train-val": 95.0}
    leaky = [
        *clean, placed("val", "queries", 29, "e", "s"), placed("val", "database", 200, "a"),
    ]  # fmt: skip
    leaks = find_leaks(tmp_path, leaky, 25.0)
    assert not leaks.is_clean
    assert (leaks.near, leaks.same_bytes, leaks.sequences) == ({"train-val": 1}, 1, 1)
    assert "1 photos within 25 m of another split's, 1 in two splits, 1 sequences" in str(leaks)
    gone = Planned(clean[0].photo, "z", "train", False, "@1@2@.jpg", (0.0, 0.0))
    assert find_leaks(tmp_path, [*clean, gone], 25.0).misplaced == 1
