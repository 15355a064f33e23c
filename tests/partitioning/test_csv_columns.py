"""Columns of a CSV as text: Python's own reader is the oracle; what is malformed is told."""

import csv
import random

import pytest

import partitioning.csv_columns
from partitioning.csv_columns import Malformed, read_columns, read_names


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_python_reads_the_same(file, monkeypatch):
    """Quotes, commas, line ends in fields, blanks, empty lines, across the reader's blocks.

    Where its blocks meet, Arrow may take the second half of a Windows line end out of a field.
    """
    monkeypatch.setattr(partitioning.csv_columns, "MAX_ROW_BYTES", 1024)
    random.seed(0)
    pieces = ["a", "é", " ", '""', ",", "\r\n", "1.50", "", "x" * 40, "\U0001f30d"]
    fields = ["".join(random.choices(pieces, k=random.randrange(4))) for _ in range(200)]
    plain = [f for f in fields if not set(f) & set('",\r\n')]
    lines = ["id,b,c"]
    for i in range(4000):
        texts = [f"k{i}", random.choice(plain), random.choice(plain)]
        if i % 3 == 0:
            texts[random.randrange(3)] = f'"{random.choice(fields)}"'
        lines += [",".join(texts), *[""] * (i % 9 == 0)]
    path = file("\r\n".join(lines))
    table, malformed = read_columns(path)
    with path.open(newline="", encoding="utf-8") as opened:
        expected = [row for row in csv.reader(opened) if row][1:]
    assert not malformed
    assert one_line_end(zip(*table.to_pydict().values(), strict=True)) == one_line_end(expected)


def one_line_end(rows):
    return [[field.replace("\r\n", "\n").replace("\r", "\n") for field in row] for row in rows]


def test_malformed_rows_are_told_by_number(file):
    filler = "".join(f"{i},b,{'c' * 90}\n" for i in range(60_000))
    text = f'a,b,c\n1,2,3\n\n4,5\n6,7,8,9\n{filler}x,\'y\n10,11,12\n"z"\n'
    table, malformed = read_columns(file(text))
    assert malformed == [
        Malformed(2, "4,5", "short row"),
        Malformed(3, "6,7,8,9", "long row"),
        Malformed(60_004, "x,'y", "short row"),
        Malformed(60_006, '"z"', "short row"),
    ]
    assert len(table) == 60_002
    assert malformed[1].field(3) == "9"
    assert malformed[3].field(0) == "z"
    assert malformed[0].field(2) == ""


def test_names(file):
    assert read_names(file("\ufeff,id, url ,url,\nx")) == [
        *("Unnamed: 0", "id", "url", "url.1", "Unnamed: 4"),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(file, end):
    table, _ = read_columns(file(f"a,b{end}1,2{end}{end}3,4"))
    assert table.to_pydict() == {"a": ["1", "3"], "b": ["2", "4"]}


ROWS = "".join(f"{i},x,y\n" for i in range(50))


@pytest.mark.parametrize(
    "text",
    [
        f'a,b,c\n1,2,"open\n{ROWS}',  # to the end of the file
        f'a,b,c\n1,"open,2\n{ROWS}',  # what is swallowed makes a row too short
        f'a,b,c\n1,"open,2\n{ROWS}9,"x",y\n',  # to the next quote: a good row by its looks
        f'a,b,c\n1,2,"open\n{ROWS * 20_000}',  # more than the reader takes at a time
    ],
)
def test_a_quote_that_swallows_rows_is_an_error(file, text):
    with pytest.raises(ValueError, match=r"t\.csv: .*(close its quote|a quote is not closed)"):
        read_columns(file(text))


def test_a_caption_of_several_lines_is_none(file):
    table, malformed = read_columns(file('a,b,c\n1,2,"one,\ntwo"\n3,4,5\n'))
    assert table["c"].to_pylist() == ["one,\ntwo", "5"]
    assert not malformed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("a,b\n", "a header but no rows"),
        ("a,b\n1,2,3\n4,5,6\n", "more fields than the header"),
        (b"a,b\n\xff\xfe,2\n", "not a CSV in UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "not a CSV in UTF-8"),
    ],
)
def test_unusable_files(file, text, message):
    with pytest.raises(ValueError, match=rf"t\.csv: {message}|t\.csv: .*{message}"):
        read_columns(file(text))


def test_names_that_meet_those_of_repeated_ones(file):
    names = read_names(file("id,url,url.1,url,url\n"))
    assert names == ["id", "url", "url.1", "url.2", "url.3"]
    table, _ = read_columns(file("id,url,url.1,url\n1,a,b,c\n"))
    assert table.to_pylist() == [{"id": "1", "url": "a", "url.1": "b", "url.2": "c"}]
