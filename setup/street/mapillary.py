"""Mapillary: street imagery under CC BY-SA 4.0, by its interface of version 4; needs a token.

https://www.mapillary.com/developer/api-documentation. A search box must be smaller than 0.01
degrees a side and gives at most 2000 images; only a search by author is documented to have pages.
Boxes that are full are therefore cut; a link to a next page is followed where there is one. Users
report that large boxes list fewer images than the same area in small ones, hence our boxes of
half the permitted side. Picture URLs expire. Errors carry codes of the Graph API
(https://developers.facebook.com/docs/graph-api/guides/error-handling). Faces and number plates are
blurred by Mapillary; a picture is taken as it is served. Nothing tells of a panorama that shows a
part of the sphere which part that is. Its terms: https://www.mapillary.com/terms
"""

import math
from typing import Any
from urllib.parse import quote

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

LICENCE = "CC-BY-SA-4.0"
FULL_CIRCLE_DEG = 360.0
FIELDS = (
    "id,geometry,computed_geometry,captured_at,compass_angle,computed_compass_angle,sequence,"
    "is_pano,camera_type,camera_parameters,width,height,creator"
)
# Codes of the Graph API -> the status of HTTP that says the same.
STATUSES = {1: 500, 2: 503, 4: 429, 17: 429, 32: 429, 613: 429, 102: 401, 190: 401, 200: 403}
NO_SUCH_OBJECT = (100, 33)  # code and subcode


class Mapillary:
    """The service.

    Args:
        server: where its interface is.
        is_large: the picture of full size instead of the one 2048 pixels wide.
    """

    title = "Mapillary"
    about = "https://www.mapillary.com"
    default_server = "https://graph.mapillary.com"
    step_deg = 0.005
    page_items = 2000
    needs_token = True

    def __init__(self, server: str, is_large: bool) -> None:
        self.server, self.picture = server, "thumb_original_url" if is_large else "thumb_2048_url"

    def headers(self, token: str) -> dict[str, str]:
        """The token, which stands in no URL, hence in no log."""
        return {"Authorization": f"OAuth {token}"}

    def search_url(self, box: Box) -> str:
        """Where the photos of a box are listed."""
        fields = f"{FIELDS},{self.picture}"
        return f"{self.server}/images?bbox={box_text(box)}&fields={fields}&limit={self.page_items}"

    def item_url(self, photo_id: str) -> str:
        """Where one photo is described."""
        return f"{self.server}/{quote(photo_id, safe='')}?fields={FIELDS},{self.picture}"

    def page(self, answer: Any) -> Page:
        """Read the answer to a search; raises ValueError where it is none."""
        items = member(answer, "data")
        if not isinstance(items, list):
            raise ValueError("no list of data")
        return Page(items, link(member(answer, "paging", "next")))

    def item(self, answer: Any) -> Any:
        """Read the answer to `item_url`."""
        return answer if member(answer, "id") else None

    def photo(self, item: Any) -> StreetPhoto:
        """Read an image; what Mapillary computed goes before what the camera told."""
        lat, lon = point(member(item, "computed_geometry"), member(item, "geometry")) or (None,) * 2
        is_panorama = member(item, "is_pano") is True
        photo_id = text(member(item, "id"))
        photo = StreetPhoto(
            photo_id,
            lat,
            lon,
            heading_of(member(item, "computed_compass_angle"), member(item, "compass_angle")),
            utc(member(item, "captured_at")),
            text(member(item, "sequence")),
            text(member(item, "creator", "username")),
            LICENCE,
            is_panorama,
            FULL_CIRCLE_DEG if is_panorama else _hfov_deg(item),
            f"https://www.mapillary.com/app/?pKey={quote(photo_id, safe='')}&focus=photo",
            link(member(item, self.picture)),
        )
        return photo._replace(problem=problem_of(photo))

    def status(self, status: int, answer: Any) -> int:
        """The status that an error's code means."""
        code = member(answer, "error", "code")
        if (code, member(answer, "error", "error_subcode")) == NO_SUCH_OBJECT:
            return 404
        return STATUSES.get(code, status) if isinstance(code, int) else status


def _hfov_deg(item: Any) -> float | None:
    """Of a pinhole camera, whose focal length counts in the longer side of its pictures."""
    parameters = member(item, "camera_parameters")
    focal = number(parameters[0]) if isinstance(parameters, list) and parameters else None
    width, height = number(member(item, "width")), number(member(item, "height"))
    if member(item, "camera_type") != "perspective" or not (focal and width and height):
        return None
    if min(focal, width, height) <= 0:
        return None
    return math.degrees(2 * math.atan(width / max(width, height) / (2 * focal)))
