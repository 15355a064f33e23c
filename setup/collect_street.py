"""Collect open street imagery of an area, with positions, headings, dates, licences and credits.

    python -m setup.collect_street --source panoramax --area 2.34,48.85,2.36,48.86 --out DIR
    MAPILLARY_TOKEN=... python -m setup.collect_street --source mapillary --area ... --out DIR
    python -m setup.collect_street --out DIR --refresh

Panoramax (https://panoramax.fr) needs no token; Mapillary's comes from
https://www.mapillary.com/dashboard/developers. First the area's photos are listed, into tables of
DIR/ledger.sqlite; `--dry_run` ends there. Then they are fetched, as DIR/<id>.jpg, upright and
without EXIF. DIR/photos.csv has the columns that `setup.make_places` reads; panoramas are marked.
DIR/attribution.csv and DIR/CREDITS.md say whom to credit: keep them with the photos.

A place is kept as often as it was photographed: years apart is what time-proof training needs.
Photos without an open licence are refused and counted. A run that is stopped or killed goes on
with the same command, and asks for nothing twice that had finished; another `--area` adds to the
folder. `--refresh` lists all again, takes versions that the server says are new (a face may have
been blurred since) and removes what is gone: run it before you share or train.
"""

import asyncio
import sys
from collections import Counter
from dataclasses import replace

from setup.downloading.course import FOUND
from setup.downloading.fetch import open_session
from setup.downloading.ledger import Ledger
from setup.downloading.ledger_list import REMOVED, add_list, begin, end
from setup.downloading.ledger_report import count_due, count_there, report_rows
from setup.downloading.photo_folder import PhotoFolder
from setup.downloading.progress import show_progress
from setup.downloading.record import UNCHECKED
from setup.downloading.report import write_rows
from setup.downloading.settings import Settings
from setup.resumable import exit_status
from setup.street import SOURCES
from setup.street.api import Api
from setup.street.area import grid_boxes
from setup.street.collection import Collection
from setup.street.course import StreetCourse, remove_withdrawn
from setup.street.listing import Listing, check_unlisted
from setup.street.progress import show_listing
from setup.street.report import REPORT, Collected, listed
from setup.street.settings import TOKEN, Plan, parse_arguments, plan_of, settings_of
from setup.street.source import Source
from setup.street.tables import write_tables


def collect(plan: Plan, settings: Settings | None = None) -> Collected:
    """Collect photos, and write their tables, also when interrupted.

    Not for use inside a running event loop.

    Args:
        plan: what to collect.
        settings: how, but for the size, which is the folder's; the defaults where None.

    Returns:
        What came of it; photos that could not be had are counted, not raised.

    Raises:
        ValueError: the plan does not fit the folder, the token is missing or refused, or the area
            holds too many photos.
        OSError: the folder cannot be written to, or the service asks to be left alone.
    """
    settings = settings or Settings()
    with Ledger(plan.out) as ledger:
        collection = Collection(ledger, plan.given)
        kind = collection.kind
        settings = replace(settings, size=kind.size)
        source = SOURCES[kind.source](kind.server, kind.is_large)
        if source.needs_token and not plan.token:
            raise ValueError(f"{source.title} needs a token: set {TOKEN}, or give --token_file")
        boxes = [box for area in plan.boxes for box in grid_boxes(area, source.step_deg)]
        is_refresh = collection.begin(boxes, plan.is_refresh)
        return asyncio.run(_Run(plan, settings, collection, source, is_refresh).run())


class _Run:
    """One run: listing, then pictures, over one connection to the service."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        collection: Collection,
        source: Source,
        is_refresh: bool,
    ) -> None:
        self.plan, self.settings, self.source = plan, settings, source
        self.collection, self.ledger, self.is_refresh = collection, collection.ledger, is_refresh
        self.at_once = settings.per_host or settings.workers

    async def run(self) -> Collected:
        """List, then fetch."""
        settings = self.settings
        async with open_session(
            settings.limits, self.at_once, settings.contact, settings.allow_private
        ) as session:
            self.api = Api(self.source, session, settings.limits, self.at_once, self.plan.token)
            await self._list()
            found = listed(self.collection)
            if self.plan.is_dry:
                return Collected(found, is_whole=not self.collection.due())
            try:
                return await self._fetch()
            finally:
                write_rows(report_rows(self.ledger), self.ledger.directory / REPORT)
                write_tables(self.ledger, self.source)

    async def _list(self) -> None:
        due = len(self.collection.due())
        with show_listing(due, self.collection.count) as advance:
            self.listing = Listing(self.api, self.collection, self.plan.most_photos, advance)
            await self.listing.run(self.at_once)
        unlisted = len(self.collection.unlisted()) if self.is_refresh else 0
        if unlisted:
            with show_progress(unlisted) as advance_photos:
                await check_unlisted(self.listing, self.at_once, advance_photos)

    async def _fetch(self) -> Collected:
        withdrawn = remove_withdrawn(self.ledger)
        number = begin(self.ledger, self.is_refresh)
        add_list(self.ledger, number, self.collection.wanted())
        self.collection.renew()
        lost, kept = PhotoFolder(self.ledger).check(), count_there(self.ledger, number)
        with show_progress(count_due(self.ledger)) as advance:
            course = StreetCourse(self.ledger, self.settings, self.listing, advance)
            await course.run()
        end(self.ledger)
        untold = self.is_refresh and self.collection.unlisted()
        is_whole = not (count_due(self.ledger) or self.collection.due() or untold)
        if self.is_refresh and is_whole:
            self.collection.end_refresh()
        return self._collected(course.tally, number, withdrawn, kept, lost, is_whole)

    def _collected(
        self,
        tally: Counter[str],
        number: int,
        withdrawn: int,
        kept: int,
        lost: int,
        is_whole: bool,
    ) -> Collected:
        removed = tally[REMOVED]
        own = ("", FOUND, REMOVED, UNCHECKED)
        return Collected(
            listed(self.collection),
            count_there(self.ledger, number),
            kept + tally[FOUND] - removed,
            withdrawn + removed,
            tally[UNCHECKED],
            lost,
            Counter({cause: n for cause, n in tally.items() if cause not in own}),
            is_whole,
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments, __doc__)
    if not options.contact:
        print("note: say with --contact whom a server's owner may write to", file=sys.stderr)

    def command() -> None:
        plan = plan_of(options)
        collected = collect(plan, settings_of(options))
        print(collected.listed.text() if plan.is_dry else collected.text(plan.out))
        if not collected.is_whole:
            raise OSError("part of the area could not be searched, see above")
        if not collected.listed.photos:
            raise ValueError("no photo there; --area is W,S,E,N, longitude first: is it in order?")

    return exit_status(command)


if __name__ == "__main__":
    sys.exit(main())
