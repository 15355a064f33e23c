"""The listing: every box of the area is searched, page by page, until no photo is left out.

A service shows so many photos of a box and no more. A full box without a next page is cut in four,
as is one that the service cannot answer (a search may be too much for it), until the boxes are a
few metres wide. Boxes that fail stay due, for the next run.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from setup.downloading.fetch import FetchError
from setup.street.api import Api, on_server
from setup.street.area import Box, quarters
from setup.street.collection import GONE, Collection, Search
from setup.street.licences import licence_problem
from setup.street.photo import StreetPhoto
from setup.street.source import Page

MOST_PAGES = 200  # of a box; links that never end are a fault of the service
ENDLESS = "strange answer: pages without end"
MOST_FAILURES = 20  # boxes on end before the service is left alone
FULL = "full box: the service shows no more of it"
TOO_MUCH = (500, 502, 504)  # what services answer to a search that takes them too long
NEAR_DEG = 0.003  # a computed position may lie that far from the one that a search goes by
OUTSIDE = "outside the area"


class Listing:
    """One run over the boxes that are due; to be used once, inside a running loop.

    Args:
        api: of the service.
        collection: where what is listed goes.
        most_photos: more end the run.
        advance: called for each page with how many boxes are known of now, and the cause of a
            failure.
    """

    def __init__(
        self,
        api: Api,
        collection: Collection,
        most_photos: int,
        advance: Callable[[int, str], None],
    ) -> None:
        self.api, self.collection, self.most_photos = api, collection, most_photos
        self._advance, self._failures = advance, 0
        self._restarted: set[int] = set()
        self._pages: Counter[int] = Counter()
        self._queue: asyncio.Queue[Search] = asyncio.Queue()

    async def run(self, workers: int) -> None:
        """Search all boxes that are due.

        Raises:
            ValueError: the token is refused, or there are more than `most_photos`.
            OSError: the service asks to be left alone, or fails on end.
        """
        for search in self.collection.due():
            self._queue.put_nowait(search)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._work()) for _ in range(workers)]
                await self._queue.join()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _work(self) -> None:
        while True:
            search = await self._queue.get()
            following, cause = await self._search(search)
            for again in following:
                self._queue.put_nowait(again)
            self._advance(len(following), cause)
            self._queue.task_done()

    async def _search(self, search: Search) -> tuple[list[Search], str]:
        """Ask for one page; what is to be searched after it, and why it failed, if it did."""
        source = self.api.source
        url = search.next_url or source.search_url(search.box)
        try:
            answer = await self.api.get(url)
            following = await asyncio.to_thread(self._keep, search, url, answer)
        except FetchError as error:
            return self._fail(search, error)
        self._failures = 0
        return following, ""

    def _keep(self, search: Search, url: str, answer: Any) -> list[Search]:
        """Write a page down; what is to be searched after it."""
        items, next_url = self._page(search, url, answer)
        photos = [self.read(item, search.box) for item in items]
        cut: list[Box] = []
        if not next_url and len(items) >= self.api.source.page_items:
            cut = quarters(search.box)
            if not cut:
                self.collection.keep(search, photos)
                raise FetchError(FULL)
        following = self.collection.keep(search, photos, next_url, cut)
        if (count := self.collection.count()) > self.most_photos:
            raise ValueError(
                f"the area holds over {self.most_photos:,} photos ({count:,} so far); raise "
                "--max_photos, or take a smaller --area and another --out"
            )
        return following

    def _page(self, search: Search, url: str, answer: Any) -> Page:
        source = self.api.source
        try:
            page = source.page(answer)
            next_url = on_server(source.server, page.next_url) if page.next_url else ""
        except ValueError as error:
            raise FetchError(f"strange answer: {error}") from error
        self._pages[search.number] += 1
        if next_url and self._pages[search.number] >= MOST_PAGES:
            raise FetchError(ENDLESS)
        # A page may be empty and still lead on; one that leads to itself is the last.
        return Page(page.items, next_url if next_url != url else "")

    def _fail(self, search: Search, error: FetchError) -> tuple[list[Search], str]:
        """What to do about a page that did not come; returns as `_search`."""
        if str(error) == FULL:
            self.collection.fail(search, FULL)
            return [], FULL.partition(":")[0]
        may_expire = search.next_url and not error.is_passing and str(error) != ENDLESS
        if may_expire and search.number not in self._restarted:
            self._restarted.add(search.number)
            del self._pages[search.number]
            return [self.collection.restart(search)], ""
        self._failures += 1
        cut = quarters(search.box) if error.status in TOO_MUCH else []
        if cut and self._failures < MOST_FAILURES:
            return self.collection.keep(search, (), cut=cut), ""
        self.collection.fail(search, str(error))
        if self._failures >= MOST_FAILURES:
            raise OSError(f"{self.api.source.title} failed {MOST_FAILURES} times on end: {error}")
        return [], str(error).partition(":")[0]

    def read(self, item: Any, box: Box | None = None) -> StreetPhoto:
        """An item as a photo, with its problem if it has one."""
        photo = self.api.source.photo(item)
        if not photo.id:
            name = json.dumps(item, sort_keys=True, default=str).encode()
            return photo._replace(id=f"?{hashlib.blake2b(name, digest_size=8).hexdigest()}")
        if photo.problem:
            return photo
        if box and not _is_near(photo, box):
            return photo._replace(problem=OUTSIDE)
        is_allowed = self.collection.kind.any_licence
        return photo if is_allowed else photo._replace(problem=licence_problem(photo.licence))


def _is_near(photo: StreetPhoto, box: Box) -> bool:
    west, south, east, north = box
    if photo.lat is None or photo.lon is None:
        return False
    is_north = south - NEAR_DEG <= photo.lat <= north + NEAR_DEG
    return is_north and west - NEAR_DEG <= photo.lon <= east + NEAR_DEG


async def check_unlisted(listing: Listing, workers: int, advance: Callable[[str], None]) -> None:
    """Ask for each photo that was listed once and is not now; those that are gone get a problem.

    A search may leave a photo out that is still there, so none goes for that alone.

    Raises:
        ValueError: the token is refused.
        OSError: the service asks to be left alone.
    """
    waiting = iter(listing.collection.unlisted())

    async def work() -> None:
        for photo_id in waiting:
            advance(await _check(listing, photo_id))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _check(listing: Listing, photo_id: str) -> str:
    photo, cause = await describe(listing, photo_id)
    if photo:
        listing.collection.add(photo)
    elif cause == GONE:
        listing.collection.lose(photo_id, GONE)
    return cause


async def describe(listing: Listing, photo_id: str) -> tuple[StreetPhoto | None, str]:
    """Ask the service for one photo.

    Returns:
        The photo and "", or None and why there is none; `GONE` where the service says so.
    """
    source = listing.api.source
    try:
        answer = await listing.api.get(source.item_url(photo_id))
    except FetchError as error:
        return None, GONE if error.is_withdrawn else str(error)
    try:
        item = source.item(answer)
    except ValueError as error:
        return None, f"strange answer: {error}"
    if item is None:
        return None, GONE
    photo = listing.read(item)
    return (photo, "") if photo.id == photo_id else (None, "strange answer: another photo")
