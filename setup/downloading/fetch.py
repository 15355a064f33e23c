"""One guarded request: limits on bytes, time and redirects, and every failure by its cause.

Addresses are checked below, on every hop (`setup/downloading/address_guard.py`). Whether a failed
request is made again, and when, is for `setup/downloading/host_queue.py` and its caller; a server's
Retry-After (RFC 9110, section 10.2.3) is told them. A picture that is there already is asked for by
its ETag or its date (RFC 9110, section 13), or by its headers alone.
"""

import asyncio
import random
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiohttp

from setup.downloading.address_guard import BlockedAddressError, guarded_connector
from setup.downloading.opt_out import opt_out

GONE, NOT_MODIFIED = 410, 304
PLACEHOLDER = "photo_unavailable"
OPTED_OUT = "opted out"
PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)
BUSY_STATUSES = (429, 503)  # the whole host has enough
HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity"}
SMALL_BODY_BYTES = 2**14  # of an error page; reading it keeps the connection


@dataclass(frozen=True)
class Limits:
    """What one download may take.

    Attributes:
        max_bytes: of a body.
        timeout_s: of one attempt, from the name's resolution to the last byte.
        max_redirects: of one attempt.
        attempts: at a server that is busy or hangs up.
        first_pause_s: before the second attempt; it doubles with each one after.
        longest_pause_s: a server that asks for a longer one is left alone.
    """

    max_bytes: int = 32 * 2**20
    timeout_s: float = 30.0
    max_redirects: int = 5
    attempts: int = 4
    first_pause_s: float = 1.0
    longest_pause_s: float = 600.0

    def pause_s(self, attempt: int) -> float:
        """How long to wait after attempt 1, 2, ..."""
        # The random part keeps those that failed together from coming back together.
        pause_s = self.first_pause_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        return min(pause_s, self.longest_pause_s)


class FetchError(Exception):
    """A URL that gave no file.

    Attributes:
        status: of HTTP; 0 where no answer came.
        is_passing: whether the next attempt may go better.
        pause_s: what the server asks for before it.
    """

    def __init__(
        self, cause: str, status: int = 0, is_passing: bool = False, pause_s: float = 0.0
    ) -> None:
        super().__init__(cause)
        self.status, self.is_passing, self.pause_s = status, is_passing, pause_s

    @property
    def is_withdrawn(self) -> bool:
        """Whether the picture was taken away, or may not be kept any more."""
        return self.status in (404, GONE) or str(self).startswith(OPTED_OUT)


class Answer(NamedTuple):
    """What came.

    Attributes:
        body: the file; None where the server says that it is as it was.
        etag, modified: by which to ask whether it still is; "" where the server tells none.
    """

    body: bytes | None
    etag: str = ""
    modified: str = ""


def open_session(
    limits: Limits, connections: int, contact: str = "", allow_private: bool = False
) -> aiohttp.ClientSession:
    """Make the session for `fetch`, inside a running loop; the contact must be printable ASCII."""
    whom = f"; {contact}" if contact else ""
    return aiohttp.ClientSession(
        connector=guarded_connector(connections, allow_private),
        headers={**HEADERS, "User-Agent": f"Groundfix (photo downloader{whom})"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=limits.timeout_s),
        trust_env=False,  # a proxy would resolve names for us, unchecked
    )


async def fetch(
    session: aiohttp.ClientSession,
    url: str,
    limits: Limits,
    method: str = "GET",
    etag: str = "",
    modified: str = "",
) -> Answer:
    """Ask once.

    Args:
        session: of `open_session`.
        url: http or https.
        limits: on what comes.
        method: HEAD asks whether the file is there.
        etag: of the file that we have; with it or `modified`, only another one is sent.
        modified: date of the file that we have, as the server gave it.

    Raises:
        FetchError: it could not be had; its text is the cause, a colon, and what else is known.
    """
    known = {"If-None-Match": etag, "If-Modified-Since": modified}
    headers = {name: value for name, value in known.items() if value}
    try:
        async with (
            asyncio.timeout(limits.timeout_s),
            session.request(
                method,
                url,
                headers=headers,
                max_redirects=limits.max_redirects + 1,  # aiohttp counts the last answer too
            ) as response,
        ):
            _refuse_placeholder(url, response)
            _refuse_opted_out(response)
            return await _answer(response, limits.max_bytes, may_be_unchanged=bool(headers))
    except FetchError:
        raise
    except Exception as error:  # a strange answer must cost its own row, not the whole list
        raise _failure(error, limits) from error


def _failure(error: Exception, limits: Limits) -> FetchError:
    """What went wrong, as the cause of a row."""
    below = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(below, BlockedAddressError):
        return FetchError(f"blocked address: {below}")
    if isinstance(error, aiohttp.TooManyRedirects):
        return FetchError(f"redirects: more than {limits.max_redirects}")
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return FetchError(f"bad url: {error}")
    if isinstance(error, TimeoutError):
        # Not asked again: a list with thousands of dead hosts would wait for each four times.
        return FetchError(f"timeout: not done in {limits.timeout_s:g} s")
    if isinstance(error, aiohttp.ClientSSLError):
        return FetchError(f"no secure connection: {below or type(error).__name__}")
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        return FetchError(f"no connection: {below or type(error).__name__}", is_passing=True)
    return FetchError(f"strange answer: {type(error).__name__}: {error}")


def _refuse_placeholder(url: str, response: aiohttp.ClientResponse) -> None:
    """Flickr answers for a deleted photo with a redirect to a picture that says so."""
    name = response.url.path.rpartition("/")[2]
    if response.history and name.startswith(PLACEHOLDER) and PLACEHOLDER not in url:
        raise FetchError("deleted: the server sends a placeholder instead", GONE)


def _refuse_opted_out(response: aiohttp.ClientResponse) -> None:
    for hop in (*response.history, response):
        if directive := opt_out(hop.headers.getall("X-Robots-Tag", ())):
            raise FetchError(f"{OPTED_OUT}: {directive}", hop.status)


async def _answer(
    response: aiohttp.ClientResponse, max_bytes: int, may_be_unchanged: bool
) -> Answer:
    status, headers = response.status, response.headers
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if status == NOT_MODIFIED and may_be_unchanged:
        return Answer(None, etag, modified)
    if status != 200:
        if (response.content_length or SMALL_BODY_BYTES) < SMALL_BODY_BYTES:
            await response.read()
        pause_s = retry_after_s(headers.get("Retry-After", ""))
        raise FetchError(f"HTTP {status}", status, status in PASSING_STATUSES, pause_s)
    if response.method == "HEAD":
        return Answer(None, etag, modified)
    if headers.get("Content-Encoding", "identity") != "identity":
        raise FetchError("compressed: sent so without being asked", status)  # may be a bomb
    if (response.content_length or 0) > max_bytes:
        raise FetchError(
            f"too large: {response.content_length:,} bytes, over {max_bytes:,}", status
        )
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:  # a server may state less, or nothing
            raise FetchError(f"too large: over {max_bytes:,} bytes", status)
    return Answer(bytes(body), etag, modified)


def retry_after_s(value: str) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 where it is neither."""
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0
