"""URL lists with header and without, and the sizes of Flickr."""

import pytest

from setup.downloading.url_list import read_url_list, with_size


@pytest.fixture
def url_csv(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "urls.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        "a/1.jpg,http://x/1\n007,https://y/2?q=1\n",
        "IMG_ID,url\na/1.jpg,http://x/1\n007,https://y/2?q=1\n",
        "url,lat,image_id\r\nhttp://x/1,0,a/1.jpg\r\n\r\nhttps://y/2?q=1,0, 007\r\n",
        '"id","source_url"\n"a/1.jpg","http://x/1"\n"007","https://y/2?q=1"',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_with_header_and_without(url_csv, text, encoding):
    expected = [("a/1.jpg", "http://x/1"), ("007", "https://y/2?q=1")]
    assert list(read_url_list(url_csv(text, encoding))) == expected


def test_short_rows_are_kept(url_csv):
    rows = list(read_url_list(url_csv("id,url\n1\n,http://x/2\n3,http://x/3,more\n")))
    assert rows == [("1", ""), ("", "http://x/2"), ("3", "http://x/3")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("id,url\n", "no rows"),
        ("id,where\n1,x\n", "no column for url; found id, where"),
        ("name,url\n1,x\n", "no column for id"),
        ("http://x/1,1\n", "add a header"),
        ("http://x/1\n", "add a header"),
    ],
)
def test_unusable_lists(url_csv, text, message):
    with pytest.raises(ValueError, match=message):
        list(read_url_list(url_csv(text)))


def test_not_utf8(url_csv):
    with pytest.raises(ValueError, match="UTF-8"):
        list(read_url_list(url_csv("id,url\né,http://x/1\n", "latin-1")))


FLICKR = "https://live.staticflickr.com/65535/12345_0123456789"


@pytest.mark.parametrize(
    ("url", "letter", "expected"),
    [
        (f"{FLICKR}.jpg", "z", f"{FLICKR}_z.jpg"),
        (f"{FLICKR}_b.jpg", "z", f"{FLICKR}_z.jpg"),
        (f"{FLICKR}_z.jpg", "z", f"{FLICKR}_z.jpg"),
        (f"{FLICKR}_b.jpg", "", f"{FLICKR}_b.jpg"),
        (f"{FLICKR}_o.jpg", "z", f"{FLICKR}_o.jpg"),
        ("https://example.org/photo_b.jpg", "z", "https://example.org/photo_b.jpg"),
        ("https://example.org/get?id=1", "z", "https://example.org/get?id=1"),
    ],
)
def test_flickr_sizes(url, letter, expected):
    assert with_size(url, letter) == expected
