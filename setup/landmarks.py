"""Landmark photographs for the street demo, with places, authors and licences.

    python -m setup.landmarks --output DIR [--photos DIR]

The photographs come with Debian's `gcompris-qt-data` (activities explore_monuments, categorization
and details): the package is downloaded and read without installing it and without root. Where
apt is not there, they are downloaded from their sources, or taken from `--photos`, a folder of
files named by img_id. setup/landmarks.csv says where each was taken (the position of the place,
good to about 0.5 km), by whom, and which are the same picture.

Writes DIR/img/ID.jpg, DIR/landmarks.csv (the rows that could be had, with the sha256 of the file)
and DIR/ATTRIBUTION.txt.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
import simplejpeg
from rich.progress import track

from data.images import ImageError, decode_rgb, read_bytes
from partitioning.atomic_file import atomic_path
from setup.debian_package import PackageError, fetch
from setup.demonstration.qt_resources import QtResourceError, QtResources

if TYPE_CHECKING:  # brings aiohttp, which only the photos' sources need
    from setup.downloading.settings import Settings

PACKAGE = "gcompris-qt-data"
TABLE = Path(__file__).with_name("landmarks.csv")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")
COMMONS_PAGE = "https://commons.wikimedia.org/wiki/File:"
COMMONS_FILE = "https://commons.wikimedia.org/wiki/Special:FilePath/"
POLITE_WORKERS = 2
WIDTH_PX = 1024  # of photos from their sources, like those in the package

Read = Callable[[str], bytes]  # img_id -> the file's bytes


def read_table() -> pd.DataFrame:
    """The table of landmark photos."""
    return pd.read_csv(TABLE, keep_default_na=False)


def from_package(cache: Path) -> Read:
    """Read photos out of the Debian package, checking each against its sha256.

    Raises:
        PackageError: the package cannot be had.
    """
    tree = fetch(PACKAGE, cache)
    rows = read_table().set_index("img_id")
    opened: dict[str, QtResources] = {}

    def read(img_id: str) -> bytes:
        row = rows.loc[img_id]
        if row.rcc not in opened:
            found = next(tree.rglob(row.rcc), None)
            if found is None:
                raise ImageError(f"{img_id}: the package has no {row.rcc}")
            opened[row.rcc] = QtResources.open(found)
        resources = opened[row.rcc]
        path = next((path for path in resources.files if path.endswith(row.resource)), None)
        if path is None:
            raise ImageError(f"{img_id}: not in the package's {row.rcc}")
        data = resources.read(path)
        if hashlib.sha256(data).hexdigest() != row.resource_sha256:
            raise ImageError(f"{img_id}: the package holds another picture than the table says")
        return data

    return read


def from_folder(folder: Path) -> Read:
    """Read photos named by img_id from a folder."""

    def read(img_id: str) -> bytes:
        paths = [folder / f"{img_id}{extension}" for extension in EXTENSIONS]
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            raise ImageError(f"{img_id}: not in {folder}")
        return read_bytes(found)

    return read


def from_sources(cache: Path, settings: "Settings | None" = None) -> Read:
    """Download photos from the pages that the table names, then read them.

    Args:
        cache: folder of the downloads; what is there is not asked for again.
        settings: how to ask; by default few at a time, as Wikimedia asks of programs.
    """
    from setup.download_images import download
    from setup.downloading.settings import Settings

    urls = [(row.img_id, source_file(row.source_url)) for row in read_table().itertuples()]
    settings = settings or Settings(workers=POLITE_WORKERS)
    download([(img_id, url) for img_id, url in urls if url], cache, settings)
    return from_folder(cache)


def source_file(page: str) -> str:
    """URL of the picture behind a Wikimedia Commons page; "" for any other page.

    `Special:FilePath` is Commons' documented redirect from a file's name to its bytes.
    """
    if not page.startswith(COMMONS_PAGE):
        return ""
    name = unquote(page.removeprefix(COMMONS_PAGE))
    return f"{COMMONS_FILE}{quote(name)}?width={WIDTH_PX}"


def write_landmarks(read: Read, output: Path) -> tuple[pd.DataFrame, list[str]]:
    """Write photos, table and attribution.

    Returns:
        The rows that could be had, and why the others could not.

    Raises:
        ValueError: none could be had.
    """
    table, rows, missing = read_table(), [], []
    (output / "img").mkdir(parents=True, exist_ok=True)
    for row in track(table.to_dict("records"), description="landmark photos"):
        try:
            jpeg = as_jpeg(read(row["img_id"]), row["img_id"])
        except (ImageError, QtResourceError, OSError) as error:
            missing.append(str(error))
            continue
        with atomic_path(output / "img" / f"{row['img_id']}.jpg") as temporary:
            temporary.write_bytes(jpeg)
        rows.append({**row, "sha256": hashlib.sha256(jpeg).hexdigest()})
    if not rows:
        raise ValueError(f"none of {len(table)} landmark photos could be had: {missing[0]}")
    had = pd.DataFrame(rows)
    with atomic_path(output / "ATTRIBUTION.txt") as temporary:
        temporary.write_text("".join(map(credit, rows)))
    with atomic_path(output / "landmarks.csv") as temporary:  # last: it says that all is there
        had.to_csv(temporary, index=False)
    return had, missing


def as_jpeg(data: bytes, name: str) -> bytes:
    """A picture of any format as JPEG without metadata; a plain JPEG is encoded anew too."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(decode_rgb(data, name)), quality=95)


def credit(row: dict) -> str:
    """A line for ATTRIBUTION.txt; a derived picture names the photographer it was derived from."""
    parts = (row["author"], row["licence"], row["based_on"], row["source_url"])
    return f"{row['img_id']}: {'; '.join(filter(None, parts))}\n"


def open_source(photos: Path | None, output: Path) -> Read:
    """The folder given, else the package, else the photos' own sources.

    Raises:
        PackageError: there is no package, and the message says so beside the way out.
    """
    if photos is not None:
        return from_folder(photos)
    try:
        return from_package(output / "package")
    except PackageError as error:
        sys.stderr.write(f"{error}; downloading from the photos' sources instead\n")
        return from_sources(output / "sources")


def main() -> int:
    """Get the landmark photos from the command line."""
    parser = argparse.ArgumentParser(description="Get the landmark photographs of the demo.")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where they go")
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="take them from this folder, named by img_id"
    )
    parsed = parser.parse_args()
    try:
        had, missing = write_landmarks(open_source(parsed.photos, parsed.output), parsed.output)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}; give the photos yourself with --photos DIR\n")
        return 2
    sys.stdout.write(f"{len(had)} landmark photos of {had.place.nunique()} places\n")
    sys.stdout.writelines(f"  not had: {reason}\n" for reason in missing)
    return 0


if __name__ == "__main__":
    sys.exit(main())
