"""Cut panoramas into pictures as a phone would take them, with the heading of each.

    python -m setup.tile_panoramas --data FOLDER_OR_CSV --output DIR [--tiles 10 --hfov_deg 60]

--data is a folder of photos, or a CSV with their id or path and what is known of them (lat, lon,
heading, captured_at, is_panorama, author, licence, ...); what it does not tell is read from GPano
and EXIF tags. Photos that are no panoramas are passed by and counted. Out come DIR/tiles/ID.jpg and
DIR/tiles.csv: image_id, path, lat, lon, heading, pano, tile, captured_at, author, licence, ...; a
set of places is made of them by

    python -m setup.make_places --images DIR/tiles --csv DIR/tiles.csv

--plain leaves lines bent: the useful band cut into rectangles, to compare with. --nadir hide greys
out the car or tripod below, --nadir mask writes DIR/masks/ID.png (white: nadir). The same command
goes on where it was stopped, and takes up new or changed panoramas.
"""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data.panoramas.listing import Sources, find_sources
from data.sample import key_problem
from partitioning.atomic_file import atomic_path
from setup.engine import run
from setup.packing.part_plan import alone
from setup.panorama_tiles import (
    BEFORE,
    NADIRS,
    NONE,
    RECORDS,
    TILED,
    UNREADABLE,
    Outcome,
    Tiling,
    Work,
    finished_rows,
    remove,
    tile_photo,
)
from setup.resumable import exit_status

TABLE, PASSED_BY, SETTINGS = "tiles.csv", "passed_by.csv", "tiling.json"
COLUMNS = (
    "image_id", "path", "lat", "lon", "heading", "pano", "tile", "yaw_deg", "pitch_deg", "hfov_deg",
    "captured_at", "author", "licence", "sequence", "url", "mask",
)  # fmt: skip


class Tiled(NamedTuple):
    """What came out.

    Attributes:
        outcomes: Of each photo.
        refused: Rows of the table that name no photo: (id, reason).
        tiles: In the table.
        forgotten: Panoramas that were tiled before and are not asked for any more.
    """

    outcomes: list[Outcome]
    refused: list[tuple[str, str]]
    tiles: int
    forgotten: int

    def __str__(self) -> str:
        kinds = Counter(outcome.kind for outcome in self.outcomes)
        panoramas = [outcome for outcome in self.outcomes if outcome.kind in (TILED, BEFORE)]
        facts = [
            f"{self.tiles:,} tiles of {len(panoramas):,} panoramas, "
            f"{kinds[BEFORE]:,} of them tiled before"
        ]
        facts += [
            f"{count:,} {what}"
            for what, count in (
                ("photos passed by that are no panorama", kinds[NONE]),
                ("unreadable", kinds[UNREADABLE]),
                ("rows of the table refused", len(self.refused)),
                ("panoramas without a position", sum(not p.has_position for p in panoramas)),
                ("panoramas without a heading", sum(not p.has_heading for p in panoramas)),
                ("panoramas of earlier runs left out (--prune deletes them)", self.forgotten),
            )
            if count
        ]
        return "; ".join(facts)


def tile_panoramas(
    data: Path,
    output: Path,
    tiling: Tiling = Tiling(),  # noqa: B008  (immutable)
    images: Path | None = None,
    workers: int = 1,
    prune: bool = False,
) -> Tiled:
    """Cut all panoramas of a folder or table into tiles.

    Args:
        data: Folder or CSV.
        output: Made if it is not there.
        tiling: How.
        images: Where the photos of a CSV are, if not beside it.
        workers: Processes; 0 takes all cores.
        prune: Delete the tiles of panoramas that are not asked for any more.

    Raises:
        ValueError: there is no panorama, `data` cannot be read, `output` holds tiles of other
            settings, lies in `data`, or another run is at work in it.
        OSError: `output` cannot be written to. What is done stays.
    """
    if data.is_dir() and output.resolve().is_relative_to(data.resolve()):
        raise ValueError(f"{output} lies in {data}, its tiles would be taken for photos; move it")
    sources = _with_short_keys(find_sources(data, images), tiling)
    with alone(output):
        _begin(output, tiling)
        work = [Work(source, tiling, output) for source in sources.photos]
        with _bar(len(work)) as advance:
            outcomes = run(tile_photo, work, workers=workers, on_done=lambda _: advance())
        forgotten = _forgotten(output, {source.key for source in sources.photos})
        if prune:
            for key in forgotten:
                remove(output, key)
        _write_passed_by(output / PASSED_BY, outcomes, sources.refused)
        tiles = _write_table(output, outcomes)
    if not tiles:
        first = next((o.reason for o in outcomes if o.reason), "")
        raise ValueError(f"no panorama among the {len(outcomes):,} photos of {data}; {first}")
    return Tiled(outcomes, sources.refused, tiles, 0 if prune else len(forgotten))


