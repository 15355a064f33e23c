"""Disks that fill up and servers that lie: clear errors, bounded cost, and a way to go on."""

import io
import resource
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.shards import verify
from setup.download_images import download
from setup.downloading.fetch import Limits
from setup.downloading.settings import Settings

ROOT = Path(__file__).parents[2]
QUICK = Settings(
    allow_private=True, workers=8, size=40, limits=Limits(max_bytes=200_000, first_pause_s=0.01)
)
FILE_BYTES = 150_000  # the largest file that a process may write: its disk is full


def command(server, tmp_path, rows, *more):
    table = "id,url,lat,lon\n" + "".join(f"{key},{url},1,2\n" for key, url in rows)
    (tmp_path / "urls.csv").write_text(table)
    words = ["--url_csv", tmp_path / "urls.csv", "--output", tmp_path / "out", "--allow_private"]
    return [sys.executable, "-m", "setup.download_images", *map(str, words), *more]


@pytest.mark.parametrize("kind", [[], ["--shards"]])
def test_a_disk_that_is_full(server, tmp_path, picture, encode, kind):
    """Files stop growing at 150 kB: ledger and shards do not fit, and the run says so."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    rows = []
    for i in range(60):
        server.answers[f"/{i}"] = server.body(encode(noise, quality=60 + i % 30))
        rows.append((f"p{i}", f"{server.root}/{i}"))
    words = command(server, tmp_path, rows, *kind)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))

    full = subprocess.run(words, capture_output=True, text=True, preexec_fn=limit, cwd=ROOT)
    assert full.returncode == 2, full.stderr
    assert "error: " in full.stderr
    assert "Traceback" not in full.stderr
    assert "room" in full.stderr or "File too large" in full.stderr
    done = subprocess.run([*words, "--resume"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "60 of 60 photos" in done.stdout
    if kind:
        assert verify(tmp_path / "out").samples == 60


def png_of(width, height):
    """The head of a PNG that promises as many pixels, and a few bytes of zeros deflated."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    zeros = zlib.compress(bytes(10_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zeros) + chunk(b"IEND", b"")


def test_bombs(server, tmp_path):
    """A small file of many pixels, a small answer of many bytes, an answer without end."""
    zipped = zlib.compress(bytes(50_000_000))

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(2**16))
        except OSError:
            handler.close_connection = True

    server.answers |= {
        "/pixels": server.body(png_of(60_000, 60_000)),
        "/gzip": server.body(zipped, Content_Encoding="deflate"),
        "/endless": endless,
    }
    animation = io.BytesIO()
    Image.new("L", (30_000, 4_000)).save(animation, "PNG")
    server.answers["/grey"] = server.body(animation.getvalue())
    rows = [(path[1:], f"{server.root}{path}") for path in server.answers]
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = download(rows, tmp_path, replace(QUICK, max_pixels=50_000_000))
    assert {row.key: row.cause for row in report.rows} == {
        "pixels": "bad image",
        "gzip": "compressed",
        "endless": "too large",
        "grey": "bad image",
    }
    assert time.monotonic() - start < 10
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 150, "something was unpacked"


def test_servers_that_lie_stall_and_babble(server, tmp_path, picture, encode):
    photo = encode(picture())

    def babble(handler):
        handler.wfile.write(b"SMTP 220 hello\r\n\r\n")
        handler.close_connection = True

    def long_header(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n")
        handler.close_connection = True

    def nothing(handler):
        handler.close_connection = True

    server.answers |= {
        "/babble": babble,
        "/header": long_header,
        "/nothing": nothing,
        "/length": server.body(photo, Content_Length="-5"),
        "/lengths": server.body(photo, Content_Length="12x"),
        "/stall": server.never,
        "/good": server.body(photo),
    }
    server.http.handle_error = lambda *_: None
    rows = [(path[1:], f"{server.root}{path}") for path in server.answers]
    limits = replace(QUICK.limits, timeout_s=4, attempts=2)  # a busy machine may take a second
    start = time.monotonic()
    report = download(rows, tmp_path, replace(QUICK, limits=limits))
    causes = {row.key: row.cause for row in report.rows}
    assert causes.pop("good") == ""
    assert causes["stall"] == "timeout"
    assert set(causes.values()) <= {"strange answer", "no connection", "timeout"}
    assert time.monotonic() - start < 60  # it did not wait for the stalled one for ever
    assert [path.name for path in tmp_path.glob("*.jpg")] == ["good.jpg"]


def test_a_redirect_inside_and_a_rebinding_name_cost_their_rows_alone(server, tmp_path):
    """With the guard up, nothing of ours answers, by whatever name it is called."""
    port = server.http.server_port
    server.answers["/a"] = server.body(b"secret")
    hosts = ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0"]
    rows = [(f"h{i}", f"http://{host}:{port}/a") for i, host in enumerate(hosts)]
    report = download(rows, tmp_path, replace(QUICK, allow_private=False))
    assert not server.asked
    assert {row.cause for row in report.rows} <= {"blocked address", "bad url", "no connection"}
    assert sum(row.cause == "blocked address" for row in report.rows) >= 4
