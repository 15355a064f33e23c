"""Files of a folder on another machine, asked for with patience: http(s)://, s3:// and others.

File systems: https://filesystem-spec.readthedocs.io. What passes (a host that is away, a broken
connection) is tried again; what does not (no such file, a full disk) is said at once.
"""

import errno
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

WAITS_S = (0.5, 2.0, 8.0)  # between tries
CONNECT_S, SILENCE_S = 15, 60  # how long to wait for a host, and for its next bytes

T = TypeVar("T")


class RemoteError(OSError):
    """Something that could not be had from elsewhere; the message names it and the way out."""


class NotThereError(RemoteError):
    """A file that the folder does not have."""


class RemoteFolder:
    """A folder under a URL; it pickles without its connections.

    Args:
        url: Of the folder.
        options: For fsspec's file system, such as credentials.
        full_disk: What to say where this machine's disk is full.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any] | None = None,
        full_disk: str = "the disk is full",
    ) -> None:
        self.url, self.full_disk = url.rstrip("/"), full_disk
        self.options = dict(options or {})

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """A file, or its bytes `start` to `end`; one try."""
        files, path = self._file_system(name)
        return files.cat_file(path, start=start, end=end)

    def copy(self, name: str, target: Path) -> None:
        """Bring a file here; one try."""
        files, path = self._file_system(name)
        files.get_file(path, str(target))

    def tried(self, name: str, get: Callable[[], T]) -> T:
        """Call `get` until it succeeds or there is no use in going on.

        Raises:
            NotThereError: there is no file `name`.
            RemoteError: it cannot be had.
        """
        for wait_s in (*WAITS_S, None):
            try:
                return get()
            except FileNotFoundError as error:
                raise NotThereError(f"{self.url}/{name} is not there; check the URL") from error
            except ImportError as error:  # of the package for this kind of URL
                raise RemoteError(f"{self.url}: {error}") from error
            except Exception as error:  # each file system raises its own
                if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                    raise RemoteError(self.full_disk) from error
                if wait_s is None:
                    what = " ".join(str(error).split()) or type(error).__name__
                    raise RemoteError(
                        f"{self.url}/{name} cannot be fetched in {len(WAITS_S) + 1} tries ({what});"
                        " see that the host can be reached, then start again: what is cached stays"
                    ) from error
                time.sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    def _file_system(self, name: str) -> tuple[Any, str]:
        """The file system, which fsspec keeps for each process and thread, and a path in it."""
        from fsspec.core import url_to_fs

        options = self.options
        if self.url.startswith(("http://", "https://")):
            options = {"client_kwargs": _patience(), **options}
        return url_to_fs(f"{self.url}/{name}", **options)


def _patience() -> dict[str, Any]:
    """Settings of aiohttp: no limit on the time of a whole shard, but one on silence."""
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
    # A shard packed again on its way would have other offsets.
    return {"timeout": timeout, "headers": {"Accept-Encoding": "identity"}}
