"""Panoramax: open street imagery of many publishers, by its STAC interface; no token needed.

Search: https://api.panoramax.xyz/api/docs/swagger and
https://gitlab.com/panoramax/server/api/-/blob/develop/docs/api/stac_deviation.md. A search gives
at most `limit` pictures, those in the middle of the box first, and the servers of today no link
to more: boxes that are full are cut. STAC's `next` is followed where a server gives it
(https://github.com/radiantearth/stac-api-spec, "Paging"). An item has links of its own, whose
`next` is the next picture of its sequence. Of a panorama that shows a part of the sphere, an item
tells what is cut off on each side (`visible_area`: left, top, right, bottom); pictures of reduced
size have lost the GPano tags that say so. Faces and number plates are blurred before a picture
is published; it is taken as it is served.
"""

from typing import Any
from urllib.parse import quote

from data.panoramas.tags import Crop
from setup.street.area import Box, box_text
from setup.street.photo import (
    StreetPhoto,
    heading_of,
    link,
    member,
    number,
    point,
    problem_of,
    text,
    utc,
)
from setup.street.source import Page

FULL_CIRCLE_DEG = 360.0


class Panoramax:
    """A server of Panoramax, or the catalogue of all of them.

    Args:
        server: where its interface is, up to `/api`.
        is_large: the picture of full size instead of the one 2048 pixels wide.
    """

    title = "Panoramax"
    about = "https://panoramax.fr"
    default_server = "https://api.panoramax.xyz/api"
    step_deg = 0.01
    page_items = 1000  # an item has some 7 KB
    needs_token = False

    def __init__(self, server: str, is_large: bool) -> None:
        self.server, self.assets = server, ("hd", "sd") if is_large else ("sd", "hd")

    def headers(self, token: str) -> dict[str, str]:
        """None."""
        return {}

    def search_url(self, box: Box) -> str:
        """Where the photos of a box are listed."""
        return f"{self.server}/search?bbox={box_text(box)}&limit={self.page_items}"

    def item_url(self, photo_id: str) -> str:
        """Where one photo is described: a search for it."""
        return f"{self.server}/search?ids={quote(photo_id, safe='')}"

    def page(self, answer: Any) -> Page:
        """Read the answer to a search; raises ValueError where it is none."""
        items, links = member(answer, "features"), member(answer, "links")
        if not isinstance(items, list):
            raise ValueError("no list of features")
        following = [
            link(member(found, "href"))
            for found in (links if isinstance(links, list) else [])
            if member(found, "rel") == "next"
        ]
        return Page(items, following[0] if following else "")

    def item(self, answer: Any) -> Any:
        """Read the answer to `item_url`; None where the photo is gone."""
        items = self.page(answer).items
        return items[0] if items else None

    def photo(self, item: Any) -> StreetPhoto:
        """Read a STAC item."""
        facts = member(item, "properties")
        lat, lon = point(member(item, "geometry")) or (None, None)
        hfov_deg = number(member(facts, "pers:interior_orientation", "field_of_view"))
        # Only spherical pictures are cut into tiles by a server; not every camera told its field.
        is_panorama = hfov_deg == FULL_CIRCLE_DEG or bool(member(facts, "tiles:tile_matrix_sets"))
        crop = _crop(member(facts, "pers:interior_orientation")) if is_panorama else None
        if is_panorama:
            hfov_deg = FULL_CIRCLE_DEG * (crop.width / crop.full_width if crop else 1.0)
        photo_id = text(member(item, "id"))
        urls = [link(member(item, "assets", name, "href")) for name in self.assets]
        photo = StreetPhoto(
            photo_id,
            lat,
            lon,
            heading_of(member(facts, "view:azimuth")),
            utc(member(facts, "datetime")),
            text(member(item, "collection")),
            _author(item),
            text(member(facts, "license")),
            is_panorama,
            hfov_deg,
            f"https://api.panoramax.xyz/#focus=pic&pic={quote(photo_id, safe='')}",
            next(filter(None, urls), ""),
            crop=crop,
        )
        return photo._replace(problem=problem_of(photo))

    def status(self, status: int, answer: Any) -> int:
        """As HTTP has it."""
        return status


def _crop(camera: Any) -> Crop | None:
    """Where a picture lies in the whole sphere; None where that is not told, or makes no sense."""
    cut = _numbers(member(camera, "visible_area"), 4)
    full = _numbers(member(camera, "sensor_array_dimensions"), 2)
    if not (cut and full) or min(cut) < 0:
        return None
    (left, top, right, bottom), (width, height) = cut, full
    crop = Crop(width, height, left, top, width - left - right, height - top - bottom)
    return crop if min(crop.width, crop.height) > 0 else None


def _numbers(values: Any, count: int) -> list[float]:
    """So many finite numbers; none where it is anything else."""
    found = [number(value) for value in values] if isinstance(values, list) else []
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) == count else []


def _author(item: Any) -> str:
    """Who took it: the producers, of whom there may be an account and a photographer."""
    providers = member(item, "providers")
    names = [
        text(member(provider, "name"))
        for provider in (providers if isinstance(providers, list) else [])
    ]
    named = ", ".join(dict.fromkeys(filter(None, names)))
    return named or text(member(item, "properties", "geovisio:producer"))
