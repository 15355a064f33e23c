"""The downloader against a bare fetching loop, and against img2dataset on the same list.

    python -m benchmarks.download [--img2dataset_python /path/to/its/bin/python]

A server of our own on the loopback answers each request after a pause (0.1 s by default, 2 s for
1%), as one far away does; 2% of the photos are dead, 1% garbage. With 64 connections the pause
bounds the rate: about 500 photos/s, which leaves this machine time to decode. The server is a
process of its own, on the same cores.

1. A bare asyncio loop that only fetches bytes, 64 connections: what the server allows.
2. Ours, in full: fetch, decode, resize to 320 px, encode, SHA-256, ledger, shards.
   Goal: within 10% of the bare loop.
3. img2dataset (https://github.com/rom1504/img2dataset) doing the same, 64 threads in all, timed
   by its own statistics, which leave its start out. Goal: ours at least twice as fast. Install it
   in an environment of its own: it needs other versions than we do. Both decode, resize and
   encode: where photos are small, that and the server's own work are most of both times, and no
   downloader can be twice as fast; ours decodes large photos at half or quarter size.
4. Peak memory of ours, for the list of 2. and for long lists whose host asks to be left alone:
   every row goes through list, ledger, queue and report. Goal: the same, at most 500 MB.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from setup.download_images import download
from setup.downloading.report import Report
from setup.downloading.settings import Settings

CONNECTIONS, SIZE = 64, 320
SHORT_PX = 375  # 500 x 375: Flickr's URLs without a letter; its _k has 1536
SLOW_S = 2.0
SAMPLES_PER_SHARD = 1000
THEIRS = """
import json, sys, img2dataset
from pathlib import Path
if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    img2dataset.download(**options)
    stats = [json.loads(p.read_text()) for p in Path(options["output_folder"]).glob("*_stats.json")]
    seconds = max(s["end_time"] for s in stats) - min(s["start_time"] for s in stats)
    print(json.dumps([seconds, sum(s["successes"] for s in stats)]))
