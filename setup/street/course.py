"""The pictures: the downloader's course, with a new URL for a picture whose own has expired.

Signed URLs end after hours or days, with 403, 404 or 410. Such an answer does not say that the
photo is gone: the service is asked for the photo again, and what it says counts.
"""

from collections.abc import Callable

from data.sample import image_id
from setup.downloading.course import Course
from setup.downloading.fetch import GONE as GONE_STATUS
from setup.downloading.fetch import Answer, FetchError
from setup.downloading.ledger import Job, Ledger
from setup.downloading.ledger_list import REMOVED
from setup.downloading.photo_folder import PhotoFolder
from setup.downloading.report import Row
from setup.downloading.settings import Settings
from setup.street.collection import GONE
from setup.street.listing import Listing, describe

EXPIRED = (403, 404, 410)


class StreetCourse(Course):
    """One run over all pictures that are due; to be used once, inside a running loop.

    Args:
        ledger: of the folder.
        settings: how they are asked for.
        listing: that tells new URLs.
        advance: called with the cause of each row that is done, "" for a photo.
    """

    def __init__(
        self, ledger: Ledger, settings: Settings, listing: Listing, advance: Callable[[str], None]
    ) -> None:
        super().__init__(ledger, PhotoFolder(ledger), settings, advance)
        self._listing = listing

    async def _request(self, job: Job) -> Answer | FetchError:
        answer = await super()._request(job)
        if not (isinstance(answer, FetchError) and answer.status in EXPIRED):
            return answer
        photo, cause = await describe(self._listing, image_id(job.key))
        if photo is None:
            return FetchError(cause, GONE_STATUS if cause == GONE else 0)
        if photo.problem:
            return FetchError(photo.problem, GONE_STATUS)
        if photo.url == job.url:
            return answer
        self._listing.collection.add(photo)  # the next run begins with its URL
        return await super()._request(job._replace(url=photo.url))


def remove_withdrawn(ledger: Ledger) -> int:
    """Remove the photos that are there and have got a problem since; returns how many."""
    store = PhotoFolder(ledger)
    found = ledger.ask(
        "SELECT photos.turn, photos.key, photos.url, sha256, etag, modified, problem "
        "FROM photos JOIN street USING (key) WHERE sha256 != '' AND problem != ''"
    )
    for *row, problem in found:
        job = Job(*row)
        store.remove(job, Row(job.key, job.url, GONE_STATUS, f"{REMOVED}: {problem}"))
    return len(found)
