"""Make a set of places from your own photos: three districts of a town, database and queries.

    python -m setup.make_places --images PHOTOS --output DIR [--csv TABLE] [--size 480]

Positions come from the table, or from each photo's EXIF. What comes out is the layout that
retrieval.train and retrieval.test read (data/places.py), with photos.csv, which says of every photo
where it went, and report.json: what was refused and why, how the town was cut, and a leak check.
The set grows in a folder beside DIR and takes its place once it is whole; a run that was stopped
goes on where it was. `python -m data.places report DIR` shows what came out.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from setup.places.files import write_files, write_json
from setup.places.flags import parse, settings_of
from setup.places.leaks import Leaks, find_leaks
from setup.places.plan import Plan, PlanSettings, plan_zone
from setup.places.scan import scan
from setup.places.sources import Refused, SourcePhoto, find_sources
from setup.places.zones import NORTH, SOUTH, ZonePhotos, describe_zones, in_zones
from setup.resumable import exit_status

UNFINISHED = ".part"
RECORD, MADE_WITH, REPORT = "seen.jsonl", "made_with.txt", "report.json"
MOST_NAMED = 5


@dataclass(frozen=True)
class Source:
    """Where the photos are.

    Attributes:
        images: Folder.
        table: CSV.
        query_folder: Folder of those that are queries.
        query_column: Column of the CSV that says which are.
    """

    images: Path | None = None
    table: Path | None = None
    query_folder: Path | None = None
    query_column: str = ""


@dataclass
class Made:
    """What came out.

    Attributes:
        directory: Of the set, or of a set for each zone.
        plans: Folder of a set -> its plan.
        leaks: Folder of a set -> what its splits share.
        refused: Photo, or row of the table -> why it is in none.
    """

    directory: Path
    plans: dict[str, Plan] = field(default_factory=dict)
    leaks: dict[str, Leaks] = field(default_factory=dict)
    refused: Refused = field(default_factory=dict)

    def reasons(self) -> dict[str, int]:
        """Why photos were refused -> how many, most first; names and numbers left out."""
        kinds = Counter(why.split(":")[0].split(" (")[0] for why in self.refused.values())
        return dict(kinds.most_common())


def make_places(
    source: Source,
    output: Path,
    settings: PlanSettings | None = None,
    size: int = 0,
    copies: bool = False,
    by_zone: bool = False,
    workers: int = 2,
) -> Made:
    """Make a set of places.

    Args:
        source: The photos.
        output: Folder of the set; must not be there, or be empty.
        settings: How the town is divided.
        size: Short side of the photos, px; 0 leaves them as they are.
        copies: Copy photos that could be linked.
        by_zone: Make one set for each UTM zone, in folders zone32 and so on.
        workers: Threads.

    Raises:
        ValueError: the photos cannot be found, read or divided; tells the way out.
        OSError: the disk fails.
    """
    _check_output(output, source)
    settings = settings or PlanSettings()
    part = output.with_name(output.name + UNFINISHED)
    sources, refused = find_sources(
        source.images, source.table, source.query_folder, source.query_column
    )
    photos, sha256s, unusable = scan(sources, part / RECORD, workers)
    photos, sha256s, polar = _without_poles(photos, sha256s)
    made = Made(output, refused=refused | unusable | polar)
    if not photos:
        raise ValueError(f"none of {len(sources):,} photos can be used: {_named(made.refused)}")
    zones = in_zones([p.lat for p in photos], [p.lon for p in photos])
    made.plans = _plans(zones, photos, sha256s, settings, by_zone, made.refused)
    _begin(part, f"size {size}, copies {copies}, by_zone {by_zone}")
    for folder, plan in made.plans.items():
        write_files(plan, part / folder, size, copies, workers)
        made.leaks[folder] = find_leaks(part / folder, plan.photos, settings.radius_m)
    write_json(part / REPORT, _report(made, source, settings, len(sources)))
    for name in (RECORD, MADE_WITH):
        (part / name).unlink()
    if output.is_dir():
        output.rmdir()
    part.rename(output)
    return made


def _check_output(output: Path, source: Source) -> None:
    if output.is_dir() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty; give another --output, or remove it first")
    for folder in (source.images, source.query_folder):
        if folder is not None and output.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{output} lies in {folder}: its files would be taken for photos")


def _without_poles(
    photos: list[SourcePhoto], sha256s: list[str]
) -> tuple[list[SourcePhoto], list[str], Refused]:
    inside = [row for row, photo in enumerate(photos) if SOUTH <= photo.lat < NORTH]
    polar = {
        photo.name: f"no UTM zone so near to a pole: latitude {photo.lat:g}"
        for photo in photos
        if not SOUTH <= photo.lat < NORTH
    }
    return [photos[row] for row in inside], [sha256s[row] for row in inside], polar


def _plans(
    zones: list[ZonePhotos],
    photos: Sequence[SourcePhoto],
    sha256s: Sequence[str],
    settings: PlanSettings,
    by_zone: bool,
    refused: Refused,
) -> dict[str, Plan]:
    """Folder of each set -> its plan; photos of zones with too few of them are refused."""
    if len(zones) == 1 and not by_zone:
        return {"": plan_zone(zones[0], photos, sha256s, settings)}
    if not by_zone:
        raise ValueError(
            f"photos lie in {len(zones)} UTM zones: {describe_zones(zones)}; metres of different "
            "zones cannot be compared. Make one set for each zone with --by_zone, or give photos "
            "of one town"
        )
    plans, problems = {}, []
    for zone in zones:
        try:
            plans[f"zone{zone.zone:02d}"] = plan_zone(zone, photos, sha256s, settings)
        except ValueError as error:
            problems.append(str(error))
            refused |= {
                photos[row].name: f"too few photos in UTM zone {zone.zone}" for row in zone.rows
            }
    if not plans:
        raise ValueError(f"no zone can be divided; the fullest: {problems[0]}")
    return plans


def _begin(part: Path, made_with: str) -> None:
    """Forget files that another run made in another way."""
    stamp = part / MADE_WITH
    if not stamp.is_file() or stamp.read_text() != made_with:
        for folder in (part / "images", *part.glob("zone*")):
            shutil.rmtree(folder, ignore_errors=True)
    stamp.write_text(made_with)


def _report(made: Made, source: Source, settings: PlanSettings, found: int) -> dict[str, Any]:
    sets = [
        {
            "folder": folder or ".",
            "utm_zone": plan.zone,
            "photos": len(plan.photos),
            "counts": plan.counts(),
            "queries_chosen_by": plan.rule,
            "leaks": made.leaks[folder].plain(),
        }
        for folder, plan in made.plans.items()
    ]
    given = {name: str(value) for name, value in asdict(source).items() if value}
    return {
        "found": found,
        "sets": sets,
        "settings": {**given, **asdict(settings)},
        "refused_by_reason": made.reasons(),
        "refused": made.refused,
    }


def _named(refused: Refused) -> str:
    listed = "; ".join(f"{name}: {why}" for name, why in list(refused.items())[:MOST_NAMED])
    return listed + (f"; and {len(refused) - MOST_NAMED:,} more" * (len(refused) > MOST_NAMED))


def describe(made: Made) -> str:
    """What came out, for the screen."""
    lines = []
    for folder, plan in made.plans.items():
        counts = plan.counts()
        lines.append(f"{made.directory / folder}: UTM zone {plan.zone}, queries by {plan.rule}")
        lines += [f"  {name:<16} {count:>9,}" for name, count in sorted(counts.items())]
        lines.append(f"  {made.leaks[folder]}")
    if made.refused:
        lines.append(f"refused {len(made.refused):,}, listed in {made.directory / REPORT}:")
        lines += [f"  {count:>9,} {reason}" for reason, count in made.reasons().items()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse(arguments)

    def run() -> None:
        source = Source(options.images, options.csv, options.query_folder, options.query_column)
        made = make_places(
            source, options.output, settings_of(options), options.size, options.copy,
            options.by_zone, options.workers,
        )  # fmt: skip
        print(describe(made))

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
