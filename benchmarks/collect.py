"""Collecting street imagery against a bare loop over the same server: who is the limit?

    python -m benchmarks.collect [--photos 1500 --pause_s 0.2]

A server of our own on the loopback answers as Mapillary does: searches of boxes, and pictures,
each after a pause, as one far away does. It is a process of its own, on the same cores; the photos
are SYNTHETIC.

1. A bare asyncio loop that asks for the same boxes and pictures over as many connections (16, our
   default), and does nothing with what comes: what the server allows.
2. Ours, in full: listing into tables, fetching, decoding, encoding, SHA-256, ledger, credits.
   Goal: at least 90% of the bare loop's rate.
3. Ours once more, with nothing left to do: what it costs to find that out.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.download import Answers
from setup.collect_street import collect
from setup.downloading.settings import Settings
from setup.street.area import Box, box_text, grid_boxes
from setup.street.mapillary import Mapillary
from setup.street.settings import Plan

CONNECTIONS, SHORT_PX = 16, 480
SIDE_DEG = 0.05  # of the area: a hundred boxes
AREA: Box = (8.0, 50.0, 8.0 + SIDE_DEG, 50.0 + SIDE_DEG)
TAKEN_MS = 1_600_000_000_000


class StreetAnswers(Answers):
    """One connection of the server: a box is answered with its photos, a number with a picture."""

    def __init__(self, bodies: list[bytes], pause_s: float, pages: dict[str, bytes]) -> None:
        super().__init__(bodies, pause_s)
        self.pages = pages

    def data_received(self, data: bytes) -> None:
        """Answer each request after its pause."""
        self.read += data
        while b"\r\n\r\n" in self.read:
            head, _, self.read = self.read.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            asyncio.get_running_loop().call_later(self.pause_s, self.reply, path)

    def reply(self, path: str) -> None:
        """Send a page of a search, or a picture."""
        if path.startswith("/images"):
            box = path.partition("bbox=")[2].partition("&")[0].replace("%2C", ",")
            body = self.pages[box]
        else:
            body = self.bodies[int(path[1:]) % len(self.bodies)]
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            self.transport.write(body)


def pages_of(root: str, photos: int) -> dict[str, bytes]:
    """The answer to the search of each box."""
    images = [image(root, number, photos) for number in range(photos)]
    pages = {}
    for box in grid_boxes(AREA, Mapillary.step_deg):
        inside = [found for found in images if is_in(found["geometry"]["coordinates"], box)]
        pages[box_text(box)] = json.dumps({"data": inside}).encode()
    return pages


def is_in(position: list[float], box: Box) -> bool:
    """Whether [lon, lat] lies in west, south, east, north."""
    return box[0] <= position[0] < box[2] and box[1] <= position[1] < box[3]


def image(root: str, number: int, photos: int) -> dict:
    """As Mapillary describes an image; they stand in the cells of a square grid."""
    side = int(photos**0.5) + 1
    step_deg = SIDE_DEG / side
    position = [
        AREA[0] + (number % side + 0.5) * step_deg,
        AREA[1] + (number // side + 0.5) * step_deg,
    ]
    return {
        "id": str(number),
        "geometry": {"type": "Point", "coordinates": position},
        "captured_at": TAKEN_MS + number,
        "compass_angle": number % 360,
        "sequence": str(number // 100),
        "is_pano": False,
        "camera_type": "perspective",
        "camera_parameters": [0.85, 0.0, 0.0],
        "width": 4000,
        "height": 3000,
        "creator": {"username": f"author{number % 7}", "id": str(number % 7)},
        "thumb_2048_url": f"{root}{number}",
    }


def serve(bodies: list[bytes], pause_s: float, photos: int, pipe: Connection) -> None:
    """Answer for ever; tells its port."""

    async def run() -> None:
        pages: dict[str, bytes] = {}
        server = await asyncio.get_running_loop().create_server(
            lambda: StreetAnswers(bodies, pause_s, pages), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        pages |= pages_of(f"http://127.0.0.1:{port}/", photos)
        pipe.send(port)
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def serving(bodies: list[bytes], pause_s: float, photos: int) -> Iterator[str]:
    """The server in a process of its own; yields the beginning of its URLs."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=serve, args=(bodies, pause_s, photos, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


async def fetch_bare(root: str, photos: int) -> float:
    """Seconds in which a loop of plain streams has all pages, then all pictures."""
    host = urlsplit(root)
    boxes = grid_boxes(AREA, Mapillary.step_deg)
    pages = [f"/images?bbox={box_text(box)}" for box in boxes]

    async def work(paths: Iterator[str]) -> None:
        reader, writer = await asyncio.open_connection(host.hostname, host.port)
        for path in paths:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split()[0]))
        writer.close()

    start = time.perf_counter()
    for paths in (iter(pages), (f"/{number}" for number in range(photos))):
        await asyncio.gather(*(work(paths) for _ in range(CONNECTIONS)))
    return time.perf_counter() - start


def collect_ours(root: str, folder: Path, pipe: Connection) -> None:
    """Collect all; sends seconds, processor seconds and photos."""
    import torch  # noqa: F401  before the clock starts: the bare loop resizes nothing

    settings = Settings(workers=CONNECTIONS, per_host=CONNECTIONS, allow_private=True)
    given = {"source": "mapillary", "server": root, "size": 320}
    plan = Plan(folder, given, (AREA,), "token")
    start, busy = time.perf_counter(), time.process_time()
    photos = collect(plan, settings).photos
    pipe.send((time.perf_counter() - start, time.process_time() - busy, photos))


def ours(root: str, folder: Path) -> tuple[float, float, int]:
    """`collect_ours` in a process of its own."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=collect_ours, args=(root, folder, there))
    process.start()
    result = here.recv()
    process.join()
    return result


def main() -> None:
    """Print the rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--photos", type=int, default=1500, help="in the area (default: 1500)")
    add("--pause_s", type=float, default=0.2, help="of the server (default: 0.2)")
    options = parser.parse_args()
    from benchmarks.decode import photographs  # with torchvision, which the others do without

    bodies, photos = photographs(None, SHORT_PX, count=32), options.photos
    print(f"{photos:,} SYNTHETIC photos of {SHORT_PX} px; pause {options.pause_s} s")
    with tempfile.TemporaryDirectory() as name, serving(bodies, options.pause_s, photos) as root:
        bare_s = asyncio.run(fetch_bare(root, photos))
        print(f"bare loop: {photos / bare_s:.0f} photos/s")
        seconds, busy, had = ours(root, Path(name) / "ours")
        print(
            f"ours: {photos / seconds:.0f} photos/s, {had:,} photos, {busy / photos * 1000:.1f} ms "
            f"of processor each: {bare_s / seconds:.1%} of the bare loop (goal 90%)"
        )
        print(f"one core of this machine would be the limit at {photos / busy:.0f} photos/s")
        seconds, _, had = ours(root, Path(name) / "ours")
        print(f"ours again, nothing left to do: {seconds:.2f} s for {had:,} photos")
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    print(f"{cores} cores, load {load:.1f}: above {cores} they are shared with other work")


if __name__ == "__main__":
    main()
