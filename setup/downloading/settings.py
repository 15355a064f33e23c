"""How photos are asked for and saved, and the flags that say so."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data.photos.formats import MAX_PIXELS
from setup.downloading.fetch import Limits
from setup.downloading.url_list import FLICKR_SIZES


@dataclass(frozen=True)
class Settings:
    """How photos are asked for and saved.

    Attributes:
        size: short side of a saved photo, px; smaller photos and 0 stay as they are.
        size_suffix: letter of a Flickr size to ask for; "" takes the URLs as they stand.
        workers: downloads at a time.
        per_host: of them from one host; 0 for no limit of its own.
        contact: whom a server's owner may write to.
        allow_private: let private addresses through; for a mirror in one's own network.
        max_pixels: of a photo as it comes.
        limits: of one download.

    Raises:
        ValueError: a setting is out of range, or the contact cannot stand in a header.
    """

    size: int = 0
    size_suffix: str = ""
    workers: int = 64
    per_host: int = 16
    contact: str = ""
    allow_private: bool = False
    max_pixels: int = MAX_PIXELS
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        limits = self.limits
        if self.size < 0:
            raise ValueError(f"size {self.size}: give a number of pixels, or 0 to keep all")
        if min(self.workers, self.max_pixels, limits.max_bytes, limits.timeout_s) <= 0:
            raise ValueError("workers, max_pixels, max_bytes and timeout_s must be positive")
        if min(self.per_host, limits.max_redirects, limits.longest_pause_s) < 0:
            raise ValueError("per_host, max_redirects and longest_pause_s cannot be negative")
        if not (self.contact.isascii() and self.contact.isprintable()):
            raise ValueError(f"contact {self.contact!r}: give an address or URL in plain ASCII")

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Settings":
        """The settings of a command line.

        Raises:
            ValueError: one of them is unusable.
        """
        own = [name for name in cls.__dataclass_fields__ if name != "limits"]
        limits = Limits(
            max_bytes=options.max_bytes,
            timeout_s=options.timeout_s,
            max_redirects=options.max_redirects,
            attempts=options.attempts,
            longest_pause_s=options.longest_pause_s,
        )
        return cls(**{name: getattr(options, name) for name in own}, limits=limits)


def add_asking_flags(add: Callable[..., object]) -> None:
    """Add the flags of how photos are asked for, which all that download share."""
    add("--size", type=int, default=320, help="short side of a saved photo, px; 0 keeps all")
    add(
        "--size_suffix",
        choices=["", *FLICKR_SIZES],
        default="",
        help="ask Flickr for this size (z: 640 px); empty takes the URLs as they stand",
    )
    add("--per_host", type=int, default=16, help="downloads at a time from one host; 0: no limit")
    add("--contact", default="", help="e-mail or page, told to the servers")
    add("--allow_private", action="store_true", help="let addresses of a private network through")


def parse_arguments(arguments: list[str] | None, about: str | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.download_images",
        description=(about or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, limits = parser.add_argument, Limits()
    add("--url_csv", type=Path, help="CSV of id,url, with a header or without")
    add("--output", type=Path, required=True, help="folder for photos, report.csv and the ledger")
    add("--resume", action="store_true", help="go on with what is there")
    add("--refresh", action="store_true", help="remove photos that are not to be had any more")
    add("--shuffle", action="store_true", help="ask in the order of a hash of the ids")
    add("--shards", action="store_true", help="write shards instead of a folder of photos")
    add("--csv", type=Path, help="for --shards: table of id, lat, lon ... (default: the url_csv)")
    add("--samples_per_shard", type=int, default=2000, help="rows of the list in a shard")
    add_asking_flags(add)
    add("--workers", type=int, default=64, help="downloads at a time")
    add("--timeout_s", type=float, default=limits.timeout_s, help="longest time of a download")
    add("--attempts", type=int, default=limits.attempts, help="at a busy or broken server")
    add(
        "--longest_pause_s",
        type=float,
        default=limits.longest_pause_s,
        help="a host that asks for a longer one is left alone until the next time",
    )
    add("--max_bytes", type=int, default=limits.max_bytes, help="largest file")
    add("--max_pixels", type=int, default=MAX_PIXELS, help="largest picture")
    add("--max_redirects", type=int, default=limits.max_redirects, help="of one download")
    options = parser.parse_args(arguments)
    if not (options.url_csv or options.refresh):
        parser.error("give --url_csv, or --refresh for what is there")
    if options.samples_per_shard < 1:
        parser.error("--samples_per_shard must be at least 1")
    if options.csv and not options.shards:
        parser.error("--csv is for --shards")
    return options
