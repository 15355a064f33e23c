"""Photos that are not to be had any more go, from folders and from shards; the others stay."""

import json

import pytest

from data.shards import Index, verify
from setup.download_images import download
from setup.downloading.fetch import Limits
from setup.downloading.settings import Settings

QUICK = Settings(allow_private=True, workers=8, size=40, limits=Limits(first_pause_s=0.01))
COUNT, PER_SHARD = 22, 6


@pytest.fixture
def rows(server, picture, encode):
    for i in range(COUNT):
        server.answers[f"/{i}"] = server.body(encode(picture(60, 90, seed=i)))
    return [(f"p{i}", f"{server.root}/{i}") for i in range(COUNT)]


def positions(rows):
    return [(key, json.dumps({"lat": i, "lon": -i}), "") for i, (key, _) in enumerate(rows)]


def fill(rows, folder, **options):
    options = {"samples_per_shard": PER_SHARD, "metadata": positions(rows)} | options
    return download(rows, folder, QUICK, **options)


def contents(folder):
    """Key -> photo and metadata of all samples of a folder of shards."""
    assert verify(folder).ok
    index = Index.open(folder)
    return {s.key: (s.jpg, s.json) for s in (index.read(i) for i in range(len(index)))}


def tars(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.tar")}


def refresh(folder, is_shards):
    size = PER_SHARD if is_shards else 0
    return download(None, folder, QUICK, refresh=True, samples_per_shard=size)


@pytest.mark.parametrize("is_shards", [False, True])
def test_refresh(server, rows, tmp_path, is_shards):
    """What was deleted goes, what was changed comes anew, what cannot be told stays."""
    options = {} if is_shards else {"samples_per_shard": 0, "metadata": ()}
    fill(rows, tmp_path, **options)
    before = tars(tmp_path) if is_shards else {}
    changed = server.answers["/9"]
    outcomes = {
        "/0": server.status(410),
        "/1": server.status(404),
        "/2": server.body(b"", X_Robots_Tag="noai"),
        "/3": server.status(500),
        "/4": changed,
    }
    server.answers |= outcomes
    server.asked.clear()
    report = refresh(tmp_path, is_shards)
    assert (report.removed, report.unchecked) == (3, 1)
    assert (report.photos, report.kept) == (COUNT - 3, COUNT - 3)
    errors = {row.key: row.error for row in report.rows if row.error}
    assert errors == {
        "p0": "removed: HTTP 410",
        "p1": "removed: HTTP 404",
        "p2": "removed: opted out: noai",
    }
    if is_shards:
        left = contents(tmp_path)
        assert left["p4"][0] == left["p9"][0]
        untouched = {name for name, data in tars(tmp_path).items() if data == before[name]}
        assert untouched == before.keys() - {"shard-000000.tar"}
    else:
        left = {path.stem for path in tmp_path.glob("*.jpg")}
        assert (tmp_path / "p4.jpg").read_bytes() == (tmp_path / "p9.jpg").read_bytes()
    assert set(left) == {f"p{i}" for i in range(3, COUNT)}
    server.asked.clear()
    assert fill(rows, tmp_path, **options).photos == COUNT - 3
    assert not server.asked  # what was removed is not asked for again


def test_a_shard_whose_photos_are_all_removed(server, rows, tmp_path):
    fill(rows, tmp_path)
    server.answers |= {f"/{i}": server.status(410) for i in range(PER_SHARD)}
    assert refresh(tmp_path, is_shards=True).removed == PER_SHARD
    assert not (tmp_path / "shard-000000.tar").exists()
    assert len(contents(tmp_path)) == COUNT - PER_SHARD


def test_refresh_asks_no_more_than_it_must(server, tmp_path, picture, encode):
    """By ETag or date where the server gave them, else by HEAD; a GET where HEAD is refused."""
    photo, seen = encode(picture()), {}

    def with_tags(handler):
        name = handler.path[1:]
        seen[name] = dict(handler.headers)
        if {"If-None-Match", "If-Modified-Since"} & set(handler.headers):
            server.status(304)(handler)
        else:
            tags = {"etag": {"ETag": '"v1"'}, "date": {"Last_Modified": "yesterday"}}
            server.body(photo, **tags[name])(handler)

    server.answers |= {"/etag": with_tags, "/date": with_tags}
    server.answers |= {"/plain": server.body(photo), "/nohead": server.body(photo)}
    server.answers |= {"HEAD /plain": server.body(b"")}
    rows = [(name, f"{server.root}/{name}") for name in ("etag", "date", "plain", "nohead")]
    first = download(rows, tmp_path, QUICK).rows
    server.asked.clear()
    again = download(rows, tmp_path, QUICK, refresh=True)
    assert (again.rows, again.removed, again.unchecked) == (first, 0, 0)
    assert seen["etag"]["If-None-Match"] == '"v1"'
    assert seen["date"]["If-Modified-Since"] == "yesterday"
    assert server.asked == {
        "/etag": 1,
        "/date": 1,
        "HEAD /plain": 1,
        "HEAD /nohead": 1,
        "/nohead": 1,
    }


def test_an_unasked_304_is_no_photo(server, tmp_path):
    server.answers["/a"] = server.status(304)
    assert download([("a", f"{server.root}/a")], tmp_path, QUICK).rows[0].error == "HTTP 304"


def test_refresh_needs_a_list_that_was_read(tmp_path):
    with pytest.raises(ValueError, match="give its --url_csv"):
        download(None, tmp_path, QUICK, refresh=True)
