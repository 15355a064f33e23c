"""From a list of URLs to verified shards, in one run or several; and what goes when photos do."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from data.images import decode_rgb
from data.sharding.reopened_shards import reopen_parts
from data.shards import Index, ShardWriter, verify
from setup.download_images import download, main
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


def test_the_same_bytes_as_packing_the_photos_by_hand(server, rows, tmp_path):
    report = fill(rows, tmp_path / "ours")
    download(rows, tmp_path / "photos", QUICK)
    with ShardWriter(tmp_path / "byhand", PER_SHARD) as writer:
        for i, (key, url) in enumerate(rows):
            jpg = (tmp_path / "photos" / f"{key}.jpg").read_bytes()
            writer.write(key, jpg, {"lat": i, "lon": -i, "url": url})
    assert report.photos == COUNT
    assert tars(tmp_path / "ours") == tars(tmp_path / "byhand")
    for name in ("index.parquet", "manifest.parquet"):
        ours, byhand = (Path / name for Path in (tmp_path / "ours", tmp_path / "byhand"))
        assert ours.read_bytes() == byhand.read_bytes()
    assert sorted(p.name for p in (tmp_path / "ours").iterdir() if p.suffix != ".tar") == [
        "index.parquet",
        "ledger.sqlite",
        "manifest.parquet",
        "report.csv",
    ]


def test_command_line(server, rows, tmp_path, capsys):
    urls, output = tmp_path / "urls.csv", tmp_path / "shards"
    server.answers["/3"] = server.status(404)
    with urls.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["IMG_ID", "url", "LAT", "LON", "author", "heading"])
        table.writerows(
            [f"d/{key}.jpg", url, i, -i, f"a{i % 3}", "" if i else "north"]
            for i, (key, url) in enumerate(rows)
        )
        table.writerow(["nowhere", f"{server.root}/0", "", "", "", ""])
    words = ["--url_csv", str(urls), "--output", str(output), "--shards", "--allow_private"]
    words += ["--samples_per_shard", "6", "--size", "40"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert f"{COUNT - 1} of {COUNT + 1} photos" in shown
    assert "1 HTTP 404, 1 no position" in shown or "1 no position, 1 HTTP 404" in shown
    assert "1 heading unreadable" in shown
    assert server.asked["/0"] == 1  # a row without position is not asked for
    samples = contents(output)
    jpg, facts = samples["d%2Fp7%2Ejpg"]
    assert facts == {"lat": 7, "lon": -7, "author": "a1", "url": f"{server.root}/7"}
    assert decode_rgb(jpg).shape == (40, 60, 3)
    assert main(words) == 2
    assert "holds shards already" in capsys.readouterr().err
    asked = server.asked.copy()
    assert main([*words, "--resume"]) == 0  # nothing is left to ask for
    assert server.asked == asked
    for bad in (["--csv", "x"], ["--samples_per_shard", "0", "--shards"], []):
        with pytest.raises(SystemExit):
            main(["--output", str(output), *(["--url_csv", "x"] if bad else []), *bad])


def test_positions_from_a_table_of_their_own(server, rows, tmp_path):
    urls, table, output = tmp_path / "urls.csv", tmp_path / "photos.csv", tmp_path / "shards"
    urls.write_text("".join(f"{key},{url}\n" for key, url in rows))
    table.write_text("id,lat,lon\n" + "".join(f"{key},{i},0\n" for i, (key, _) in enumerate(rows)))
    words = ["--url_csv", str(urls), "--csv", str(table), "--output", str(output), "--shards"]
    assert main([*words, "--allow_private"]) == 0
    before, asked = contents(output), server.asked.copy()
    assert before["p5"][1]["lat"] == 5
    # A position that was mended has its shard written anew, without asking for the photo.
    table.write_text(table.read_text().replace("p5,5,0", "p5,55,0"))
    assert main([*words, "--allow_private", "--resume"]) == 0
    after = contents(output)
    assert server.asked == asked
    assert after["p5"] == (before["p5"][0], before["p5"][1] | {"lat": 55})
    assert {k: v for k, v in after.items() if k != "p5"} == {
        k: v for k, v in before.items() if k != "p5"
    }


def test_what_comes_in_another_round_finds_its_shard(server, rows, tmp_path):
    whole = tars(tmp_path / "whole") if fill(rows, tmp_path / "whole") else None
    good = server.answers["/8"]
    server.answers["/8"] = server.status(403)
    assert fill(rows, tmp_path / "two").failures() == {"HTTP 403": 1}
    assert len(contents(tmp_path / "two")) == COUNT - 1
    server.answers["/8"] = good
    untouched = (tmp_path / "two" / "shard-000000.tar").stat().st_mtime_ns
    assert fill(rows, tmp_path / "two").photos == COUNT
    assert tars(tmp_path / "two") == whole
    assert (tmp_path / "two" / "shard-000000.tar").stat().st_mtime_ns == untouched
    assert len(contents(tmp_path / "two")) == COUNT


def test_a_list_that_grows(server, rows, tmp_path):
    assert fill(rows[:8], tmp_path).photos == 8
    asked = server.asked.copy()
    assert fill(rows, tmp_path).photos == COUNT
    assert sum((server.asked - asked).values()) == COUNT - 8
    assert len(contents(tmp_path)) == COUNT


def test_a_shard_that_is_lost_or_half_written(server, rows, tmp_path):
    fill(rows, tmp_path)
    before = tars(tmp_path)
    (tmp_path / "shard-000001.tar").unlink()
    cut = tmp_path / "shard-000002.tar"
    cut.write_bytes(before[cut.name][: len(before[cut.name]) // 2])
    server.asked.clear()
    report = fill(rows, tmp_path)
    assert PER_SHARD < report.lost < 2 * PER_SHARD  # what is whole in the cut one is kept
    assert sum(server.asked.values()) == report.lost
    assert tars(tmp_path) == before
    assert len(contents(tmp_path)) == COUNT


def test_shards_without_their_ledger_are_left_alone(server, rows, tmp_path):
    fill(rows, tmp_path)
    (tmp_path / "ledger.sqlite").unlink()
    with pytest.raises(ValueError, match=r"no ledger\.sqlite"):
        fill(rows, tmp_path)


def test_reopened_shards_join_to_what_they_were(server, rows, tmp_path):
    from data.sharding.part import join_parts

    fill(rows, tmp_path)
    tables = ("index.parquet", "manifest.parquet")
    before = [(tmp_path / name).read_bytes() for name in tables]
    assert reopen_parts(tmp_path) == 4
    assert not any((tmp_path / name).exists() for name in tables)
    assert join_parts(tmp_path) == COUNT
    assert [(tmp_path / name).read_bytes() for name in tables] == before
    with pytest.raises(ValueError, match=r"no index\.parquet"):
        reopen_parts(tmp_path / "nowhere")


def test_resized_as_pillow_does(picture, encode):
    from setup.downloading.small_jpeg import _resized

    noise = np.random.default_rng(0).integers(0, 256, (123, 211, 3), dtype=np.uint8)
    expected = Image.fromarray(noise).resize((150, 88), Image.Resampling.BICUBIC)
    assert np.abs(_resized(noise, 88, 150).astype(int) - np.asarray(expected)).max() <= 1


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