"""


class Ours(NamedTuple):
    """What a download of ours took."""

    seconds: float
    processor_s: float
    photos: int
    peak_mb: float


class Answers(asyncio.Protocol):
    """One connection of the server; the path's number decides what is answered."""

    def __init__(self, bodies: list[bytes], pause_s: float) -> None:
        self.bodies, self.pause_s, self.read = bodies, pause_s, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request after its pause."""
        self.read += data
        while b"\r\n\r\n" in self.read:
            head, _, self.read = self.read.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1]
            number = int(path[1:]) if path[1:].isdigit() else -1
            pause_s = SLOW_S if number % 100 == 7 else self.pause_s
            asyncio.get_running_loop().call_later(pause_s, self.answer, number)

    def answer(self, number: int) -> None:
        """Send a photo, garbage, or that there is none."""
        if self.transport.is_closing():
            return
        status, more, body = b"200 OK", b"", self.bodies[number % len(self.bodies)]
        if number < 0:
            status, more, body = b"503 Busy", b"Retry-After: 3600\r\n", b""
        elif number % 100 in (23, 61):
            status, body = b"404 Not Found", b""
        elif number % 100 == 42:
            body = b"<html>no photo</html>" * 100
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + more + length + body)


def serve(bodies: list[bytes], pause_s: float, pipe: Connection) -> None:
    """Answer for ever; tells its port."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Answers(bodies, pause_s), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def serving(bodies: list[bytes], pause_s: float) -> Iterator[str]:
    """The server in a process of its own; yields the beginning of its URLs."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=serve, args=(bodies, pause_s, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/"
    finally:
        process.terminate()
        process.join()


async def fetch_bare(root: str, count: int) -> float:
    """Seconds in which a loop of plain streams has all bytes, and does nothing with them."""
    numbers, host = iter(range(count)), urlsplit(root)

    async def work() -> None:
        reader, writer = await asyncio.open_connection(host.hostname, host.port)
        for number in numbers:
            writer.write(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split()[0]))
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return time.perf_counter() - start


def download_ours(root: str, count: int, folder: Path, is_left: bool, pipe: Connection) -> None:
    """Download all into shards; sends seconds, processor seconds, photos, peak memory in MB."""
    import torch  # noqa: F401  before the clock starts, which leaves img2dataset's imports out too

    numbers = (f"{'busy/' if is_left else ''}{i}" for i in range(count))
    rows = ((f"photo{i}", f"{root}{number}") for i, number in enumerate(numbers))
    settings = Settings(size=SIZE, workers=CONNECTIONS, per_host=CONNECTIONS, allow_private=True)
    position = '{"lat": 1.0, "lon": 2.0}'
    metadata = ((f"photo{i}", position, "") for i in range(count))
    start, busy = time.perf_counter(), time.process_time()
    report: Report = download(
        rows, folder, settings, samples_per_shard=SAMPLES_PER_SHARD, metadata=metadata
    )
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    pipe.send(Ours(seconds, busy, report.photos, peak_memory_mb()))


def peak_memory_mb() -> float:
    """Of this process; getrusage would count what its parent had when it was started."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def ours(root: str, count: int, folder: Path, is_left: bool = False) -> Ours:
    """`download_ours` in a process of its own."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=download_ours, args=(root, count, folder, is_left, there))
    process.start()
    result = here.recv()
    process.join()
    return result


def theirs(python: Path, root: str, count: int, folder: Path) -> tuple[float, int]:
    """Seconds and photos of img2dataset; two processes share the connections."""
    folder.mkdir()
    (folder / "urls.txt").write_text("".join(f"{root}{i}\n" for i in range(count)))
    options = {
        "url_list": str(folder / "urls.txt"),
        "output_folder": str(folder / "out"),
        "processes_count": 2,
        "thread_count": CONNECTIONS // 2,
        "image_size": SIZE,
        "resize_mode": "keep_ratio",
        "resize_only_if_bigger": True,
        "encode_quality": 90,
        "output_format": "webdataset",
        "number_sample_per_shard": SAMPLES_PER_SHARD,
        "timeout": 30,
    }
    script = folder / "run.py"  # a file, because its processes import it again
    script.write_text(THEIRS)
    command = [str(python), str(script), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise SystemExit(f"error: img2dataset failed: {done.stderr[-2000:]}")
    seconds, photos = json.loads(done.stdout.splitlines()[-1])
    return seconds, photos


def main() -> None:
    """Print the rates, their ratios and the memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--img2dataset_python", type=Path, help="interpreter of an environment with img2dataset")
    add("--photos", type=Path, help="folder of photos (default: synthetic ones)")
    add("--short_px", type=int, default=SHORT_PX, help="of photos (default: 375)")
    add("--urls", type=int, default=8000, help="length of the list (default: 8000)")
    add("--pause_s", type=float, default=0.1, help="of the server (default: 0.1)")
    add("--rows", type=int, nargs="+", default=[10_000, 100_000], help="lists to weigh memory with")
    options = parser.parse_args()
    from benchmarks.decode import photographs  # with torchvision, which the others do without

    bodies, count = photographs(options.photos, options.short_px, count=64), options.urls
    kind = f"photos of {options.photos}" if options.photos else "SYNTHETIC photos"
    mean_kb = sum(map(len, bodies)) / len(bodies) / 1000
    what = f"{kind} of {options.short_px} px, {mean_kb:.0f} kB"
    print(f"{count:,} URLs, {what}; pause {options.pause_s} s")
    with tempfile.TemporaryDirectory() as name, serving(bodies, options.pause_s) as root:
        bare_s = asyncio.run(fetch_bare(root, count))
        print(f"bare loop: {count / bare_s:.0f} URLs/s")
        mine = ours(root, count, Path(name) / "ours")
        print(
            f"ours into shards: {count / mine.seconds:.0f} URLs/s, {mine.photos:,} photos, "
            f"{mine.processor_s / count * 1000:.1f} ms of processor a URL: "
            f"{bare_s / mine.seconds:.1%} of the bare loop (goal 90%)"
        )
        if options.img2dataset_python:
            compare(options.img2dataset_python, root, count, Path(name) / "theirs", mine)
        print(f"peak memory, {count:,} URLs: {mine.peak_mb:.0f} MB (goal at most 500 MB)")
        for rows in options.rows:
            left = ours(root, rows, Path(name) / str(rows), is_left=True)
            print(f"peak memory, {rows:,} rows of a host left alone: {left.peak_mb:.0f} MB")
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    print(f"{cores} cores, load {load:.1f}: above {cores} they are shared with other work")


def compare(python: Path, root: str, count: int, folder: Path, mine: Ours) -> None:
    """Print what img2dataset takes for the same list."""
    seconds, photos = theirs(python, root, count, folder)
    print(
        f"img2dataset: {count / seconds:.0f} URLs/s, {photos:,} photos: ours "
        f"{seconds / mine.seconds:.2f}x as fast (goal 2x)"
    )


if __name__ == "__main__":
    main()
