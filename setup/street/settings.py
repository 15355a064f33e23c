"""What to collect and how: the flags of `setup.collect_street`, checked."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from partitioning.area_flag import joined_areas
from setup.downloading.settings import Settings
from setup.street import SOURCES
from setup.street.area import Box, parse_area
from setup.street.collection import SIZE_PX

TOKEN = "MAPILLARY_TOKEN"
MOST_PHOTOS = 50_000


class Plan(NamedTuple):
    """What to collect.

    Attributes:
        out: folder of the photos, the ledger and the tables.
        given: what is said of the folder's `setup.street.collection.Kind`.
        boxes: the area; none for what the folder has.
        token: for a service that needs one.
        most_photos: more end the run before a picture is asked for.
        is_refresh: list and ask again, and remove what is gone.
        is_dry: list, and fetch no picture.
    """

    out: Path
    given: Mapping[str, Any]
    boxes: tuple[Box, ...] = ()
    token: str = ""
    most_photos: int = MOST_PHOTOS
    is_refresh: bool = False
    is_dry: bool = False


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan of a command line; raises ValueError where it is no good."""
    if options.max_photos < 1:
        raise ValueError(f"--max_photos {options.max_photos}: give a number over 0")
    return Plan(
        options.out,
        {name: value for name, value in _given(options).items() if value is not None},
        tuple(parse_area(options.area)) if options.area else (),
        read_token(options.token_file),
        options.max_photos,
        options.refresh,
        options.dry_run,
    )


def _given(options: argparse.Namespace) -> dict[str, Any]:
    server = options.server.rstrip("/") if options.server else None
    if not server and options.source:
        server = SOURCES[options.source].default_server
    return {
        "source": options.source,
        "server": server,
        "size": options.size,
        "is_large": options.large,
        "any_licence": options.any_licence,
    }


def settings_of(options: argparse.Namespace) -> Settings:
    """How pictures are asked for and saved; raises ValueError for a setting out of range."""
    return Settings(
        workers=options.workers,
        per_host=options.per_host,
        contact=options.contact,
        allow_private=options.allow_private,
    )


def read_token(path: Path | None) -> str:
    """The token of a file, else that of the environment, else "".

    Raises:
        ValueError: the file cannot be read, or holds no token.
    """
    try:
        token = (path.read_text() if path else os.environ.get(TOKEN, "")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--token_file {path}: {type(error).__name__}; is it there?") from None
    if path and not token:
        raise ValueError(f"--token_file {path} is empty")
    if not (token.isascii() and token.isprintable()) or " " in token:  # it is not printed here
        raise ValueError(f"the token of {path or TOKEN} has blanks or signs that no token has")
    return token


def parse_arguments(arguments: list[str], about: str | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.collect_street",
        description=(about or "").splitlines()[0],
    )
    add = parser.add_argument
    add("--source", choices=[*SOURCES], help="service to collect from (default: the folder's)")
    add("--area", metavar="W,S,E,N", help="rectangle, degrees; another one adds to the folder")
    add("--out", type=Path, required=True, help="folder for photos, tables and the ledger")
    add("--dry_run", action="store_true", help="only say what there is: photos, years, licences")
    add("--refresh", action="store_true", help="list again, and remove photos that are gone")
    add("--token_file", type=Path, help=f"file with Mapillary's token; else ${TOKEN}")
    add(
        "--max_photos",
        type=int,
        default=MOST_PHOTOS,
        help="more end it first (default: %(default)s)",
    )
    folders: dict[str, Any] = {"action": "store_true", "default": None}
    add("--any_licence", **folders, help="keep photos whose licence is not open, too")
    add("--size", type=int, help=f"short side as saved, px (default: {SIZE_PX}); 0 keeps it")
    add("--large", **folders, help="ask for the largest pictures, not 2048 px wide ones")
    add("--contact", default="", help="e-mail or page, told to the servers")
    add("--workers", type=int, default=16, help="downloads at a time (default: %(default)s)")
    add("--per_host", type=int, default=8, help="of one host (default: %(default)s); 0: all")
    add("--server", help="the interface of one Panoramax server (default: of all of them)")
    add("--allow_private", action="store_true", help="let addresses of a private network through")
    options = parser.parse_args(joined_areas(arguments))
    if not (options.area or options.refresh):
        parser.error("give --area, or --refresh for what is there")
    return options
