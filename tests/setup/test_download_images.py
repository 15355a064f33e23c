"""The downloader against a web server of our own: what comes, what does not, and why."""

import csv
import hashlib
import io
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import setup.address_guard as guard
import setup.download_images
from data.images import read_rgb
from setup.download_images import download, main
from setup.download_settings import Settings
from setup.fetch import Limits

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
    assert names_in(tmp_path) == ["photo.jpg", "report.csv"]


@pytest.mark.parametrize("size", [0, 60, 320])
def test_photos_are_not_enlarged(server, tmp_path, picture, encode, size):
    server.answers["/a"] = server.body(encode(picture(60, 90), "PNG"))
    row = get(server, "/a", replace(QUICK, size=size), folder=tmp_path)
    assert (row.width, row.height) == (90, 60)
    assert read_rgb(tmp_path / "photo.jpg").shape == (60, 90, 3)


def test_headers_say_who_asks(server, tmp_path, picture, encode):
    server.answers["/a"] = server.body(encode(picture()), Set_Cookie="seen=1")
    settings = replace(QUICK, contact="me@example.org")
    get(server, "/a", settings, folder=tmp_path / "1")
    assert server.headers["User-Agent"] == "Groundfix (photo downloader; me@example.org)"
    rows = [("1", f"{server.root}/a"), ("2", f"{server.root}/a")]
    assert download(rows, tmp_path / "2", replace(settings, workers=1)).photos == 2
    assert "Cookie" not in server.headers


@pytest.mark.parametrize("code", [400, 403, 404, 410])
def test_a_plain_no_is_taken_at_once(server, tmp_path, code):
    server.answers["/a"] = server.status(code)
    row = get(server, "/a", folder=tmp_path)
    assert (row.status, row.error, server.asked["/a"]) == (code, f"HTTP {code}", 1)
    assert not (tmp_path / "photo.jpg").exists()


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server, tmp_path, picture, encode, code):
    busy = server.status(code)
    server.answers["/a"] = server.in_turn(busy, busy, server.body(encode(picture())))
    assert get(server, "/a", folder=tmp_path / "1").error == ""
    assert server.asked["/a"] == 3
    server.answers["/b"] = busy
    assert get(server, "/b", folder=tmp_path / "2").error == f"HTTP {code}"
    assert server.asked["/b"] == QUICK.limits.attempts


def test_retry_after_is_honoured(server, tmp_path, picture, encode):
    wait = server.status(429, Retry_After="1")
    server.answers["/a"] = server.in_turn(wait, server.body(encode(picture())))
    start = time.monotonic()
    assert get(server, "/a", folder=tmp_path / "1").error == ""
    assert time.monotonic() - start >= 1
    for seconds in ("3600", "Fri, 31 Dec 2199 23:59:59 GMT"):
        server.answers["/b"] = server.status(503, Retry_After=seconds)
        row = get(server, "/b", folder=tmp_path / seconds[:3])
        assert row.error.startswith("HTTP 503: asks for")
    assert server.asked["/b"] == 2  # one in each run


def test_a_server_that_hangs_up_is_asked_again(server, tmp_path, picture, encode):
    photo = encode(picture())
    too_short = server.body(photo[:200], Content_Length=len(photo), Connection="close")

    def hang_up(handler):
        too_short(handler)
        handler.close_connection = True

    server.answers["/a"] = server.in_turn(hang_up, server.body(photo))
    assert get(server, "/a", folder=tmp_path / "1").error == ""
    server.answers["/b"] = hang_up
    assert get(server, "/b", folder=tmp_path / "2").cause == "no connection"


def test_nobody_listens(server, tmp_path):
    row = download([("a", "http://127.0.0.1:9/")], tmp_path, QUICK).rows[0]
    assert (row.status, row.cause) == (0, "no connection")


def test_a_slow_server_costs_its_time_and_no_more(server, tmp_path, picture, encode):
    def trickle(handler):
        handler.send_response(200)
        handler.end_headers()
        while not server.closing.wait(0.05):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    server.answers |= {"/trickle": trickle, "/never": server.never}
    server.answers["/good"] = server.body(encode(picture()))
    settings = replace(QUICK, workers=2, limits=replace(QUICK.limits, timeout_s=0.4))
    rows = [(path, f"{server.root}/{path}") for path in ("trickle", "never", "good")]
    start = time.monotonic()
    report = download(rows, tmp_path, settings)
    assert time.monotonic() - start < 4
    assert [row.cause for row in report.rows] == ["timeout", "timeout", ""]
    assert server.asked["/never"] == 1


def test_bodies_over_the_limit(server, tmp_path):
    big = bytes(QUICK.limits.max_bytes + 1)

    def chunked(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"2000\r\n" + bytes(0x2000) + b"\r\n")
        except OSError:
            handler.close_connection = True

    server.answers["/stated"] = server.body(big)
    server.answers["/much_stated"] = server.body(b"x", Content_Length="9" * 18)
    server.answers["/endless"] = chunked
    for path in list(server.answers):
        row = get(server, path, folder=tmp_path / path[1:])
        assert (row.status, row.cause) == (200, "too large"), path
        assert server.asked[path] == 1


