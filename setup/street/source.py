"""What a service of street imagery must tell us: how it is asked, and how its answers read."""

from typing import Any, NamedTuple, Protocol

from setup.street.area import Box
from setup.street.photo import StreetPhoto


class Page(NamedTuple):
    """A page of a search.

    Attributes:
        items: as they came, of any kind.
        next_url: of the next page; "" for none.
    """

    items: list[Any]
    next_url: str


class Source(Protocol):
    """One service, at one server; `setup/street/panoramax.py` and `setup/street/mapillary.py`.

    Attributes:
        server: where its interface is.
        title: as in credits.
        about: where its terms are.
        default_server: where its interface is.
        step_deg: side of the boxes that are searched, degrees.
        page_items: asked for in a page; a box that has as many may have more.
        needs_token: whether nothing is to be had without one.
    """

    server: str
    title: str
    about: str
    default_server: str
    step_deg: float
    page_items: int
    needs_token: bool

    def __init__(self, server: str, is_large: bool) -> None: ...

    def headers(self, token: str) -> dict[str, str]:
        """What proves who asks."""

    def search_url(self, box: Box) -> str:
        """Where the photos of a box are listed."""

    def item_url(self, photo_id: str) -> str:
        """Where one photo is described."""

    def page(self, answer: Any) -> Page:
        """Read the answer to a search; raises ValueError where it is none."""

    def item(self, answer: Any) -> Any:
        """Read the answer to `item_url`; None where the photo is gone."""

    def photo(self, item: Any) -> StreetPhoto:
        """Read an item, whatever it is; see the photo's problem."""

    def status(self, status: int, answer: Any) -> int:
        """The status of HTTP that says what an error means; services have their own codes."""
