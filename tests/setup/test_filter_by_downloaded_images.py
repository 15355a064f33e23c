"""Rows whose photo is missing are taken out, listed, and nothing else changes."""

import csv
import sqlite3
from contextlib import closing

import pytest

from data.sample import safe_key
from data.shards import ShardWriter
from setup.downloading.ledger import LEDGER, SCHEMA
from setup.filter_by_downloaded_images import filter_table, main

IDS = ["3f/a9/5136118018.jpg", "00/01/22.jpg", "c9/b3/333.jpg"]
# Windows lines, an index column without a name, quotes, a comma and a line end inside of them, a
# short row, blanks, letters that are not ASCII, and no line end after the last row.
TABLE = (
    "\ufeff,IMG_ID,LAT,LON,title\r\n"
    "0,3f/a9/5136118018.jpg,1.50,2e-05,Zürich\r\n"
    '1,"00/01/22.jpg",3,4,"a, b\r\nand ""c"""\r\n'
    "2,c9/b3/333.jpg,5\r\n"
    "\r\n"
    "3,,5,6,x\r\n"
    "4,c9/b3/333.jpg , 7,8.000,last"
).encode()


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mp16_places365.csv"
    path.write_bytes(TABLE)
    return path


@pytest.fixture
def photos(tmp_path):
    """Make a folder of (not empty) photo files."""

    def make(*names):
        for name in names:
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"photo")
        return tmp_path / "photos"

    return make


def filtered(table, images):
    output = table.with_name("kept.csv")
    result = filter_table(table, images, output)
    with result.listed.open(newline="") as file:
        return output.read_bytes(), list(csv.reader(file))[1:], result


def test_rows_keep_their_bytes(table, photos):
    kept, gone, result = filtered(table, photos(IDS[0], IDS[2]))
    lines = TABLE.split(b"\r\n")
    assert kept == b"\r\n".join([lines[0], lines[1], lines[4], lines[7]])
    assert gone == [["2", IDS[1], "no such photo"], ["4", "", "missing id"]]
    assert result.kept == 3
    assert result.gone == {"no such photo": 1, "missing id": 1}


def test_all_there_is_the_same_file_less_its_blank_lines(table, photos):
    table.write_bytes(TABLE.replace(b"3,,5,6,x\r\n", b"").replace(b"\r\n\r\n", b"\r\n"))
    kept, gone, _ = filtered(table, photos(*IDS))
    assert kept == table.read_bytes()
    assert gone == []


@pytest.mark.parametrize(
    ("image_id", "name"),
    [
        ("3f/a9/5136118018.jpg", "3f/a9/5136118018.jpg"),
        ("3f/a9/5136118018.jpg", "3f_a9_5136118018.jpg"),
        ("3f/a9/5136118018.jpg", "3f/a9/5136118018.jpg.png"),
        ("3f/a9/5136118018.jpg", safe_key("3f/a9/5136118018.jpg") + ".jpg"),
        ("3f_a9_5136118018.jpg", "3f/a9/5136118018.jpg"),
        ("3f_a9_5136118018.jpg", "3f_a9_5136118018.jpg"),
        ("3f/a9/5136118018", "3f/a9/5136118018.JPG"),
        ("5136118018", "5136118018.webp"),
    ],
)
def test_names_of_photos(table, photos, image_id, name):
    table.write_text(f"IMG_ID,LAT,LON\n{image_id},1,2\nother,3,4\n")
    _, gone, _ = filtered(table, photos(name))
    assert gone == [["2", "other", "no such photo"]]


def test_an_id_is_found_only_by_its_own_photo(table, photos):
    table.write_text("id,lat,lon\na_b/c.jpg,1,2\na/b_c.jpg,1,2\nd.jpg,1,2\n")
    _, gone, _ = filtered(table, photos("a_b/c.jpg", "d.jpg.tmp", "d.txt", "e.jpg"))
    assert [row[1] for row in gone] == ["a/b_c.jpg", "d.jpg"]


def test_empty_files_are_no_photos(table, photos):
    folder = photos(*IDS)
    (folder / IDS[1]).write_bytes(b"")
    assert filtered(table, folder)[1][0] == ["2", IDS[1], "no such photo"]


