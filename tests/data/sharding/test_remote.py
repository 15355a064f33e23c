"""Remote shards: fetched once, checked, bounded, and missed with a message that helps."""

import multiprocessing
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data.sampler import ResumableSampler
from data.sharding import remote_folder
from data.sharding.remote_folder import RemoteError
from data.shards import Index, main
from data.stream import PhotoStream, batches, order_for
from data.transforms import EvalTransform


class Handler(SimpleHTTPRequestHandler):
    """A file server that counts, understands ranges where told to, and fails where told to."""

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        self.server.asked[name] += 1
        faults = self.server.faults.get(name, [])
        fault = faults.pop(0) if faults else ""
        time.sleep(self.server.delay_s)
        if fault == "503":
            self.send_error(503)
        elif fault:
            self.reply(200, name, fault)
        elif self.headers["Range"] and self.server.has_ranges:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            self.reply(206, name, "", slice(int(first), int(last) + 1))
        else:
            self.reply(200, name, "")

    def reply(self, status, name, fault, part=slice(None)):
        path = self.server.folder / name
        if not path.is_file():
            self.send_error(404)
            return
        body = bytearray(path.read_bytes()[part])
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "altered":
            body[len(body) // 2] ^= 1
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
        self.close_connection = True

    def log_message(self, *_):
        pass


class Host:
    """A folder served over loopback."""

    def __init__(self, folder):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.folder, self.server.asked = folder, Counter()
        self.server.faults, self.server.delay_s, self.server.has_ranges = {}, 0.0, True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/folder"

    def __getattr__(self, name):
        return getattr(self.server, name)

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def shards_asked(self):
        return {name: count for name, count in self.asked.items() if name.endswith(".tar")}


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(remote_folder, "WAITS_S", (0.01, 0.02, 0.03))


@pytest.fixture
def folder(write_shards):
    return write_shards(20, 4, height=32, width=32)


@pytest.fixture
def host(folder):
    host = Host(folder)
    yield host
    host.close()


@pytest.fixture
def open_remote(host, tmp_path):
    return partial(Index.open, host.url, cache=tmp_path / "cache")


def stored(cache):
    sizes = []
    for path in (cache / "shards").glob("*.tar"):
        with suppress(FileNotFoundError):  # removed between the two looks
            sizes.append(path.stat().st_size)
    return sizes


def test_equals_the_local(folder, host, open_remote):
    ours, local = open_remote(), Index.open(folder)
    assert host.shards_asked() == {}, "no shard before it is wanted"
    assert ours.keys() == local.keys()
    assert [ours.read(row) for row in range(20)] == [local.read(row) for row in range(20)]
    assert set(host.shards_asked().values()) == {1}
    again = open_remote()
    assert again.read(7) == local.read(7)
    assert set(host.shards_asked().values()) == {1}
    assert host.asked["index.parquet"] == 1, "the same manifest means the same index"


def test_file_url_is_the_folder_itself(folder):
    index = Index.open(folder.as_uri())
    assert index.directory == folder
    assert index.read(3) == Index.open(folder).read(3)


@pytest.mark.parametrize("scheme", ["memory"])
def test_other_file_systems(scheme, folder, tmp_path):
    import fsspec

    files = fsspec.filesystem(scheme)
    for path in folder.iterdir():
        files.pipe_file(f"/street/{path.name}", path.read_bytes())
    index = Index.open(f"{scheme}://street", cache=tmp_path)
    assert index.read(9) == Index.open(folder).read(9)
    files.rm("/street", recursive=True)


def test_sample_by_sample(folder, host, open_remote, tmp_path):
    index, local = open_remote(fetch="samples"), Index.open(folder)
    assert [index.read(row) for row in (0, 19, 5)] == [local.read(row) for row in (0, 19, 5)]
    assert sum(host.shards_asked().values()) == 3
    assert stored(tmp_path / "cache") == []
    host.faults["shard-000001.tar"] = ["503", "503"]
    assert index.read_images(5) == local.read_images(5)
    host.server.has_ranges = False
    with pytest.raises(RemoteError, match='needs fetch="shards"'):
        index.read(0)


def test_an_altered_sample_is_named(folder, host, open_remote):
    index = open_remote(fetch="samples")
    path = folder / "shard-000002.tar"
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"photo_008 in http.*shard-000002\.tar: its bytes"):
        index.read(8)
    assert index.read(9).key == "photo_009"


