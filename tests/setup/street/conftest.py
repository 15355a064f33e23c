"""A made-up street, and a server of our own that tells of it as Panoramax and Mapillary do.

Answers follow their documentation: https://api.panoramax.xyz/api/docs/swagger and
https://www.mapillary.com/developer/api-documentation.
"""

import json
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import pytest

from setup.collect_street import collect
from setup.downloading.fetch import Limits
from setup.downloading.settings import Settings
from setup.street.settings import Plan

TOKEN = "MLY|1234|a-secret-that-nobody-may-see"
QUICK = Settings(
    allow_private=True, workers=4, per_host=4, limits=Limits(first_pause_s=0.01, timeout_s=10)
)


@dataclass
class Photo:
    """One photo of the street, as the server knows it."""

    id: str
    lat: float
    lon: float
    jpg: bytes
    licence: str | None = "CC-BY-SA-4.0"
    author: str = "Ann"
    taken_ms: int = 1_600_000_000_000  # 2020-09-13T12:26:40Z
    sequence: str = "walk"
    is_panorama: bool = False
    heading: float = 90.0
    extra: dict = field(default_factory=dict)  # members that replace the documented ones


class Street:
    """What the server answers; tests change it between runs.

    Attributes:
        photos: by id.
        most: the server shows so many of a search, whatever was asked for.
        has_pages: whether it links to the next page then.
        signature: in picture URLs; those with another one have expired.
        expired_status: what they get.
        raw: answers to send as they are, one for each request whose path has the key.
        asked: how often each kind of request came: "search", "item", "picture".
    """

    def __init__(self, server):
        self.server, self.photos, self.most, self.has_pages = server, {}, 10_000, False
        self.signature, self.expired_status, self.token = 1, 403, TOKEN
        self.raw, self.asked, self.fetched = {}, Counter(), Counter()
        self.widest_deg, self.headers, self.lock = 0.0, [], threading.Lock()
        self.pause_s, self.on_search, self.status_503 = 0.0, (lambda _: None), server.status(503)
        server.answers = self

    def get(self, path, _):
        """What `Server` asks for the answer to a path."""
        return self.server.status(501) if path.startswith("HEAD ") else self.answer

    def answer(self, handler):
        """Answer one request."""
        with self.lock:
            self.headers.append(dict(handler.headers))
            if "bbox" in handler.path:
                self.on_search(time.monotonic())
            for part, answers in self.raw.items():
                if part in handler.path and answers:
                    return answers.pop(0)(handler)
            answer = self.route(handler)
        time.sleep(self.pause_s)
        return answer(handler)

    def route(self, handler):
        parts = urlsplit(handler.path)
        query = dict(parse_qsl(parts.query))
        if parts.path.startswith("/img/"):
            return self.picture(parts.path.removeprefix("/img/"), query, handler)
        is_mapillary = not parts.path.startswith("/api/")
        if is_mapillary and handler.headers.get("Authorization") != f"OAuth {self.token}":
            said = f"Malformed access token {handler.headers.get('Authorization')}"
            return self.json({"error": {"message": said, "code": 190}}, 401)
        if "bbox" in query:
            return self.search(query, is_mapillary, handler.path)
        self.asked["item"] += 1
        if is_mapillary:
            photo = self.photos.get(parts.path[1:])
            missing = {"error": {"message": "no such", "code": 100, "error_subcode": 33}}
            return self.json(self.image(photo)) if photo else self.json(missing, 400)
        found = [self.photos[query["ids"]]] if query["ids"] in self.photos else []
        return self.json({"features": [self.item(photo) for photo in found], "links": []})

    def search(self, query, is_mapillary, path):
        self.asked["search"] += 1
        west, south, east, north = map(float, query["bbox"].split(","))
        self.widest_deg = max(self.widest_deg, east - west, north - south)
        if is_mapillary and max(east - west, north - south) >= 0.01:
            return self.json({"error": {"message": "bbox is too large", "code": 100}}, 400)
        middle = (south + north) / 2, (west + east) / 2
        inside = [p for p in self.photos.values() if self.is_in(p, west, south, east, north)]
        inside.sort(key=lambda p: (math.dist((p.lat, p.lon), middle), p.id))
        most, page = min(self.most, int(query["limit"])), int(query.get("page", 0))
        shown = inside[page * most : (page + 1) * most]
        is_last = not self.has_pages or (page + 1) * most >= len(inside)
        href = f"{self.server.root}{path.split('&page')[0]}&page={page + 1}"
        if is_mapillary:
            paging = {} if is_last else {"paging": {"next": f"{href}&access_token={self.token}"}}
            return self.json({"data": [self.image(photo) for photo in shown], **paging})
        links = [{"rel": "root", "href": f"{self.server.root}/api"}]
        links += [] if is_last else [{"rel": "next", "href": href}]
        items = [self.item(photo) for photo in shown]
        return self.json({"type": "FeatureCollection", "features": items, "links": links})

    @staticmethod
    def is_in(photo, west, south, east, north):
        return south <= photo.lat <= north and west <= photo.lon <= east

    def picture(self, name, query, handler):
        self.asked["picture"] += 1
        self.fetched[name] += 1
        if query.get("signature") != str(self.signature):
            return self.server.status(self.expired_status)
        if name not in self.photos:
            return self.server.status(404)
        etag = f'"{hash(self.photos[name].jpg)}"'
        if handler.headers.get("If-None-Match") == etag:
            return self.server.status(304, ETag=etag)
        return self.server.body(self.photos[name].jpg, ETag=etag)

    def url(self, photo):
        return f"{self.server.root}/img/{photo.id}?signature={self.signature}"

    def item(self, photo):
        """As Panoramax has it: an item of STAC, which has a `next` of its own."""
        moment = f"20{20 + (photo.taken_ms - 1_577_836_800_000) // 31_622_400_000}-09-13T12:26:40Z"
        field_of_view = 360 if photo.is_panorama else 70
        facts = {
            "datetime": moment,
            "license": photo.licence,
            "view:azimuth": photo.heading,
            "pers:interior_orientation": {"field_of_view": field_of_view},
            "geovisio:producer": photo.author,
        }
        return {
            "type": "Feature",
            "id": photo.id,
            "geometry": {"type": "Point", "coordinates": [photo.lon, photo.lat]},
            "collection": photo.sequence,
            "providers": [{"name": photo.author, "roles": ["producer"]}],
            "properties": {k: v for k, v in facts.items() if v is not None},
            "assets": {"hd": {"href": self.url(photo) + "&hd"}, "sd": {"href": self.url(photo)}},
            "links": [{"rel": "next", "href": f"{self.server.root}/api/no-page"}],
        } | photo.extra

    def image(self, photo):
        """As Mapillary has it."""
        return {
            "id": photo.id,
            "geometry": {"type": "Point", "coordinates": [photo.lon, photo.lat]},
            "captured_at": photo.taken_ms,
            "compass_angle": photo.heading,
            "sequence": photo.sequence,
            "is_pano": photo.is_panorama,
            "camera_type": "spherical" if photo.is_panorama else "perspective",
            "camera_parameters": [] if photo.is_panorama else [0.5, 0.0, 0.0],
            "width": 90,
            "height": 60,
            "creator": {"username": photo.author, "id": "7"},
            "thumb_2048_url": self.url(photo),
            "thumb_original_url": self.url(photo) + "&large",
        } | photo.extra

    def json(self, answer, status=200, **headers):
        return self.bytes(json.dumps(answer).encode(), status, **headers)

    def bytes(self, body, status=200, **headers):
        def answer(handler):
            handler.send_response(status)
            for name, value in ({"Content_Length": len(body)} | headers).items():
                handler.send_header(name.replace("_", "-"), str(value))
            handler.end_headers()
            handler.wfile.write(body)

        return answer


