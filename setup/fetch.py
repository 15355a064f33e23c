"""One guarded download: limits on bytes, time and redirects, and patience with a busy server.

Addresses are checked below, on every hop (`setup/address_guard.py`). A server that is overloaded
or broken (429, 5xx) or that hangs up is asked again after a pause, which doubles each time or is as
long as the server's Retry-After says (RFC 9110, section 10.2.3).
"""

import asyncio
import random
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from setup.address_guard import BlockedAddressError, GuardedTransport

GONE = 410
PLACEHOLDER = "photo_unavailable"
PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)
HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity"}


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
    longest_pause_s: float = 60.0


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


def open_client(
    limits: Limits, connections: int, contact: str = "", allow_private: bool = False
) -> httpx.AsyncClient:
    """Make the client for `fetch`; the contact must be printable ASCII."""
    whom = f"; {contact}" if contact else ""
    return httpx.AsyncClient(
        transport=GuardedTransport(connections, allow_private),
        headers={**HEADERS, "User-Agent": f"Groundfix (photo downloader{whom})"},
        timeout=limits.timeout_s,
        follow_redirects=True,
        max_redirects=limits.max_redirects,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,  # a proxy would resolve names for us, unchecked
    )


async def fetch(client: httpx.AsyncClient, url: str, limits: Limits) -> bytes:
    """Download one file.

    Raises:
        FetchError: it could not be had; its text is the cause, a colon, and what else is known.
    """
    pause_s = limits.first_pause_s
    for attempt in range(1, limits.attempts + 1):
        try:
            return await _get(client, url, limits)
        except FetchError as error:
            if not error.is_passing or attempt == limits.attempts:
                raise
            if error.pause_s > limits.longest_pause_s:
                raise FetchError(f"{error}: asks for {error.pause_s:.0f} s", error.status) from None
            # The random part keeps the workers that failed together from coming back together.
            await asyncio.sleep(max(error.pause_s, pause_s * random.uniform(0.75, 1.25)))
        pause_s = min(2 * pause_s, limits.longest_pause_s)
    raise FetchError("no attempt was allowed")


async def _get(client: httpx.AsyncClient, url: str, limits: Limits) -> bytes:
    """One attempt; whatever goes wrong becomes a FetchError."""
    try:
        async with asyncio.timeout(limits.timeout_s), client.stream("GET", url) as response:
            _refuse_placeholder(url, response)
            return await _body(response, limits.max_bytes)
    except BlockedAddressError as error:
        raise FetchError(f"blocked address: {error}") from error
    except httpx.TooManyRedirects as error:
        raise FetchError(f"redirects: more than {limits.max_redirects}") from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise FetchError(f"bad url: {error}") from error
    except (TimeoutError, httpx.TimeoutException) as error:
        # Not asked again: a list with thousands of dead hosts would wait for each four times.
        raise FetchError(f"timeout: not done in {limits.timeout_s:g} s") from error
    except (httpx.TransportError, OSError) as error:
        cause = f"no connection: {error or type(error).__name__}"
        raise FetchError(cause, is_passing=True) from error
    except FetchError:
        raise
    except Exception as error:  # a strange answer must cost its own row, not the whole list
        raise FetchError(f"strange answer: {type(error).__name__}: {error}") from error


def _refuse_placeholder(url: str, response: httpx.Response) -> None:
    """Flickr answers for a deleted photo with a redirect to a picture that says so."""
    name = response.url.path.rpartition("/")[2]
    if response.history and name.startswith(PLACEHOLDER) and PLACEHOLDER not in url:
        raise FetchError("deleted: the server sends a placeholder instead", GONE)


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    status = response.status_code
    if status != 200:
        pause_s = _retry_after_s(response.headers.get("Retry-After", ""))
        raise FetchError(f"HTTP {status}", status, status in PASSING_STATUSES, pause_s)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchError("compressed: sent so without being asked", status)  # may be a bomb
    stated = response.headers.get("Content-Length", "")
    if stated.isdecimal() and float(stated) > max_bytes:
        raise FetchError(f"too large: {float(stated):,.0f} bytes, over {max_bytes:,}", status)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:  # a server may state less, or nothing
            raise FetchError(f"too large: over {max_bytes:,} bytes", status)
    return bytes(body)


def _retry_after_s(value: str) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 where it is neither."""
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0
