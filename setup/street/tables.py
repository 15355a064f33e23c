"""What lies beside the photos: photos.csv for the next step, and the credits that licences ask for.

All three tell of the photos that are there, and are written again after every run. A panorama that
shows a part of the sphere has pano_width and pano_height, of the whole sphere, and pano_left and
pano_top, where the picture lies in it, all in pixels of the picture as it was saved.
"""

import csv
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from partitioning.atomic_file import atomic_path
from setup.downloading.ledger import Ledger
from setup.street.licences import described
from setup.street.source import Source

PHOTOS, ATTRIBUTION, CREDITS = "photos.csv", "attribution.csv", "CREDITS.md"
COLUMNS = (
    "id",
    "path",
    "lat",
    "lon",
    "heading",
    "captured_at",
    "sequence",
    "author",
    "licence",
    "is_panorama",
    "hfov_deg",
    "width",
    "height",
    "pano_width",
    "pano_height",
    "pano_left",
    "pano_top",
    "url",
)
CREDIT_COLUMNS = ("path", "author", "licence", "licence_url", "source", "url")
_PHOTOS = """
SELECT street.id, street.key || '.jpg', lat, lon, heading, captured_at, sequence, author, licence,
    is_panorama, hfov_deg, width, height, round(full_width * width / crop_width, 3),
    round(full_height * width / crop_width, 3), round(crop_left * width / crop_width, 3),
    round(crop_top * width / crop_width, 3), page
FROM street JOIN photos USING (key) LEFT JOIN crops USING (id) WHERE sha256 != '' ORDER BY street.id
"""
_CREDITS = """
SELECT licence, author, count(*) FROM street JOIN photos USING (key) WHERE sha256 != ''
GROUP BY licence, author ORDER BY licence, count(*) DESC, author
"""


def write_tables(ledger: Ledger, source: Source) -> None:
    """Write all three, each whole or not at all."""
    folder = ledger.directory
    _write_csv(folder / PHOTOS, COLUMNS, ledger.stream(_PHOTOS))
    _write_csv(folder / ATTRIBUTION, CREDIT_COLUMNS, _credits(ledger, source))
    with atomic_path(folder / CREDITS) as new:
        new.write_text(credits_text(ledger, source), encoding="utf-8")


def _write_csv(path: Path, columns: tuple[str, ...], rows: Iterator[tuple]) -> None:
    with atomic_path(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            writer.writerow(["" if value is None else value for value in row])


def _credits(ledger: Ledger, source: Source) -> Iterator[tuple[Any, ...]]:
    for row in ledger.stream(_PHOTOS):
        fields = dict(zip(COLUMNS, row, strict=True))
        licence = described(fields["licence"])
        yield (
            fields["path"],
            fields["author"] or "unknown",
            licence.title,
            licence.url,
            source.title,
            fields["url"],
        )


def credits_text(ledger: Ledger, source: Source) -> str:
    """The credits as Markdown: source, then each licence with its authors."""
    ((size,),) = ledger.ask("SELECT size FROM collection")
    smaller = (
        f"scaled down to a short side of {size:,} px where that was longer, and " if size else ""
    )
    lines = [
        "# Credits",
        "",
        f"Street photos of [{source.title}]({source.about}), whose contributors took them.",
        f"Author, licence and page of each one: `{ATTRIBUTION}`. Whoever shows or shares a photo,",
        "or something made of it, names them, and says so where it was changed.",
        f"These were {smaller}saved again, without their EXIF data.",
    ]
    last = None
    for name, author, count in ledger.ask(_CREDITS):
        if name != last:
            licence = described(name)
            title = f"[{licence.title}]({licence.url})" if licence.url else plain(licence.title)
            lines += ["", f"## {title}", ""]
            last = name
        lines.append(f"- {plain(author) or 'unknown'}: {count:,} photo{'s' * (count > 1)}")
    return "\n".join([*lines, ""])


def plain(name: str) -> str:
    """A name that Markdown and HTML leave as it is."""
    for sign in "\\`*_[]()#|!":
        name = name.replace(sign, f"\\{sign}")
    return html.escape(name, quote=False)