def test_new_shards_under_the_same_url(write_shards, host, open_remote):
    first = open_remote()
    first.read(0)
    host.server.folder = write_shards(12, 6, "other", height=40, width=40)
    other = open_remote()
    assert len(other) == 12
    assert other.read(0) == Index.open(host.folder).read(0)
    assert first.read(0) != other.read(0), "an open index keeps its shards"


@pytest.mark.parametrize("fault", ["503", "cut", "altered"])
def test_faults_that_pass(fault, folder, host, open_remote):
    host.faults["shard-000000.tar"] = [fault, fault]
    assert open_remote().read(1) == Index.open(folder).read(1)
    assert host.asked["shard-000000.tar"] == 3


@pytest.mark.parametrize(
    ("fault", "why"), [("503", "503"), ("cut", ""), ("altered", "not those of the manifest")]
)
def test_faults_that_stay(fault, why, host, open_remote, tmp_path):
    host.faults["shard-000000.tar"] = [fault] * 9
    index = open_remote()
    with pytest.raises(RemoteError, match=rf"shard-000000\.tar cannot be .* 4 tries .*{why}"):
        index.read(1)
    assert index.read(4).key == "photo_004"
    assert not list((tmp_path / "cache" / "shards").glob("*.part"))


def test_host_away(host, open_remote):
    index = open_remote()
    index.read(0)
    host.close()
    assert index.read(1).key == "photo_001", "what is cached stays"
    for workers in (0, 2):
        stream = PhotoStream(index, None, EvalTransform(8))
        loader = batches(stream, order_for(stream, 4, shuffle=False), workers)
        with pytest.raises(
            OSError, match=r"^http://.*shard-000001\.tar cannot be fetched"
        ) as error:
            list(loader)
        assert "\n" not in str(error.value)
        for worker in multiprocessing.active_children():
            worker.terminate()  # torch waits 5 s for each worker of a loader that raised
    with pytest.raises(RemoteError, match=r"manifest\.parquet cannot be fetched in 4 tries"):
        open_remote()


def test_wrong_urls(host, tmp_path):
    def open_url(url, **settings):
        return Index.open(url, cache=tmp_path, **settings)

    host.server.folder = tmp_path
    with pytest.raises(RemoteError, match=r"manifest\.parquet is not there; check the URL"):
        open_url(host.url)
    with pytest.raises(RemoteError, match="nosuch"):
        open_url("nosuch://bucket/folder")
    for url in ("http://h/shard-{000..004}.tar", "http://h/a.tar", "simplecache::http://h/a"):
        with pytest.raises(ValueError, match="the URL of the folder"):
            open_url(url)
    with pytest.raises(ValueError, match="fetch must be one of shards, samples"):
        open_url(host.url, fetch="bytes")


def test_cache_keeps_its_bound(folder, host, open_remote, tmp_path):
    largest = max(path.stat().st_size for path in folder.glob("*.tar"))
    index, local = open_remote(cache_bytes=2 * largest), Index.open(folder)
    for row in (0, 4, 0, 8, 0, 12, 16, 0):
        assert index.read(row) == local.read(row)
        assert sum(stored(tmp_path / "cache")) <= 2 * largest
        assert len(index._maps) <= 2, "maps of removed shards would keep their disk space"
    asked = host.shards_asked()
    # Shard 0, used between all others but not opened anew, leaves when two others came.
    assert [asked[f"shard-{i:06d}.tar"] for i in range(1, 5)] == [1, 1, 1, 1]
    with pytest.raises(ValueError, match=r"a shard of .* bytes, the cache may hold 1,000"):
        open_remote(cache_bytes=1000)


def read_rows(url, cache, limit, rows, results):
    index = Index.open(url, cache=cache, cache_bytes=limit)
    results.put([index.read(row).key for row in rows])


SPAWN = pytest.param("spawn", marks=pytest.mark.slow)  # each process imports torch: `make slow`


