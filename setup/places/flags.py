"""The flags of `setup.make_places`."""

import argparse
from pathlib import Path

from data.places import SPLITS
from partitioning.area_flag import joined_areas
from setup.places.plan import QUERY_RULES, PlanSettings
from setup.places.zones import NORTH, SOUTH


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.make_places",
        description="Make a set of places from your own photos.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=Path, help="folder of photos, with folders in it")
    add(
        "--csv",
        type=Path,
        help="table of id or path, lat, lon, and heading, captured_at, sequence, author if any",
    )
    add("--output", type=Path, required=True, help="folder for the set, new or empty")
    add(
        "--size", type=int, default=0, help="short side of the photos, px; 0 keeps them as they are"
    )
    add(
        "--copy",
        action="store_true",
        help="copy photos; else they are hard links where that can be",
    )
    add("--by_zone", action="store_true", help="one set for each UTM zone that photos lie in")
    add("--workers", type=int, default=2, help="threads that read and write photos")
    _add_districts(parser)
    _add_queries(parser)
    return parser.parse_args(joined_areas(arguments))


def _add_districts(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how the town is cut").add_argument
    add("--splits", nargs="+", default=list(SPLITS), choices=SPLITS, help="those to make")
    add("--val_share", type=float, default=0.2, help="of the photos, for validation")
    add("--test_share", type=float, default=0.2, help="of the photos, for testing")
    for split in ("val", "test"):
        add(
            f"--{split}_area",
            metavar="W,S,E,N",
            help=f"rectangle in degrees for {split}, in place of shares",
        )
    add(
        "--buffer_m",
        type=float,
        default=50.0,
        help="between two splits at least; photos in it are left out",
    )
    add("--split_sequences", action="store_true", help="let a sequence lie in two splits")


def _add_queries(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("which photos are queries").add_argument
    add(
        "--queries",
        default="auto",
        choices=QUERY_RULES,
        help="the newest of places with several years or dates, or a share; auto takes the first "
        "that gives enough",
    )
    add("--query_share", type=float, default=0.2, help="of each split, where a share is drawn")
    add("--query_folder", type=Path, help="its photos are the queries, all others the database")
    add(
        "--query_column",
        default="",
        help="column of --csv that holds 1, true, yes or query for queries",
    )
    add("--radius_m", type=float, default=25.0, help="within which photos show one place")
    add("--seed", type=int, default=0, help="of the draw of queries")


def settings_of(options: argparse.Namespace) -> PlanSettings:
    """The settings of a command line.

    Raises:
        ValueError: one of them is unusable.
    """
    areas = {}
    for split in ("val", "test"):
        if text := getattr(options, f"{split}_area"):
            areas[split] = _rectangle(f"--{split}_area", text)
    missing = [s for s in ("val", "test") if areas and s in options.splits and s not in areas]
    if missing:
        raise ValueError(f"--{missing[0]}_area is missing; draw all, or leave it out of --splits")
    splits = tuple(split for split in SPLITS if split in options.splits)
    return PlanSettings(
        splits, options.val_share, options.test_share, areas, options.buffer_m, options.radius_m,
        options.queries, options.query_share, not options.split_sequences, options.seed,
    )  # fmt: skip


def _rectangle(flag: str, text: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{flag} {text}: give west,south,east,north in degrees") from None
    if not (-180 <= west < east <= 180 and SOUTH <= south < north <= NORTH):
        raise ValueError(f"{flag} {text}: west must lie west of east, south below north")
    return west, south, east, north
