"""One download against a web server of our own: patience, limits, redirects, addresses."""

import threading
import time
from dataclasses import replace

import pytest

import setup.downloading.address_guard as guard
from setup.download_images import download
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
    # What is left over may come with the rest, or when the answer was taken for whole.
    assert get(server, "/a", folder=tmp_path).cause in ("bad image", "strange answer")
    assert not list(tmp_path.glob("*.jpg"))


def test_a_compressed_body_is_not_unpacked(server, tmp_path):
    server.answers["/a"] = server.body(b"bomb", Content_Encoding="gzip")
    assert get(server, "/a", folder=tmp_path).cause == "compressed"
    assert server.headers["Accept-Encoding"] == "identity"


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


def test_a_placeholder_is_no_photo(server, tmp_path, picture, encode):
    place = "/pw/images/en-us/photo_unavailable.png"
    server.answers[place] = server.body(encode(picture(), "PNG"))
    server.answers["/1_abc_z.jpg"] = server.status(302, Location=place)
    row = get(server, "/1_abc_z.jpg", folder=tmp_path / "1")
    assert (row.cause, row.is_gone) == ("deleted", True)
    assert not list(tmp_path.rglob("*.jpg"))
    assert get(server, place, folder=tmp_path / "2").error == ""  # asked for by its own name


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
