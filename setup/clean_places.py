"""Make a copy of a set of photos without those that show hardly any building.

    python -m setup.clean_places --data DIR --min_building 0.025 --model MODEL --output DIR2
    python -m setup.clean_places --data DIR --segmenter NAME_OR_DIR --output DIR2 --dry_run

A photo of trees, sky or a truck's side says little about where it was taken. How much of each photo
is buildings tells a segmentation network, the maps that one drew before (--maps), or the light
network of models/building_share.py. DIR stays as it is; DIR2 gets links to the photos that stay. In
DIR2.report lie report.md, shares.csv (what goes and why), histogram.png, and borderline.png: the
photos next to the limit on both sides, to look at before it is believed. --dry_run writes these
alone. The same command goes on where it was stopped, and another --min_building takes no measuring.
Photos that have changed in DIR are measured again; those that are gone from it go from DIR2 too.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from data.photos.journal import PhotoJournal, stamp_of
from setup.places.cleaning_report import Judged, write_report
from setup.places.linked_copy import PlacesCopy
from setup.resumable import exit_status

if TYPE_CHECKING:
    from models.building.sources import ShareSource

MIN_BUILDING = 0.025  # of a thesis on a city's street photos
JOURNAL, COPY_RECORD = "shares.jsonl", "setup.clean_places"


def clean_places(options: argparse.Namespace) -> str:
    """Measure, judge, report, link; returns lines for the user.

    Raises:
        ValueError, OSError: what the user gave cannot be cleaned; the message says why.
    """
    if not 0 <= options.min_building <= 1:
        raise ValueError(f"--min_building is a share, 0 to 1, not {options.min_building}")
    report = options.report or options.output.with_name(options.output.name + ".report")
    copy = PlacesCopy(options.data, options.output, {"made_by": COPY_RECORD})
    if report.resolve().is_relative_to(options.data.resolve()):
        raise ValueError(f"{report} lies in {options.data}: its pictures would be taken for photos")
    source = share_source(options)
    judged = [
        Judged(path, name, facts["share"], facts["error"], options.min_building)
        for path, name, facts in _measured(copy, source, report / JOURNAL)
    ]
    write_report(report, judged, options.data, source.source, copy.gone)
    staying = [one for one in judged if one.stays]
    counts = f"{len(staying):,} of {len(judged):,} photos stay, {len(judged) - len(staying):,} go"
    unreadable = sum(one.share is None for one in judged)
    counts += f" ({unreadable:,} of them cannot be judged)" if unreadable else ""
    if options.dry_run:
        return f"dry run, nothing copied: {counts}\n  report: {report / 'report.md'}"
    _copy(copy, judged, source.source, options.min_building)
    return f"{counts}: {options.output}{copy.notes()}\n  report: {report / 'report.md'}"


def share_source(options: argparse.Namespace) -> "ShareSource":
    """What tells the shares.

    Raises:
        ValueError: it cannot be had, or knows no buildings.
    """
    # Here and not above: torch takes a second, which --help can do without.
    from data.seg_maps.stored_maps import StoredMaps
    from models.building.model import load_share_model
    from models.building.sources import MapShares, SegmenterShares
    from models.segmentation.segmenter import Segmenter

    classes = tuple(options.classes or ())
    if options.model:
        if classes:
            raise ValueError("--classes were chosen when --model was trained; leave them out")
        return load_share_model(options.model, options.device, workers=options.workers)
    if options.maps:
        return MapShares(StoredMaps(options.maps, options.data), classes)
    segmenter = Segmenter.load(options.segmenter, options.device)
    return SegmenterShares(segmenter, classes, options.batch, options.workers)


def _measured(
    copy: PlacesCopy, source: "ShareSource", journal: Path
) -> list[tuple[Path, str, dict]]:
    """Path, name and facts of each photo; those that could not be read are tried again."""
    header = {"photos": str(copy.source.resolve()), "shares by": source.source}
    with PhotoJournal(journal, header) as known:
        names = {path: copy.name(path) for path in copy.photos}
        stamps = {path: stamp_of(path) for path in copy.photos}
        left = [p for p, n in names.items() if known.current(n, stamps[p]).get("share") is None]
        console = Console(stderr=True)
        for one in track(source.measure(left), "photos", len(left), console=console):
            known.note(names[one.path], share=one.share, error=one.error, stamp=stamps[one.path])
        return [(path, name, known.facts[name]) for path, name in names.items()]


def _copy(copy: PlacesCopy, judged: list[Judged], source: str, min_building: float) -> None:
    """Link what stays; what an earlier run with another limit linked and now goes is unlinked."""
    staying = [one.path for one in judged if one.stays]
    copy.taken = staying
    copy.begin()
    steps = track(staying, "linking", console=Console(stderr=True))
    linked = sum(copy.link(path) for path in steps)
    left_out = len(judged) - len(staying)
    copy.finish(shares_by=source, min_building=min_building, photos=linked, left_out=left_out)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.clean_places",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="set of places, or any photos")
    add("--output", type=Path, required=True, metavar="DIR", help="folder for the copy")
    add("--min_building", type=float, default=MIN_BUILDING, help="least share of buildings")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, metavar="DIR", help="of models.building_share: fast")
    source.add_argument("--segmenter", metavar="NAME_OR_DIR", help="a segmentation network")
    source.add_argument("--maps", type=Path, metavar="DIR", help="maps that one drew of --data")
    add("--classes", nargs="+", metavar="NAME", help="classes that count as buildings")
    add("--dry_run", action="store_true", help="report only")
    add("--report", type=Path, metavar="DIR", help="folder of the report; else OUTPUT.report")
    add("--batch", type=int, default=8, help="photos that go through the segmenter at a time")
    add("--device", default="auto", help="cpu, cuda, cuda:1, or auto: the GPU where there is one")
    add("--workers", type=int, default=2, help="threads that decode photos")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse_arguments(arguments)
    return exit_status(lambda: print(clean_places(options)))


if __name__ == "__main__":
    sys.exit(main())