def test_a_content_length_that_understates(server, tmp_path, picture, encode):
    photo = encode(picture())
    server.answers["/a"] = server.body(photo, Content_Length=100, Connection="close")
    assert get(server, "/a", folder=tmp_path).cause == "bad image"


def test_a_compressed_body_is_not_unpacked(server, tmp_path):
    server.answers["/a"] = server.body(b"bomb", Content_Encoding="gzip")
    assert get(server, "/a", folder=tmp_path).cause == "compressed"
    assert server.headers["Accept-Encoding"] == "identity"


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
    assert names_in(tmp_path) == ["report.csv"]


def test_redirects(server, tmp_path, picture, encode):
    server.answers["/0"] = server.body(encode(picture()))
    for i in range(1, 8):
        server.answers[f"/{i}"] = server.status(302, Location=f"/{i - 1}")
    server.answers["/loop"] = server.status(301, Location="/loop")
    server.answers["/file"] = server.status(302, Location="file:///etc/passwd")
    server.answers["/nonsense"] = server.status(302, Location="http://[")
    limit = QUICK.limits.max_redirects
    assert get(server, f"/{limit}", folder=tmp_path / "1").error == ""
    assert get(server, f"/{limit + 1}", folder=tmp_path / "2").cause == "redirects"
    assert get(server, "/loop", folder=tmp_path / "3").cause == "redirects"
    assert get(server, "/file", folder=tmp_path / "4").cause == "bad url"
    assert get(server, "/nonsense", folder=tmp_path / "5").error


def test_private_addresses_are_refused_on_every_hop(server, tmp_path, picture, encode, monkeypatch):
    """127.0.0.7 plays a public server that sends us to our own machine."""
    honest = guard.is_public
    monkeypatch.setattr(guard, "is_public", lambda ip: ip == "127.0.0.7" or honest(ip))
    server.answers["/a"] = server.body(encode(picture()))
    front = type(server.http)(("127.0.0.7", 0), server.http.RequestHandlerClass)
    thread = threading.Thread(target=front.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.answers["/b"] = server.status(302, Location=f"{server.root}/a")
    server.answers["/c"] = server.status(302, Location=f"http://127.0.0.7:{front.server_port}/a")
    settings = replace(QUICK, allow_private=False)
    rows = [(name, f"http://127.0.0.7:{front.server_port}/{name}") for name in "abc"]
    try:
        report = download([*rows, ("direct", f"{server.root}/a")], tmp_path, settings)
    finally:
        front.shutdown()
        thread.join()
        front.server_close()
    assert [row.cause for row in report.rows] == ["", "blocked address", "", "blocked address"]
    assert "127.0.0.1, which is not public" in report.rows[1].error
    assert server.asked == {"/a": 2, "/b": 1, "/c": 1}


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
    before = (tmp_path / "good.jpg").stat().st_mtime_ns
    server.answers |= dict.fromkeys(["/gone", "/lost", "/busy", "/new"], photo)
    server.asked.clear()
    second = download([*rows[1:], ("new", f"{server.root}/new"), rows[0]], tmp_path, QUICK)
    assert server.asked == {"/busy": 1, "/new": 1}
    assert (second.photos, second.kept) == (3, 1)
    assert [row["key"] for row in read_report(tmp_path)] == ["gone", "lost", "busy", "new", "good"]
    assert second.rows[-1] == first.rows[0]
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


def test_an_interruption_leaves_a_report(server, tmp_path, picture, encode, monkeypatch):
    server.answers["/a"] = server.body(encode(picture()))
    save = setup.download_images._save

    def interrupted(data, job, output, settings):
        if job.key == "third":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return save(data, job, output, settings)

    monkeypatch.setattr(setup.download_images, "_save", interrupted)
    rows = [(key, f"{server.root}/a") for key in ("first", "second", "third", "fourth")]
    with pytest.raises(KeyboardInterrupt):
        download(rows, tmp_path, replace(QUICK, workers=1))
    assert [row["key"] for row in read_report(tmp_path)] == ["first", "second"]


def test_a_full_disk_ends_it(server, tmp_path, picture, encode, monkeypatch, capsys):
    server.answers["/a"] = server.body(encode(picture()))
    server.answers["/never"] = server.never

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(setup.download_images, "_save", full)
    list_csv = tmp_path / "urls.csv"
    list_csv.write_text(f"1,{server.root}/a\n2,{server.root}/never\n")
    output = tmp_path / "photos"
    assert main(["--url_csv", str(list_csv), "--output", str(output), "--allow_private"]) == 2
    assert "error: [Errno 28] No space left" in capsys.readouterr().err
    assert read_report(output) == []


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
    assert capsys.readouterr().err.startswith("error: ")
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
