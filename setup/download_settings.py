"""How photos are asked for and saved, and the flags that say so."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from data.formats import MAX_PIXELS
from setup.fetch import Limits
from setup.url_list import FLICKR_SIZES


@dataclass(frozen=True)
class Settings:
    """How photos are asked for and saved.

    Attributes:
        size: short side of a saved photo, px; smaller photos and 0 stay as they are.
        size_suffix: letter of a Flickr size to ask for; "" takes the URLs as they stand.
        workers: downloads at a time.
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
        if not (self.contact.isascii() and self.contact.isprintable()):
            raise ValueError(f"contact {self.contact!r}: give an address or URL in plain ASCII")

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Settings":
        """The settings of a command line.

        Raises:
            ValueError: one of them is unusable.
        """
        own = [name for name in cls.__dataclass_fields__ if name != "limits"]
        limits = Limits(max_bytes=options.max_bytes, timeout_s=options.timeout_s)
        return cls(**{name: getattr(options, name) for name in own}, limits=limits)


def parse_arguments(arguments: list[str] | None, about: str | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.download_images",
        description=(about or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, limits = parser.add_argument, Limits()
    add("--url_csv", type=Path, required=True, help="CSV of id,url, with a header or without")
    add("--output", type=Path, required=True, help="folder for the photos and report.csv")
    add("--shuffle", action="store_true", help="ask in random order")
    add("--size", type=int, default=320, help="short side of a saved photo, px; 0 keeps all")
    add(
        "--size_suffix",
        choices=["", *FLICKR_SIZES],
        default="",
        help="ask Flickr for this size (z: 640 px); empty takes the URLs as they stand",
    )
    add("--workers", type=int, default=64, help="downloads at a time")
    add("--resume", action="store_true", help="keep what is there; leave what is gone")
    add("--contact", default="", help="e-mail or page, told to the servers")
    add("--allow_private", action="store_true", help="let addresses of a private network through")
    add("--timeout_s", type=float, default=limits.timeout_s, help="longest time of a download")
    add("--max_bytes", type=int, default=limits.max_bytes, help="largest file")
    add("--max_pixels", type=int, default=MAX_PIXELS, help="largest picture")
    return parser.parse_args(arguments)
