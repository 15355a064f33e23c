"""Make a copy of a set of photos in which people, cars and other things that move are painted over.

    python -m setup.inpaint_places --data DIR --model runs/inpainting --segmenter NAME_OR_DIR \
        --output DIR2

A segmentation network, or the maps that it drew before (--maps), says where such things stand; what
is painted there is made up by the inpainter (models/inpainting/). Photos without any, photos
that can be neither read nor segmented, and photos of which too much would be made up are linked as
they are, so that both sets hold the same photos; all are counted and listed in inpainted.csv. What
was painted is written under its old name: a JPEG at quality 95, whose other pixels change as little
as that does. Files in DIR2 that it did not make, or that were edited there, stay and are counted.
The same command goes on where it was stopped: photos that have changed in DIR since
are done again, those that are gone from it go from DIR2 too.
"""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from data.photos.journal import PhotoJournal, stamp_of
from data.seg_maps.stored_maps import StoredMaps
from partitioning.atomic_file import atomic_path
from setup.places.linked_copy import PlacesCopy
from setup.places.object_painter import CLEAR, FAILED, PAINTED, TOO_MUCH, ObjectPainter
from setup.resumable import exit_status

if TYPE_CHECKING:
    pass

MOST_HOLE = 0.5
JOURNAL, TABLE = "inpainted.jsonl", "inpainted.csv"


def inpaint_places(options: argparse.Namespace) -> str:
    """Do what the command line says; returns lines for the user.

    Raises:
        ValueError, OSError: what the user gave cannot be painted over; the message says why.
    """
    # Here and not above: torch takes a second, which --help can do without.
    from models.inpainting.inpainter import load_inpainter
    from models.inpainting.objects import moving_classes
    from models.segmentation.segmenter import Segmenter

    if not 0 < options.most_hole <= 1 or options.dilate_px < 0 or options.batch < 1:
        raise ValueError("--most_hole lies in 0 to 1, --dilate_px is 0 or more, --batch 1 or more")
    inpainter = load_inpainter(options.model, options.device)
    maps: Segmenter | StoredMaps = (
        StoredMaps(options.maps, options.data)
        if options.maps
        else Segmenter.load(options.segmenter, options.device)
    )
    numbers = moving_classes(maps.classes.names, tuple(options.classes or ()))
    done = {
        "made_by": "setup.inpaint_places",
        "inpainter_sha256": inpainter.sha256,
        "maps_by": maps.classes.source,
        "painted_over": [maps.classes.names[number] for number in numbers],
        "dilate_px": options.dilate_px,
        "most_hole": options.most_hole,
    }
    copy = PlacesCopy(options.data, options.output, done, own=(JOURNAL, TABLE))
    painter = ObjectPainter(inpainter, maps, numbers, options.dilate_px, options.most_hole)
    counts = _paint_all(copy, painter, done, options.batch)
    return _in_words(counts, options.output) + copy.notes()


def _paint_all(copy: PlacesCopy, painter: ObjectPainter, done: dict, batch: int) -> Counter[str]:
    """Do the photos that are left; returns how many of all came to what."""
    copy.begin()
    with PhotoJournal(copy.output / JOURNAL, done) as known:
        photos = [path for path in copy.photos if copy.claim(path)]
        stamps = {path: stamp_of(path) for path in photos}
        left = [
            path
            for path in photos
            if known.current(copy.name(path), stamps[path]).get("outcome", FAILED) == FAILED
            or not copy.place(path).is_file()
        ]
        parts = (painter.work(copy, part) for part in _parts(left, batch))
        every = (one for part in parts for one in part)
        for path, outcome, share, error in track(
            every, "photos", len(left), console=Console(stderr=True)
        ):
            facts = {"outcome": outcome, "hole": round(share, 5), "error": error}
            known.note(copy.name(path), **facts, stamp=stamps[path])
        rows = [(copy.name(path), known.facts[copy.name(path)]) for path in photos]
    counts = Counter(str(facts["outcome"]) for _, facts in rows)
    with (
        atomic_path(copy.output / TABLE) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["photo", "outcome", "hole", "error"])
        table.writerows([name, f["outcome"], f["hole"], f["error"]] for name, f in rows)
    copy.finish(photos=len(rows), outcomes=dict(counts))
    return counts


def _in_words(counts: Counter[str], output: Path) -> str:
    total, failed = sum(counts.values()), counts[FAILED]
    text = (
        f"{counts[PAINTED]:,} of {total:,} photos painted over, {counts[CLEAR]:,} show nothing "
        f"that moves, {counts[TOO_MUCH]:,} are hidden too far, {failed:,} cannot be judged: "
        f"{output}"
    )
    return text + (f"\n  which and why: {output / TABLE}" if failed else "")


def _parts(paths: Sequence[Path], size: int) -> Iterator[list[Path]]:
    rest = iter(paths)
    while part := list(islice(rest, size)):
        yield part


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.inpaint_places",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="set of places, or any photos")
    add("--model", required=True, metavar="DIR", help="what models.inpainting.train wrote")
    add("--output", type=Path, required=True, metavar="DIR", help="folder for the copy")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--segmenter", metavar="NAME_OR_DIR", help="a segmentation network")
    source.add_argument("--maps", type=Path, metavar="DIR", help="maps that one drew of --data")
    add("--classes", nargs="+", metavar="NAME", help="classes to paint over, not all that move")
    add("--dilate_px", type=int, default=3, help="how far holes are widened, px")
    add("--most_hole", type=float, default=MOST_HOLE, help="leave a photo of which more is hidden")
    add("--batch", type=int, default=8, help="photos that go through the segmenter at a time")
    add("--device", default="auto", help="cpu, cuda, cuda:1, or auto: the GPU where there is one")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse_arguments(arguments)
    return exit_status(lambda: print(inpaint_places(options)))


if __name__ == "__main__":
    sys.exit(main())
