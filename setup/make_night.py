"""Make a night copy of a set of places, or of any folder of photos, without a trained model.

    python -m setup.make_night --data DIR --output DIR2 [--queries_only] [--kind physical --seed 0]

The night is SYNTHETIC: day photos in which data/night.py takes the sun's light away and hangs
lamps (physical), or turns bright values round and darkens (smart). Each photo is written anew in
its own size and format, and says in its EXIF description what it is; in the names of places the
note says night_synthetic. With --queries_only the database stays by day, linked: that is a night
test. What DIR has by night already is linked too. Photos that cannot be read are left out, counted
and listed in DIR2/provenance.json. The same command goes on where it was stopped, and follows DIR:
new and changed photos are turned, copies of photos that are gone are removed; files in DIR2 that
it did not make, or that were edited there, stay and are counted. Maps of classes and masks (in
folders with a segmentation.json or called masks) are no photos: they are linked. The EXIF of the
photos, with their GPS position, is not carried over. A night copy by a network that has seen real
nights: `python -m models.unit translate`.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from data.photos.journal import PhotoJournal
from setup.places.night_copy import NightCopy
from setup.resumable import exit_status

if TYPE_CHECKING:
    from data.night_photos import NightMaker

KINDS = ("physical", "smart")
JOURNAL = "night.jsonl"
MOST_LISTED = 5


def make_night(options: argparse.Namespace) -> str:
    """Do what the command line says; returns lines for the user.

    Raises:
        ValueError, OSError: what the user gave cannot be turned night; the message says why.
    """
    # Here and not above: torch takes a second, which --help can do without.
    from data.night_photos import NightMaker, write_nights

    maker = NightMaker(options.kind, options.seed, settings_of(options.settings))
    done = {
        "made_by": "setup.make_night",
        "synthetic": True,
        "light": "night",
        **maker.plain(),
        "queries_only": options.queries_only,
    }
    copy = NightCopy(options.data, options.output, done, (JOURNAL,), options.queries_only)
    copy.begin()
    with PhotoJournal(copy.output / JOURNAL, done) as journal:
        linked = sum(copy.link(path) for path in copy.linked)
        photos = {copy.name(p): (p, copy.place(p)) for p in copy.turned if copy.claim(p)}
        nights = write_nights(photos, maker, journal, options.workers, copy.writing_at)
        console = Console(stderr=True)
        done_with = track(nights, "turning night", len(photos), console=console)
        unreadable = {name: why for name, why in done_with if why}
    for name in unreadable:
        copy.remove(photos[name][0])
    counts = {"nights": len(photos) - len(unreadable), "linked": linked, "maps": len(copy.maps)}
    copy.finish(**counts, unreadable=unreadable, mark=maker.mark)
    return _in_words(maker, copy, counts, unreadable)


def settings_of(parts: list[str]) -> dict[str, tuple[float, float]]:
    """Read NAME=LOW,HIGH.

    Raises:
        ValueError: not of that form, or a name is there twice.
    """
    settings: dict[str, tuple[float, float]] = {}
    for part in parts:
        name, _, bounds = part.partition("=")
        try:
            low, high = (int(one) if one.isdigit() else float(one) for one in bounds.split(","))
        except ValueError:
            raise ValueError(f"--settings {part!r} is not of the form NAME=LOW,HIGH") from None
        if name in settings:
            raise ValueError(f"--settings: {name} is there twice")
        settings[name] = low, high
    return settings


def _in_words(
    maker: "NightMaker", copy: NightCopy, counts: dict[str, int], unreadable: dict[str, str]
) -> str:
    turned, linked, maps = counts.values()
    lines = [f"{turned:,} photos turned night, {linked:,} as they are: {copy.output}{copy.notes()}"]
    if maps:
        lines.append(f"  {maps:,} files passed over, maps and masks: they are linked as they are")
    if unreadable:
        lines.append(f"  {len(unreadable):,} cannot be read and are left out, in provenance.json:")
        lines += [f"    {name}: {why}" for name, why in list(unreadable.items())[:MOST_LISTED]]
    lines.append(
        f"SYNTHETIC: day photos, darkened by a formula ({maker.kind} night, data/night.py);"
    )
    lines.append("no camera saw these nights, and what helps in them need not help in real ones")
    return "\n".join(lines)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.make_night",
        description=(__doc__ or "").splitlines()[0]
        + " The EXIF of the photos (GPS) is not carried over.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="set of places, or any photos")
    add("--output", type=Path, required=True, metavar="DIR", help="folder for the copy")
    add("--kind", default="physical", choices=KINDS, help="of the night, see data/night.py")
    add("--queries_only", action="store_true", help="leave the database by day: a night test")
    add("--seed", type=int, default=0, help="of exposure, lamps, colours and noise")
    add(
        "--settings", nargs="+", default=[], metavar="NAME=LOW,HIGH",
        help="ranges that are drawn from, such as stops=-6,-4 lamps=0,2 of the physical night",
    )  # fmt: skip
    add(
        "--workers",
        type=int,
        default=2,
        help="threads; one with a photo of 12 megapixels takes 2 GB",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse_arguments(arguments)
    return exit_status(lambda: print(make_night(options)))


if __name__ == "__main__":
    sys.exit(main())