@pytest.fixture
def street(server, picture, encode):
    """A street of six photos along the 50th parallel, 200 m apart, one of them a panorama."""
    street = Street(server)
    for i in range(6):
        name, jpg = f"photo{i}", encode(picture(60, 90, seed=i))
        street.photos[name] = Photo(name, 50.001, 8.001 + 0.003 * i, jpg, is_panorama=i == 5)
    return street


AREA = ((8.0, 50.0, 8.02, 50.005),)


@pytest.fixture
def plan(street, tmp_path):
    """What to collect of the street; `plan("mapillary", is_dry=True)`."""

    def make(source="panoramax", boxes=AREA, out="out", **options):
        kind = {name: options.pop(name) for name in ("any_licence", "size") if name in options}
        server = f"{street.server.root}/api" if source == "panoramax" else street.server.root
        given = {"source": source, "server": server, **kind}
        token = options.pop("token", TOKEN if source == "mapillary" else "")
        return Plan(tmp_path / out, given, boxes, token, **options)

    return make


@pytest.fixture
def run(plan):
    """Collect; `run("mapillary", is_refresh=True)`."""

    def run(source="panoramax", settings=QUICK, **options):
        return collect(plan(source, **options), settings)

    return run


@pytest.fixture
def quick():
    return QUICK


@pytest.fixture
def token():
    return TOKEN


@pytest.fixture
def photo_of_street():
    return Photo