def test_a_list_of_urls_without_header(tmp_path, photos):
    table = tmp_path / "mp16_urls.csv"
    urls = [f"{image_id},http://farm5.example.org/1/{i}_a.jpg\n" for i, image_id in enumerate(IDS)]
    table.write_text("".join(urls))
    kept, gone, _ = filtered(table, photos(*IDS[1:]))
    assert kept.decode() == "".join(urls[1:])
    assert gone == [["1", IDS[0], "no such photo"]]


def test_a_report_of_the_downloader(table, tmp_path):
    report = tmp_path / "report.csv"
    rows = [f"{safe_key(IDS[0])},u,200,,320,240,ab", f"{safe_key(IDS[1])},u,404,gone,,,"]
    report.write_text("key,url,status,error,width,height,sha256\n" + "\n".join(rows))
    _, gone, _ = filtered(table, report)
    assert [row[1] for row in gone] == [IDS[1], IDS[2], "", IDS[2]]


def test_a_ledger_of_the_downloader(table, tmp_path):
    with closing(sqlite3.connect(tmp_path / LEDGER)) as ledger:
        ledger.executescript(SCHEMA)
        rows = [(safe_key(IDS[0]), "u", "ab"), (safe_key(IDS[1]), "u", "")]
        ledger.executemany(
            "INSERT INTO photos (key, url, sha256, list, place) VALUES (?, ?, ?, 1, 1)", rows
        )
        ledger.commit()
    _, gone, _ = filtered(table, tmp_path / LEDGER)
    assert [row[1] for row in gone] == [IDS[1], IDS[2], "", IDS[2]]
    (tmp_path / LEDGER).write_bytes(b"no ledger" * 100)
    with pytest.raises(ValueError, match="not a ledger"):
        filtered(table, tmp_path / LEDGER)


@pytest.mark.parametrize("place", ["shards", "shards/train"])
@pytest.mark.parametrize("key", [safe_key(IDS[0]), "3f_a9_5136118018"])
def test_shards(table, tmp_path, picture, encode, place, key):
    with ShardWriter(tmp_path / place) as writer:
        writer.write(key, encode(picture()), {"lat": 1, "lon": 2})
    kept, gone, _ = filtered(table, tmp_path / "shards")
    assert kept.count(b"\r\n") == 2
    assert len(gone) == 4


def test_nothing_is_written_where_nothing_would_stay(table, photos, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    folder = photos("x.jpg")
    with pytest.raises(ValueError, match=r"none of the photos of .* is in "):
        filter_table(table, folder, tmp_path / "kept.csv")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, folder, folder / "x.jpg"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"name,LAT\nx,1\n", "no column for id; found name, LAT; accepted .* img_id"),
        (b'id,lat\n3f/a9/5136118018.jpg,"1\nb,2\n', "a quote is not closed"),
    ],
)
def test_unusable_tables(table, photos, content, message):
    table.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        filter_table(table, photos(*IDS), table.with_name("kept.csv"))


def test_unusable_places(table, tmp_path):
    output = tmp_path / "kept.csv"
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "a.tar").write_bytes(b"")
    for place, message in (("none", "no folder"), ("tars", r"data\.shards index")):
        with pytest.raises(ValueError, match=message):
            filter_table(table, tmp_path / place, output)
    with pytest.raises(ValueError, match="not a report"):
        filter_table(table, table, output)


def test_never_in_place(table, photos):
    with pytest.raises(ValueError, match="is the table itself"):
        filter_table(table, photos(*IDS), table)
    assert table.read_bytes() == TABLE


def test_command_line(table, photos, capsys):
    words = ["--csv", str(table), "--images", str(photos(IDS[0]))]
    assert main([*words, "--output", str(table.with_name("kept.csv"))]) == 0
    shown = capsys.readouterr().out
    assert "1 rows kept" in shown
    assert "3 rows left out: no such photo" in shown
    assert "kept.csv.missing.csv" in shown
    assert main([*words, "--output", str(table)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