def _with_short_keys(sources: Sources, tiling: Tiling) -> Sources:
    """Without the photos whose tiles could not be named after them."""
    last = f"_{tiling.tiles - 1:02d}"
    problems = {photo.key: key_problem(photo.key + last) for photo in sources.photos}
    long = [(key, problem) for key, problem in problems.items() if problem]
    photos = [photo for photo in sources.photos if not problems[photo.key]]
    return Sources(photos, [*sources.refused, *long])


def _begin(output: Path, tiling: Tiling) -> None:
    path, settings = output / SETTINGS, tiling.plain()
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError):
        before = settings
    if before != settings:
        raise ValueError(
            f"{output} holds tiles of other settings ({before}); give another --output"
        )
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(settings) + "\n")


def _forgotten(output: Path, keys: set[str]) -> list[str]:
    done = {path.name.removesuffix(".json") for path in (output / RECORDS).glob("*.json")}
    return sorted(done - keys)


def _write_table(output: Path, outcomes: list[Outcome]) -> int:
    count = 0
    with (
        atomic_path(output / TABLE) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for outcome in outcomes:
            if outcome.kind in (TILED, BEFORE):
                rows = (finished_rows(output, outcome.key) or {"rows": []})["rows"]
                writer.writerows(rows)
                count += len(rows)
    return count


def _write_passed_by(path: Path, outcomes: list[Outcome], refused: list[tuple[str, str]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "kind", "reason"))
        writer.writerows((o.key, o.kind, o.reason) for o in outcomes if o.reason)
        writer.writerows((name, "refused", reason) for name, reason in refused)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("panoramas"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.tile_panoramas",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, default = parser.add_argument, Tiling()
    add("--data", type=Path, required=True, help="folder of photos, or CSV of them")
    add("--images", type=Path, help="where the photos of a CSV are, if not beside it")
    add("--output", type=Path, required=True, help="folder for tiles and tiles.csv")
    add("--tiles", type=int, default=default.tiles, help="of each panorama, evenly spaced")
    add("--hfov_deg", type=float, default=default.hfov_deg, help="width of a tile, degrees")
    add("--pitch_deg", type=float, default=default.pitch_deg, help="how far up tiles look, degrees")
    add("--size", type=int, nargs=2, default=default.size, help="height and width of a tile, px")
    add("--plain", dest="is_plain", action="store_true", help="plain cuts: lines stay bent")
    add("--nadir", default=default.nadir, choices=NADIRS, help="what becomes of the car below")
    add(
        "--nadir_below_deg", type=float, default=default.nadir_below_deg,
        help="steeper than this is nadir, degrees",
    )  # fmt: skip
    add("--quality", type=int, default=default.quality, help="of the JPEGs, 1 to 100")
    add("--workers", type=int, default=1, help="processes; 0 = all cores")
    add("--prune", action="store_true", help="delete tiles of panoramas that are not asked for")
    options = vars(parser.parse_args(arguments))
    size = tuple(options.pop("size"))
    settings = {name: options.pop(name) for name in default.plain() if name in options}
    return exit_status(
        lambda: print(tile_panoramas(tiling=Tiling(**settings, size=size), **options))
    )


if __name__ == "__main__":
    sys.exit(main())
