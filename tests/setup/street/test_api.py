"""The guards around a service's interface."""

import asyncio
import gzip
from dataclasses import replace

import pytest

from setup.downloading.fetch import FetchError, open_session
from setup.street.api import Api, on_server
from setup.street.mapillary import Mapillary
from setup.street.panoramax import Panoramax


@pytest.fixture
def ask(street, quick, token):
    """Ask the server for one path."""

    def make(path="/x?bbox", source=Panoramax, limits=quick.limits):
        async def ask_once():
            async with open_session(limits, 2, "us@example.org", allow_private=True) as session:
                secret = token if source is Mapillary else ""
                api = Api(source(street.server.root, False), session, limits, 2, secret)
                return await api.get(street.server.root + path)

        return asyncio.run(ask_once())

    return make


def test_packed_answers(ask, street):
    packed = gzip.compress(b'{"a": [1, 2]}')
    street.raw["bbox"] = [street.bytes(packed, Content_Encoding="gzip")]
    assert ask() == {"a": [1, 2]}
    assert street.headers[0]["User-Agent"].endswith("us@example.org)")
    assert street.headers[0]["Accept-Encoding"] == "gzip"


def test_answers_that_unpack_to_too_much(ask, street, monkeypatch):
    monkeypatch.setattr("setup.street.api.MOST_BYTES", 100_000)
    bomb = gzip.compress(b" " * 10_000_000)
    street.raw["bbox"] = [street.bytes(bomb, Content_Encoding="gzip")]
    with pytest.raises(FetchError, match="too large"):
        ask()
    street.raw["bbox"] = [street.bytes(b" " * 200_000)]
    with pytest.raises(FetchError, match="too large"):
        ask()
    street.raw["bbox"] = [street.bytes(b"{}", Content_Encoding="br")]
    with pytest.raises(FetchError, match="compressed"):
        ask()


def test_the_token_follows_no_redirect(ask, street):
    away = street.bytes(b"", 302, Location=f"{street.server.root}/away")
    street.raw["bbox"] = [away]
    with pytest.raises(FetchError, match="HTTP 302"):
        ask(source=Mapillary)
    assert len(street.headers) == 1


def test_what_the_service_says_is_told(ask, street):
    street.raw["bbox"] = [street.json({"message": "limit is wrong"}, 400)]
    with pytest.raises(FetchError, match="HTTP 400: limit is wrong"):
        ask()


@pytest.mark.parametrize(
    ("code", "status"), [(4, 429), (613, 429), (190, 401), (1, 500), (100, 400), ("x", 400)]
)
def test_codes_of_the_graph_api(code, status):
    assert Mapillary("", False).status(400, {"error": {"code": code}}) == status


def test_a_limit_of_requests_is_waited_for(ask, street, quick):
    street.raw["bbox"] = [street.json({"error": {"code": 4}}, 403), street.json({"data": []})]
    assert ask(source=Mapillary) == {"data": []}
    street.raw["bbox"] = [street.json({"error": {"code": 4}}, 403)] * 2
    with pytest.raises(FetchError, match="HTTP 429"):
        ask(source=Mapillary, limits=replace(quick.limits, attempts=2))


def test_links_to_next_pages():
    server = "https://graph.example.org"
    link = f"{server}/images?bbox=1%2C2&access_token=MLY%7C1&after=x"
    assert on_server(server, link) == f"{server}/images?bbox=1%2C2&after=x"
    assert on_server(server, "/images?page=2") == f"{server}/images?page=2"
    assert on_server(server, link.replace("https", "http")).startswith("https://")
    for elsewhere in ("https://example.org/images", "//example.org/x", "https://u@example.org"):
        with pytest.raises(ValueError, match="another server"):
            on_server(server, elsewhere)
