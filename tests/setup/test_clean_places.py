"""Cleaning: what goes and why, nothing lost in the source, stopped and gone on with."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

from data.photos.journal import stamp_of
from data.seg_maps.classes import SegClasses
from data.seg_maps.png import encode_seg
from data.seg_maps.stored_maps import write_classes
from models.building.model import ShareRegressor, save_share_model
from models.building.sources import MapShares
from models.segmentation.segmenter import Segmenter
from setup.clean_places import main
from setup.places.cleaning_report import Judged, as_markdown
from setup.places.linked_copy import PlacesCopy

os.environ.setdefault("HF_HUB_OFFLINE", "1")
CLASSES = SegClasses(("sky", "building"), ((0, 0, 255), (9, 9, 9)), "truth")
SHARES = {"a": 0.0, "b": 0.01, "c": 0.025, "d": 0.05, "e": 0.9}


@pytest.fixture
def places(tmp_path, encode, picture):
    """Five photos of known shares, one that cannot be read, a table; their maps."""
    folder, maps = tmp_path / "set", tmp_path / "maps"
    (folder / "images" / "train").mkdir(parents=True)
    (maps / "images" / "train").mkdir(parents=True)
    write_classes(maps, CLASSES)
    for name, share in SHARES.items():
        (folder / "images" / "train" / f"{name}.jpg").write_bytes(encode(picture(20, 50)))
        seg = np.zeros(1000, np.uint8)
        seg[: round(1000 * share)] = 1
        path = maps / "images" / "train" / f"{name}.png"
        path.write_bytes(encode_seg(seg.reshape(20, 50), CLASSES))
    (folder / "images" / "train" / "x.jpg").write_bytes(b"\xff\xd8\xff no photo")
    (folder / "photos.csv").write_text("a table")
    return folder


@pytest.fixture
def no_plot(monkeypatch):
    """Leave the histogram out: matplotlib takes a second."""
    monkeypatch.setattr("setup.places.cleaning_report.draw_histogram", lambda *_: None)


def run(places, *more):
    arguments = ["--data", str(places), "--output", str(places.parent / "clean"), *more]
    return main([*arguments, "--device", "cpu"])


def by_maps(places, *more):
    return run(places, "--maps", str(places.parent / "maps"), *more)


def names(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def contents(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.*")}


@pytest.mark.usefixtures("no_plot")
def test_what_shows_few_buildings_goes_and_the_source_stays(places, capsys):
    before = contents(places)
    assert by_maps(places) == 0
    assert contents(places) == before
    clean = places.parent / "clean"
    staying = [f"images/train/{name}.jpg" for name, share in SHARES.items() if share >= 0.025]
    assert names(clean) == sorted(["copied.jsonl", *staying, "photos.csv", "provenance.json"])
    for name in staying:
        assert (clean / name).samefile(places / name)
    assert not (clean / "photos.csv").samefile(places / "photos.csv")
    assert "3 of 6 photos stay, 3 go (1 of them cannot be judged)" in capsys.readouterr().out
    provenance = json.loads((clean / "provenance.json").read_text())
    assert provenance["copy_of"] == str(places)
    assert (provenance["is_finished"], provenance["photos"], provenance["left_out"]) == (True, 3, 3)


def test_the_report_says_what_goes_and_why(places):
    assert by_maps(places) == 0
    report = places.parent / "clean.report"
    assert {"report.md", "shares.csv", "histogram.png", "borderline.png"} <= set(names(report))
    rows = list(csv.DictReader((report / "shares.csv").open()))
    assert [row["stays"] for row in rows] == ["0", "0", "1", "1", "1", "0"]
    assert [row["share"] for row in rows][:3] == ["0.00000", "0.01000", "0.02500"]
    assert rows[1]["reason"] == "buildings 1.00%, less than 2.50%"
    assert rows[5]["reason"].startswith("cannot be judged: ")
    text = (report / "report.md").read_text()
    assert "Of 6 photos 3 stay and 3 go: 2 show too few buildings, 1 cannot be judged" in text
    assert "| images/train | 6 | 3 | 3 |" in text
    assert "| 5.00% | 2 | 3 |" in text
    assert Image.open(report / "borderline.png").size[0] > 1000


@pytest.mark.usefixtures("no_plot")
def test_a_dry_run_copies_nothing(places):
    assert by_maps(places, "--dry_run") == 0
    assert not (places.parent / "clean").exists()
    assert (places.parent / "clean.report" / "report.md").is_file()


@pytest.mark.usefixtures("no_plot")
def test_another_limit_takes_no_measuring_and_unlinks_what_goes_now(places, monkeypatch):
    assert by_maps(places) == 0
    asked = []
    monkeypatch.setattr("models.building.sources.building_share", lambda *_: asked.append(1) or 0.0)
    assert by_maps(places, "--min_building", "0.5") == 0
    assert not asked
    clean = places.parent / "clean"
    assert names(clean / "images") == ["train/e.jpg"]
    assert by_maps(places, "--min_building", "0") == 0
    assert len(names(clean / "images")) == 5


@pytest.mark.usefixtures("no_plot")
def test_what_the_source_has_lost_goes_and_what_others_put_there_stays(places, capsys):
    assert by_maps(places) == 0
    clean, train = places.parent / "clean", places / "images" / "train"
    mine = [clean / "images" / "train" / "mine.jpg", clean / "notes.txt"]
    for path in mine:
        path.write_bytes(b"mine")
    (train / "e.jpg").unlink()
    (places / "photos.csv").unlink()
    capsys.readouterr()
    assert by_maps(places, "--dry_run") == 0
    assert (clean / "images" / "train" / "e.jpg").is_file()
    assert by_maps(places) == 0
    said = capsys.readouterr().out
    assert "2 files removed from it, gone from" in said
    assert "1 photos in it are none of this copy's: images/train/mine.jpg" in said
    left = ["copied.jsonl", *(f"images/train/{n}.jpg" for n in ("c", "d", "mine")), "notes.txt"]
    assert names(clean) == [*left, "provenance.json"]
    assert "- images/train/e.jpg" in (clean.parent / "clean.report" / "report.md").read_text()
    assert json.loads((clean / "provenance.json").read_text())["removed"] == 2
    assert by_maps(places) == 0
    assert "removed" not in capsys.readouterr().out


@pytest.mark.usefixtures("no_plot")
def test_files_that_were_edited_or_put_there_are_not_written_over(places, capsys):
    assert by_maps(places) == 0
    clean, name = places.parent / "clean", "images/train/{}.jpg".format
    (clean / name("c")).unlink()  # as a program does that writes beside and renames
    mine = [clean / name("c"), clean / name("new"), clean / "photos.csv"]
    for path in mine:
        path.write_bytes(b"mine")
    (places / name("new")).write_bytes((places / name("e")).read_bytes())
    (places.parent / "maps" / name("new")).with_suffix(".png").write_bytes(
        (places.parent / "maps" / name("e")).with_suffix(".png").read_bytes()
    )
    capsys.readouterr()
    for _ in range(2):
        assert by_maps(places) == 0
        assert "3 files that it did not make, or that were edited, stay" in capsys.readouterr().out
        left = json.loads((clean / "provenance.json").read_text())["left_alone"]
        assert left == [name("c"), name("new"), "photos.csv"]
    (places / name("c")).unlink()
    assert by_maps(places) == 0
    assert [path.read_bytes() for path in mine] == [b"mine"] * 3


@pytest.mark.usefixtures("no_plot")
def test_a_photo_that_has_changed_is_measured_again(places, monkeypatch):
    """As one that was fetched anew, because a face was blurred: written beside, then renamed."""
    assert by_maps(places) == 0
    clean, photo = places.parent / "clean", places / "images" / "train" / "e.jpg"
    new = photo.with_suffix(".new")
    new.write_bytes(photo.read_bytes())
    new.replace(photo)
    asked, measure = [], MapShares.measure

    def noted(self, paths):
        asked.extend(paths)
        return measure(self, paths)

    monkeypatch.setattr(MapShares, "measure", noted)
    assert by_maps(places) == 0
    assert [path.name for path in asked] == ["e.jpg", "x.jpg"]  # x has no share: asked each time
    assert (clean / "images" / "train" / "e.jpg").samefile(photo)


@pytest.mark.usefixtures("no_plot")
def test_two_sources_do_not_mix(places, tmp_path, monkeypatch, capsys):
    assert by_maps(places) == 0
    other = places.rename(tmp_path / "other")
    report = ["--report", str(tmp_path / "report"), "--data", str(other)]
    assert by_maps(places, *report) == 2
    assert f"is a copy of {places}, not of {other}" in capsys.readouterr().err
    other.rename(places)
    monkeypatch.chdir(places)
    assert by_maps(places, "--data", ".") == 0  # the same by another name


@pytest.mark.usefixtures("no_plot")
def test_a_record_that_cannot_be_read_is_said(places, capsys):
    assert by_maps(places) == 0
    record, table = places.parent / "clean" / "copied.jsonl", places / "photos.csv"
    header = record.read_text().splitlines()[0]
    outside = {"photo": f"../{places.name}/photos.csv", "stamps": [stamp_of(table)]}
    both = f"{header}\n{json.dumps(outside)}\n"
    for content, message in (("[1\n", "cannot be read"), (both, "outside of it")):
        record.write_text(content)
        assert by_maps(places) == 2
        assert message in capsys.readouterr().err
    assert (places / "photos.csv").is_file()


@pytest.mark.usefixtures("no_plot")
def test_a_stopped_run_goes_on(places, monkeypatch):
    whole = by_maps(places, "--output", str(places.parent / "whole"))
    link = PlacesCopy.link

    def interrupted(self, path):
        link(self, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PlacesCopy, "link", interrupted)
        assert by_maps(places) == 130
    provenance = json.loads((places.parent / "clean" / "provenance.json").read_text())
    assert not provenance["is_finished"]
    assert by_maps(places) == whole == 0
    assert names(places.parent / "clean") == names(places.parent / "whole")


@pytest.mark.usefixtures("no_plot")
def test_a_network_and_a_light_one_say_shares_too(places, tiny_segformer, capsys):
    assert run(places, "--segmenter", str(tiny_segformer), "--min_building", "0") == 0
    rows = list(csv.DictReader((places.parent / "clean.report" / "shares.csv").open()))
    rgb = np.asarray(Image.open(places / "images" / "train" / "a.jpg"))
    (seg,) = Segmenter.load(str(tiny_segformer), "cpu").maps([rgb])
    assert float(rows[0]["share"]) == pytest.approx((seg == 2).mean(), abs=1e-5)
    model = places.parent / "model"
    save_share_model(model, ShareRegressor("test_resnet", 32), {})
    assert run(places, "--model", str(model)) == 2  # the report is another source's
    assert "was begun otherwise" in capsys.readouterr().err
    other = ["--report", str(places.parent / "other")]
    assert run(places, "--model", str(model), *other, "--dry_run") == 0
    rows = list(csv.DictReader((places.parent / "other" / "shares.csv").open()))
    assert all(0 < float(row["share"]) < 1 for row in rows[:5])
    assert rows[5]["share"] == ""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--min_building", "2"], "a share, 0 to 1"),
        (["--data", "/nowhere"], "no folder /nowhere"),
        (["--classes", "castle"], "no class is called castle"),
        (["--output", "{set}/images"], "lie in one another"),
        (["--report", "{set}/report"], "taken for photos"),
        (["--output", "{set}/../maps"], "is not empty"),
    ],
)
def test_what_cannot_be_cleaned_says_why(places, capsys, more, message):
    before = contents(places)
    assert by_maps(places, *(part.format(set=places) for part in more)) == 2
    assert message in capsys.readouterr().err
    assert contents(places) == before


def test_a_set_of_which_nothing_can_be_judged_still_has_a_report(tmp_path):
    lost = [Judged(tmp_path / f"{i}.jpg", f"{i}.jpg", None, "gone", 0.025) for i in range(12)]
    text = as_markdown(lost, np.array([]), tmp_path, "nobody")
    assert "Of 12 photos 0 stay and 12 go: 0 show too few buildings, 12 cannot be judged" in text
    assert "and 2 more: shares.csv" in text
