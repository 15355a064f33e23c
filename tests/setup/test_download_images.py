"""A list of photos against a web server of our own: what comes, what does not, and why."""

import csv
import hashlib
import io
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import setup.downloading.photo_folder
import setup.downloading.record
from data.images import read_rgb
from setup.download_images import download, main
from setup.downloading.fetch import Limits
from setup.downloading.settings import Settings

QUICK = Settings(
    allow_private=True,
    workers=8,
    limits=Limits(max_bytes=100_000, timeout_s=5, first_pause_s=0.01),
)


def get(server, path, settings=QUICK, **options):
    """Download one path into an empty folder; returns its row and the folder."""
    folder = options.pop("folder")
    report = download([("photo", server.root + path)], folder, settings, **options)
    return report.rows[0]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def read_report(folder):
    with (folder / "report.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_photo_is_saved_upright_small_and_bare(server, tmp_path, picture, encode):
    upright = picture(600, 900)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "somebody's secret"  # stored turned left by 90 degrees
    server.answers["/a"] = server.body(encode(np.rot90(upright), exif=exif, quality=95))
    row = get(server, "/a", replace(QUICK, size=320), folder=tmp_path)
    data = (tmp_path / "photo.jpg").read_bytes()
    assert (row.status, row.error, row.width, row.height) == (200, "", 480, 320)
    assert row.sha256 == hashlib.sha256(data).hexdigest()
    assert b"secret" not in data
    saved = Image.open(io.BytesIO(data))
    assert (saved.format, saved.size, len(saved.getexif())) == ("JPEG", (480, 320), 0)
    expected = Image.fromarray(upright).resize((480, 320), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(saved).astype(int) - np.asarray(expected)).mean() < 3
    assert names_in(tmp_path) == ["ledger.sqlite", "photo.jpg", "report.csv"]


@pytest.mark.parametrize("size", [0, 60, 320])
def test_photos_are_not_enlarged(server, tmp_path, picture, encode, size):
    server.answers["/a"] = server.body(encode(picture(60, 90), "PNG"))
    row = get(server, "/a", replace(QUICK, size=size), folder=tmp_path)
    assert (row.width, row.height) == (90, 60)
    assert read_rgb(tmp_path / "photo.jpg").shape == (60, 90, 3)


def test_what_is_no_photo(server, tmp_path, picture, encode):
    photo = encode(picture())
    bad = {"html": b"<html>gone</html>", "empty": b"", "truncated": photo[: len(photo) // 2]}
    for name, data in bad.items():
        server.answers[f"/{name}"] = server.body(data)
    server.answers["/huge"] = server.body(photo)
    settings = replace(QUICK, max_pixels=60 * 90 - 1)
    rows = [(name, f"{server.root}/{name}") for name in [*bad, "huge"]]
    report = download(rows, tmp_path, settings)
    assert report.failures() == {"bad image": 4}
    assert [row["status"] for row in read_report(tmp_path)] == ["200"] * 4
    assert names_in(tmp_path) == ["ledger.sqlite", "report.csv"]


def test_every_row_is_reported(server, tmp_path, picture, encode):
    server.answers["/a"] = server.body(encode(picture()))
    url = f"{server.root}/a"
    rows = [
        ("7f/1a.jpg", url),
        ("100%", url),
        ("no url", ""),
        ("ftp", "ftp://example.org/a"),
        ("twice", "nonsense"),
        ("twice", url),
        ("twice", url),
        ("", url),
        ("x" * 100, url),
        ("../up", url),
    ]
    report = download(rows, tmp_path / "photos", QUICK)
    written = read_report(tmp_path / "photos")
    assert [(row["key"], row["error"].partition(":")[0]) for row in written] == [
        ("7f%2F1a%2Ejpg", ""),
        ("100%25", ""),
        ("no%20url", "bad url"),
        ("ftp", "bad url"),
        ("twice", "bad url"),
        ("twice", ""),
        ("twice", "duplicate id"),
        ("", "bad id"),
        ("x" * 100, "bad id"),
        ("%2E%2E%2Fup", ""),
    ]
    assert list(written[0]) == ["key", "url", "status", "error", "width", "height", "sha256"]
    photos = {path.name for path in (tmp_path / "photos").glob("*.jpg")}
    assert photos == {f"{key}.jpg" for key in ("7f%2F1a%2Ejpg", "100%25", "twice", "%2E%2E%2Fup")}
    assert report.photos == 4
    assert names_in(tmp_path) == ["photos"]


def test_resume_asks_only_for_what_may_come(server, tmp_path, picture, encode):
    photo = server.body(encode(picture()))
    server.answers |= {"/good": photo, "/gone": server.status(410), "/busy": server.status(403)}
    names = ["good", "gone", "lost", "busy"]
    rows = [(name, f"{server.root}/{name}") for name in names]
    first = download(rows, tmp_path, QUICK)
    assert first.failures() == {"HTTP 410": 1, "HTTP 404": 1, "HTTP 403": 1}
    good, before = first.rows[0], (tmp_path / "good.jpg").stat().st_mtime_ns
    server.answers |= dict.fromkeys(["/gone", "/lost", "/busy", "/new"], photo)
    server.asked.clear()
    second = download([*rows[1:], ("new", f"{server.root}/new"), rows[0]], tmp_path, QUICK)
    assert server.asked == {"/busy": 1, "/new": 1}
    assert (second.photos, second.kept) == (3, 1)
    assert [row["key"] for row in read_report(tmp_path)] == ["gone", "lost", "busy", "new", "good"]
    assert second.rows[-1] == good
    assert (tmp_path / "good.jpg").stat().st_mtime_ns == before
    # Another URL for the same photo is another chance.
    download([("gone", f"{server.root}/good")], tmp_path, QUICK)
    assert (tmp_path / "gone.jpg").exists()
    assert {row["key"] for row in read_report(tmp_path)} == {*names, "new"}  # nothing is forgotten


def test_resume_without_a_report(server, tmp_path, picture, encode):
    """A killed run leaves photos alone; a file that is no photo is asked for again."""
    server.answers["/a"] = server.body(encode(picture()))
    (tmp_path / "whole.jpg").write_bytes(encode(picture(20, 30)))
    (tmp_path / "broken.jpg").write_bytes(b"garbage")
    rows = [("whole", f"{server.root}/whole"), ("broken", f"{server.root}/a")]
    report = download(rows, tmp_path, QUICK)
    assert server.asked == {"/a": 1}
    assert [(row.width, row.height, row.error) for row in report.rows] == [
        (30, 20, ""),
        (90, 60, ""),
    ]
    data = (tmp_path / "whole.jpg").read_bytes()
    assert report.rows[0].sha256 == hashlib.sha256(data).hexdigest()


def test_a_folder_with_photos_needs_resume(tmp_path, picture, encode):
    (tmp_path / "a.jpg").write_bytes(encode(picture()))
    with pytest.raises(ValueError, match="--resume"):
        download([], tmp_path, QUICK, resume=False)
    (tmp_path / "report.csv").write_text("some,other\n1,2\n")
    with pytest.raises(ValueError, match=r"report\.csv: not a report"):
        download([], tmp_path, QUICK)


@pytest.fixture
def interruptible():
    """Ctrl-C as a program finds it: a library of an earlier test may have put its own there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_leaves_a_report(server, tmp_path, picture, encode, monkeypatch):
    server.answers["/a"] = server.body(encode(picture()))
    make = setup.downloading.record.as_small_jpeg

    def interrupted(data, key, *settings):
        if key == "third":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return make(data, key, *settings)

    monkeypatch.setattr(setup.downloading.record, "as_small_jpeg", interrupted)
    rows = [(key, f"{server.root}/a") for key in ("first", "second", "third", "fourth")]
    rows.append(("last", f"{server.root}/never"))
    server.answers["/never"] = server.never
    with pytest.raises(KeyboardInterrupt):
        download(rows, tmp_path, replace(QUICK, workers=1))
    done = {row["key"] for row in read_report(tmp_path)}
    assert {"first", "second"} <= done <= {"first", "second", "third", "fourth"}
    monkeypatch.undo()
    server.answers["/never"], asked = server.answers["/a"], server.asked["/a"]
    report = download(rows, tmp_path, QUICK)
    assert (report.photos, report.kept) == (5, len(done))
    assert server.asked["/a"] == asked + 4 - len(done)


def test_a_full_disk_ends_it(server, tmp_path, picture, encode, monkeypatch, capsys):
    server.answers["/a"] = server.body(encode(picture()))
    server.answers["/never"] = server.never

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(setup.downloading.photo_folder.PhotoFolder, "save", full)
    list_csv = tmp_path / "urls.csv"
    list_csv.write_text(f"1,{server.root}/a\n2,{server.root}/never\n")
    output = tmp_path / "photos"
    words = ["--url_csv", str(list_csv), "--output", str(output), "--allow_private"]
    assert main(words) == 2
    assert "error: [Errno 28] No space left" in capsys.readouterr().err
    assert read_report(output) == []
    monkeypatch.undo()
    server.answers["/never"] = server.answers["/a"]
    assert main([*words, "--resume"]) == 0
    assert len(read_report(output)) == 2


def test_command_line(server, tmp_path, picture, encode, capsys):
    flickr = "/1/23_4f"
    server.answers[f"{flickr}_z.jpg"] = server.body(encode(picture(400, 500)))
    list_csv, output = tmp_path / "urls.csv", tmp_path / "photos"
    list_csv.write_text(f"id,url\na,{server.root}{flickr}_b.jpg\nb,{server.root}/b\n")
    words = ["--url_csv", str(list_csv), "--output", str(output), "--size_suffix", "z"]
    words += ["--workers", "2", "--shuffle", "--allow_private"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert f"1 of 2 photos are in {output}" in shown
    assert "not had: 1 HTTP 404" in shown
    assert read_rgb(output / "a.jpg").shape == (320, 400, 3)
    assert main(words) == 2
    assert "\nerror: " in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert "1 of them were there before" in capsys.readouterr().out
    assert sum(server.asked.values()) == 2
    for bad in (["--size", "-1"], ["--workers", "0"], ["--contact", "a\nb"], ["--timeout_s", "0"]):
        assert main([*words, *bad]) == 2
    assert main(["--url_csv", str(tmp_path / "none.csv"), "--output", str(output)]) == 2


def test_not_one_photo_is_a_failure(server, tmp_path):
    list_csv = tmp_path / "urls.csv"
    list_csv.write_text(f"a,{server.root}/a\n")
    words = ["--url_csv", str(list_csv), "--output", str(tmp_path / "photos"), "--allow_private"]
    assert main(words) == 1