@pytest.mark.parametrize("start_method", ["fork", SPAWN])
def test_processes_share_a_cache(start_method, host, tmp_path):
    host.server.delay_s = 0.05
    context = multiprocessing.get_context(start_method)
    results = context.Queue()
    processes = [
        context.Process(
            target=read_rows, args=(host.url, tmp_path / "cache", 10**8, range(20), results)
        )
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    read = [results.get(timeout=30) for _ in processes]
    for process in processes:
        process.join()
    assert read == [[f"photo_{i:03d}" for i in range(20)]] * 3
    assert host.shards_asked() == {f"shard-{i:06d}.tar": 1 for i in range(5)}


def test_a_tight_cache_shared(folder, host, tmp_path):
    largest = max(path.stat().st_size for path in folder.glob("*.tar"))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    rows = [(7 * i) % 20 for i in range(20)]
    processes = [
        context.Process(
            target=read_rows,
            args=(host.url, tmp_path / "cache", 2 * largest, rows[i:] + rows[:i], results),
        )
        for i in (0, 5, 11)
    ]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        if (tmp_path / "cache" / "shards").exists():
            assert sum(stored(tmp_path / "cache")) <= 2 * largest
        time.sleep(0.005)
    assert sorted(results.get(timeout=9)[0] for _ in processes) == sorted(
        f"photo_{rows[i]:03d}" for i in (0, 5, 11)
    )


def test_what_a_killed_process_left_is_removed(host, open_remote, tmp_path):
    index = open_remote()
    shards = tmp_path / "cache" / "shards"
    shards.mkdir(parents=True)
    (shards / "dead.tar.999999999999.part").write_bytes(b"half")
    (shards / "dead.tar.lock").touch()
    assert index.read(0).key == "photo_000"
    assert not list(shards.glob("*.part"))


@pytest.mark.parametrize("start_method", [None, "fork", SPAWN])
def test_stream_fetches_each_shard_once(start_method, folder, host, open_remote):
    host.server.delay_s = 0.02
    stream = PhotoStream(open_remote(), None, EvalTransform(8))
    sampler = order_for(stream, 3, shards_at_a_time=2, seed=1)
    loader = batches(stream, sampler, 2 if start_method else 0, start_method)
    local = PhotoStream(Index.open(folder), None, EvalTransform(8))
    for _ in range(2):
        keys = [key for batch in loader for key in batch["key"]]
        assert sorted(keys) == sorted(local.index.keys())
    assert host.shards_asked() == {f"shard-{i:06d}.tar": 1 for i in range(5)}


def test_stream_in_a_small_cache(folder, host, open_remote, tmp_path):
    """Four shards of five fit: a block of two, and the next one, fetched meanwhile."""
    largest = max(path.stat().st_size for path in folder.glob("*.tar"))
    stream = PhotoStream(open_remote(cache_bytes=4 * largest), None, EvalTransform(8))
    sampler = order_for(stream, 3, shards_at_a_time=2)
    for batch in batches(stream, sampler):
        assert batch["valid"].all()
        assert sum(stored(tmp_path / "cache")) <= 4 * largest
    # Once each; a thread that is held up may fetch one that is read and removed already.
    assert len(host.shards_asked()) == 5
    assert sum(host.shards_asked().values()) <= 6


@pytest.mark.parametrize("command", ["stats", "show"])
def test_commands_take_a_url(command, host, tmp_path, capsys):
    out = tmp_path / "out"
    cache = ["--cache", str(tmp_path / "cache"), "--output", str(out)]
    assert main([command, host.url, *cache]) == 0
    assert f"written to {out}" in capsys.readouterr().out
    assert (out / "density_map.png").is_file()
    host.server.has_ranges = False
    if command == "show":
        assert main([command, host.url, *cache]) == 2
        assert 'fetch="shards"' in capsys.readouterr().err
        assert main([command, host.url, *cache, "--fetch", "shards"]) == 0


def test_an_order_that_would_fetch_all_the_time(folder, open_remote):
    largest = max(path.stat().st_size for path in folder.glob("*.tar"))
    stream = PhotoStream(open_remote(cache_bytes=3 * largest), None, EvalTransform(8))
    with pytest.raises(ValueError, match=r"5 shards at a time.*fetched again and again"):
        batches(stream, ResumableSampler(20, 4))
    with pytest.raises(ValueError, match="4 shards at a time"):
        batches(stream, order_for(stream, 4, shards_at_a_time=2))
    batches(stream, order_for(stream, 4, shards_at_a_time=1))
    assert os.environ.get("LOCAL_WORLD_SIZE") is None
