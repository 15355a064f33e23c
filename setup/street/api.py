"""Asking a service's interface: answers in JSON, guarded, patient, and with the token kept secret.

The guards are the downloader's (`setup/downloading/fetch.py`): checked addresses, limits on bytes
and time, a User-Agent that says whom to write to. A service that is busy gets its pause from all
of us at once: 429 and 503, for as long as its Retry-After says (RFC 9110, section 10.2.3). The
token travels in a header, to one server, through no redirect, and is struck out of what is said.
"""

import asyncio
import itertools
import json
import zlib
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import aiohttp

from setup.downloading.address_guard import BlockedAddressError
from setup.downloading.fetch import (
    BUSY_STATUSES,
    PASSING_STATUSES,
    FetchError,
    Limits,
    retry_after_s,
)
from setup.street.photo import member, text
from setup.street.source import Source

MOST_BYTES = 64 * 2**20  # of an answer; a page has a tenth of it
ANSWER_S = 60.0  # searches of a dense city take long
REFUSED = (401, 403)
HEADERS = {"Accept": "application/json, application/geo+json", "Accept-Encoding": "gzip"}
SECRET = "access_token"  # a parameter in which links to next pages would tell our token


class Api:
    """A service's interface, for one event loop.

    Args:
        source: the service.
        session: of `setup.downloading.fetch.open_session`.
        limits: attempts and pauses.
        at_once: requests at a time.
        token: "" where none is needed.
    """

    def __init__(
        self,
        source: Source,
        session: aiohttp.ClientSession,
        limits: Limits,
        at_once: int,
        token: str = "",
    ) -> None:
        self.source, self._session, self._limits, self._token = source, session, limits, token
        self._places = asyncio.Semaphore(at_once)
        self._rests_until = 0.0

    async def get(self, url: str) -> Any:
        """Ask until there is an answer, or no hope of one.

        Returns:
            The JSON, decoded.

        Raises:
            FetchError: there is none; its text is the cause, a colon, and what else is known.
            ValueError: the token is refused.
            OSError: the service asks for a pause longer than the longest.
        """
        for attempt in itertools.count(1):
            try:
                async with self._places:
                    await self._rest()
                    return await self._ask(url)
            except FetchError as error:
                self._check(error)
                if not error.is_passing or attempt >= self._limits.attempts:
                    raise
                pause_s = max(error.pause_s, self._limits.pause_s(attempt))
                if error.pause_s or error.status in BUSY_STATUSES:
                    until = asyncio.get_running_loop().time() + pause_s
                    self._rests_until = max(self._rests_until, until)
                else:
                    await asyncio.sleep(pause_s)
        raise AssertionError("count has no end")

    def _check(self, error: FetchError) -> None:
        """Raise what ends the whole collection."""
        title = self.source.title
        if self._token and error.status in REFUSED:
            raise ValueError(f"{title} refuses the token ({error}); get another one") from None
        if error.pause_s > self._limits.longest_pause_s:
            raise OSError(f"{title} asks for a pause of {error.pause_s:,.0f} s ({error})") from None

    async def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        while (left_s := self._rests_until - loop.time()) > 0:
            await asyncio.sleep(left_s)

    async def _ask(self, url: str) -> Any:
        headers = HEADERS | self.source.headers(self._token)
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                self._session.get(
                    url,
                    headers=headers,
                    allow_redirects=not self._token,
                    max_redirects=self._limits.max_redirects + 1,
                    timeout=aiohttp.ClientTimeout(total=ANSWER_S),
                ) as response,
            ):
                body = await _body(response)
        except TimeoutError as error:
            raise FetchError(f"timeout: not done in {ANSWER_S:g} s", 0, True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._no_connection(error) from error
        answer = await asyncio.to_thread(_json, body)
        status = self.source.status(response.status, answer)
        if status == 200 and answer is not None:
            return answer
        if status == 200:
            raise FetchError("strange answer: no JSON", 200, is_passing=True)
        pause_s = retry_after_s(response.headers.get("Retry-After", ""))
        said = self._secret_free(_message(answer))
        raise FetchError(f"HTTP {status}{said}", status, status in PASSING_STATUSES, pause_s)

    def _no_connection(self, error: Exception) -> FetchError:
        below = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(below, BlockedAddressError):
            return FetchError(f"blocked address: {below}")
        if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
            return FetchError("bad url")
        said = self._secret_free(str(below) or type(error).__name__)
        return FetchError(f"no connection: {said}", is_passing=True)

    def _secret_free(self, said: str) -> str:
        return said.replace(self._token, "(token)") if self._token else said


def on_server(server: str, url: str) -> str:
    """The URL of a next page, without our token; the rest of what follows goes to one server only.

    Raises:
        ValueError: it leads to another server.
    """
    ours, found = urlsplit(server), urlsplit(urljoin(f"{server}/", url))
    if found.netloc != ours.netloc:
        raise ValueError(f"its next page leads to another server, {found.netloc[:100]}")
    query = [pair for pair in parse_qsl(found.query, keep_blank_values=True) if pair[0] != SECRET]
    # Servers behind a proxy may write http where we came by https.
    return urlunsplit((ours.scheme, ours.netloc, found.path, urlencode(query), ""))


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The body, unpacked, of bounded length."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding not in ("identity", "gzip"):
        raise FetchError("compressed: sent so without being asked", response.status)
    unpack = zlib.decompressobj(wbits=31).decompress if encoding == "gzip" else _as_it_is
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += unpack(chunk, MOST_BYTES)
            if len(body) >= MOST_BYTES:
                raise FetchError(f"too large: over {MOST_BYTES:,} bytes", response.status)
    except zlib.error as error:
        raise FetchError("strange answer: no gzip", response.status, is_passing=True) from error
    return bytes(body)


def _as_it_is(chunk: bytes, _: int) -> bytes:
    return chunk


def _json(body: bytes) -> Any:
    """What JSON says; None where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # hostile JSON nests until the stack ends
        return None


def _message(answer: Any) -> str:
    said = text(member(answer, "error", "message")) or text(member(answer, "message"))
    return f": {said}" if said else ""
