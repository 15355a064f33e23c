"""A night copy of a set: what turns night, names, provenance; gone on with, following the set."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from data.night import NIGHTS
from data.night_photos import NightMaker
from data.place_sets.names import PlaceName
from data.places import read_places
from setup.make_night import KINDS, main, settings_of
from setup.places.night_copy import night_name

DATABASE = "images/test/database/@500000.125@10@32@T@@@p0@@@@@@@@.jpg"
DAY = "images/test/queries/@500001@10@32@T@@@p1@@@@@@@day_wet@.jpg"
PLAIN = "images/test/queries/@500002@10@.png"
NIGHT = "images/test/queries/@500003@10@32@T@@@p3@@@@@@@night@.jpg"
TURNED_DATABASE = DATABASE.replace("@.jpg", "night_synthetic@.jpg")
TURNED_DAY = DAY.replace("day_wet", "night_synthetic_wet")
TURNED_PLAIN = "images/test/queries/@500002@10@@@@@@@@@@@@night_synthetic@.png"


@pytest.fixture
def places(tmp_path, encode, picture):
    folder = tmp_path / "set"
    for number, name in enumerate((DATABASE, DAY, PLAIN, NIGHT)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if name.endswith("png") else "JPEG"
        path.write_bytes(encode(picture(36, 48, seed=number), kind))
    (folder / "photos.csv").write_text(f"img_id,file\np0,{DATABASE}\np1,{DAY}\nelsewhere,\n")
    return folder


def run(places, *more, out="out"):
    return main(["--data", str(places), "--output", str(places.parent / out), *more])


def files(folder, end="*g"):
    found = (path for path in folder.rglob(end) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def record(places):
    return json.loads((places.parent / "out" / "provenance.json").read_text())


def test_queries_turn_night_and_the_database_stays(places, capsys):
    before, out = files(places, "*.*"), places.parent / "out"
    assert run(places, "--queries_only") == 0
    assert files(places, "*.*") == before
    assert set(files(out)) == {DATABASE, TURNED_DAY, TURNED_PLAIN, NIGHT}
    for name in (DATABASE, NIGHT):
        assert (out / name).samefile(places / name)
    assert np.asarray(Image.open(out / TURNED_DAY)).mean() < 60
    photo = np.array(Image.open(places / PLAIN).convert("RGB"))
    name = PLAIN.rpartition("/")[2]
    assert np.array_equal(np.asarray(Image.open(out / TURNED_PLAIN)),
                          NightMaker().turned(photo, name))  # fmt: skip
    said = capsys.readouterr().out
    assert "2 photos turned night, 2 as they are" in said
    assert "SYNTHETIC" in said


def test_the_copy_is_a_set_of_places_that_says_what_it_is(places):
    (places / "provenance.json").write_text('{"made_by": "me"}')
    assert run(places, "--seed", "3", "--settings", "stops=-5,-4", "lamps=0,0") == 0
    out = places.parent / "out"
    assert set(files(out)) == {TURNED_DATABASE, TURNED_DAY, TURNED_PLAIN, NIGHT}
    assert len(read_places(out, "test").queries) == 3
    found = record(places)
    assert found["done"]["synthetic"]
    assert found["done"]["light"] == "night"
    assert found["done"]["settings"] == {"lamps": [0, 0], "stops": [-5, -4]}
    assert (found["is_finished"], found["nights"], found["linked"]) == (True, 3, 1)
    assert found["source_provenance"] == {"made_by": "me"}
    rows = list(csv.DictReader((out / "photos.csv").open()))
    assert [row["file"] for row in rows] == [TURNED_DATABASE, TURNED_DAY, ""]


def test_any_folder_of_photos_keeps_its_names(tmp_path, encode, picture):
    folder = tmp_path / "photos"
    (folder / "in").mkdir(parents=True)
    for name in ("a.JPG", "in/b.webp"):
        kind = "WEBP" if name.endswith("webp") else "JPEG"
        (folder / name).write_bytes(encode(picture(30, 40), kind))
    assert run(folder) == 0
    assert set(files(tmp_path / "out", "*.*")) >= {"a.JPG", "in/b.webp"}


def test_names_keep_every_other_field_to_the_last_digit():
    name = "@1.123456@2@32@T@45.1234567890@7@pano@tile@90.0@p@r@h@2016@old@more@.jpg"
    turned = night_name(name)
    assert turned == name.replace("@old@", "@night_synthetic_old@")
    assert PlaceName.parse(turned).note.split("_")[0] == "night"
    assert night_name("photo.jpg") == "photo.jpg"
    assert night_name(night_name(name)) == turned


def test_a_stopped_run_goes_on_and_ends_alike(places, monkeypatch):
    assert run(places, out="whole") == 0
    write, done = NightMaker.write, []

    def interrupted(self, *arguments):
        if done:
            raise KeyboardInterrupt
        done.append(1)
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(NightMaker, "write", interrupted)
        assert run(places, "--workers", "1") == 130
    assert not record(places)["is_finished"]
    assert run(places) == 0
    assert files(places.parent / "out") == files(places.parent / "whole")
    monkeypatch.setattr(NightMaker, "write", None)
    assert run(places) == 0  # nothing is left to do


def test_the_copy_follows_the_set(places, encode, picture, capsys):
    assert run(places) == 0
    first = files(places.parent / "out")
    (places / DAY).write_bytes(encode(picture(36, 48, seed=9)))
    (places / PLAIN).unlink()
    (places / NIGHT).unlink()
    (places.parent / "out" / "own.jpg").write_bytes(b"not ours")
    assert run(places) == 0
    now = files(places.parent / "out")
    assert set(now) == {TURNED_DATABASE, TURNED_DAY, "own.jpg"}
    assert now[TURNED_DAY] != first[TURNED_DAY]
    assert now[TURNED_DATABASE] == first[TURNED_DATABASE]
    assert "2 files removed from it, gone from" in capsys.readouterr().out


def test_unreadable_photos_are_left_out_and_told(places, capsys):
    (places / DAY).write_bytes(b"\xff\xd8\xff no photo")
    assert run(places) == 0
    assert TURNED_DAY not in files(places.parent / "out")
    said = capsys.readouterr().out
    assert "2 photos turned night" in said
    assert "1 cannot be read" in said
    assert DAY in said
    assert list(record(places)["unreadable"]) == [DAY]


@pytest.mark.parametrize("is_gone", [False, True])
def test_what_another_put_in_the_place_of_a_photo_without_copy_stays(places, is_gone, capsys):
    (places / DAY).write_bytes(b"\xff\xd8\xff no photo")
    assert run(places) == 0
    own = places.parent / "out" / TURNED_DAY
    own.write_bytes(b"mine")
    if is_gone:
        (places / DAY).unlink()
    capsys.readouterr()
    assert run(places) == 0
    assert own.read_bytes() == b"mine"
    assert record(places)["left_alone"] == ([] if is_gone else [TURNED_DAY])
    said = "none of this copy's" if is_gone else "1 files that it did not make"
    assert said in capsys.readouterr().out


def test_a_photo_that_the_source_gains_is_not_written_over_another(places):
    assert run(places) == 0
    own = places.parent / "out" / "c.jpg"
    own.write_bytes(b"mine")
    (places / "c.jpg").write_bytes((places / DAY).read_bytes())
    assert run(places) == 0
    assert own.read_bytes() == b"mine"
    assert record(places)["left_alone"] == ["c.jpg"]


def test_what_a_killed_run_wrote_is_known(places, monkeypatch):
    """Killed after a photo was written and before it was noted as done."""
    with monkeypatch.context() as patch:
        write = NightMaker.write

        def killed(self, *arguments):
            write(self, *arguments)
            raise KeyboardInterrupt

        patch.setattr(NightMaker, "write", killed)
        assert run(places, "--workers", "1") == 130
    out = places.parent / "out"
    assert TURNED_DATABASE in files(out)
    (places / DATABASE).unlink()
    assert run(places) == 0
    assert TURNED_DATABASE not in files(out)
    assert record(places)["left_alone"] == []


def test_maps_and_masks_do_not_turn_night(places, capsys):
    (places / "seg").mkdir()
    (places / "seg" / "segmentation.json").write_text("{}")
    maps = ["seg/images/a.png", "tiles/masks/b.png"]
    for name in maps:
        (places / name).parent.mkdir(parents=True)
        Image.new("L", (8, 8), 3).save(places / name)
    assert run(places) == 0
    for name in maps:
        assert (places.parent / "out" / name).samefile(places / name)
    assert record(places)["maps"] == 2
    assert "2 files passed over, maps and masks" in capsys.readouterr().out


def test_tables_in_folders_too_name_what_is_there(places, encode, picture):
    zone = places / "zone32"
    day, broken = "images/@1@2@32@T@@@z@@@@@@@@.jpg", "images/@3@4@.jpg"
    (zone / "images").mkdir(parents=True)
    (zone / day).write_bytes(encode(picture(36, 48), "JPEG"))
    (zone / broken).write_bytes(b"\xff\xd8\xff no photo")
    (zone / "photos.csv").write_text(f"file,img_id\n{day},1\n{broken},2\n")
    (places / DAY).write_bytes(b"\xff\xd8\xff no photo")
    for _ in range(2):
        assert run(places) == 0
        out = places.parent / "out"
        rows = list(csv.DictReader((out / "zone32" / "photos.csv").open()))
        assert [row["file"] for row in rows] == [day.replace("@.jpg", "night_synthetic@.jpg"), ""]
        assert (out / "zone32" / rows[0]["file"]).is_file()
        rows = list(csv.DictReader((out / "photos.csv").open()))
        assert [row["file"] for row in rows] == [TURNED_DATABASE, "", ""]


def test_names_without_an_at_at_the_end_keep_all_fields():
    assert night_name("@1@2@32@U.jpg") == "@1@2@32@U@@@@@@@@@@night_synthetic@.jpg"
    assert night_name("@1@2.jpg") == "@1@2@@@@@@@@@@@@night_synthetic@.jpg"
    assert night_name("@1@2@id.jpg") == "@1@2@id.jpg"  # id is no zone: no name that could be kept


def test_refusals_say_what_to_do(places, capsys):
    def error(*arguments, of=places):
        assert run(of, *arguments) == 2
        return capsys.readouterr().err

    assert "has no 'blue'; it has stops" in error("--settings", "blue=1,1")
    assert "not of the form NAME=LOW,HIGH" in error("--settings", "stops=-3")
    assert "no folder" in error(of=places / "no")
    assert "no photo by day in a folder called queries" in error(
        "--queries_only", of=places / "images" / "test" / "database"
    )
    assert run(places) == 0
    assert "was begun with seed: 0" in error("--seed", "1")
    (places / DAY.replace("day_wet", "wet")).write_bytes((places / DAY).read_bytes())
    assert "would have one name by night" in error()
    with pytest.raises(ValueError, match="there twice"):
        settings_of(["stops=-3,-2", "stops=-3,-2"])


def test_the_kinds_are_those_of_the_nights():
    from retrieval.night_report import KINDS as KINDS_OF_REPORT

    assert set(KINDS) == set(KINDS_OF_REPORT) == set(NIGHTS)
