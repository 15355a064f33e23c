"""A page on a set of places: what each split holds, on a map, and in pictures.

    python -m data.places report DIR [--output FOLDER]

It writes report.md, report.json, map.png, distances.png and samples.png.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from data.place_sets.measures import SetMeasures, SplitMeasures, measure_places
from data.places import POSITIVE_M
from partitioning.atomic_file import atomic_path

MOST_LISTED = 6
PICTURES = {
    "map.png": "Where the photos were taken",
    "distances.png": "How near the nearest photo of the database is",
    "samples.png": "Queries, each beside a positive",
}


def markdown(measures: SetMeasures) -> str:
    """The page."""
    plain = {name: split.plain() for name, split in measures.splits.items()}
    lines = [
        f"# {measures.directory.name}",
        "",
        _row("", plain),
        _row("---", ["---:"] * len(plain)),
    ]
    for text, key in (
        ("database photos", "database"),
        ("queries", "queries"),
        ("covered, km² (squares of 100 m with a photo)", "area_km2"),
        ("photos per km²", "photos_per_km2"),
        ("places (squares of 25 m with a database photo)", "places"),
        ("database photos per place", "database_photos_per_place"),
        ("positives lie within, m", "radius_m"),
        ("**queries without a positive**", "queries_without_positive"),
        ("photos of known heading", "with_heading"),
    ):
        lines.append(_row(text, [_figure(split[key]) for split in plain.values()]))
    for text, key in (
        ("positives of a query: 5%, median, 95%", "positives_of_a_query"),
        ("m to the nearest database photo: 5%, median, 95%", "nearest_database_photo_m"),
    ):
        lines.append(_row(text, [_middle(split[key]) for split in plain.values()]))
    lines += ["", *_apart(measures), ""]
    for name, split in measures.splits.items():
        lines += _details(name, split)
    for file, title in PICTURES.items():
        lines += [f"## {title}", "", f"![{title}]({file})", ""]
    return "\n".join(lines)


def _row(first: str, cells: Iterable[object]) -> str:
    return "| " + " | ".join([first, *map(str, cells)]) + " |"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


def _middle(values: dict[str, float | None]) -> str:
    shown = (values[p] for p in ("p5", "p50", "p95"))
    return ", ".join("none" if value is None else f"{value:,.4g}" for value in shown)


def _apart(measures: SetMeasures) -> list[str]:
    """How far splits lie from each other, and a warning where they share places."""
    if not measures.apart_m:
        return ["One split only."]
    listed = ", ".join(f"{pair} {metres:,.0f} m" for pair, metres in measures.apart_m.items())
    lines = [f"Nearest photos of two splits: {listed}."]
    near = [pair for pair, metres in measures.apart_m.items() if metres <= POSITIVE_M]
    if near:
        lines.append(f"**{' and '.join(near)} share places: a test would be passed by heart.**")
    return lines


def _details(name: str, split: SplitMeasures) -> list[str]:
    refused = {**split.database.refused, **split.queries.refused}
    years = {year: f"{d:,} + {q:,}" for year, (d, q) in split.years.items()}
    facts = {
        "years (database + queries)": _listed(years),
        "sizes, px": _listed(split.sizes_px) + f" (of {split.looked_at:,} photos looked at)",
        "queries' notes": _listed(split.notes),
        "**without a position**": _listed(refused) if refused else "",
        "**cannot be read**": _listed(split.unreadable) if split.unreadable else "",
    }
    lines = [f"- {what}: {text}" for what, text in facts.items() if text]
    return [f"## {name}", "", *lines, ""]


def _listed(values: dict[str, object] | dict[str, int] | dict[str, str]) -> str:
    shown = [f"{name}: {value}" for name, value in list(values.items())[:MOST_LISTED]]
    more = len(values) - MOST_LISTED
    return "; ".join(shown) + (f"; and {more:,} more" if more > 0 else "")


def report(
    directory: Path, output: Path, sizes_of: int = 1000, samples: int = 3, seed: int = 0
) -> SetMeasures:
    """Measure a set and write the page.

    Args:
        directory: The set.
        output: Folder of the page.
        sizes_of: Photos of each split to read the size of.
        samples: Queries of each split to draw.
        seed: Of what is drawn at random.

    Raises:
        ValueError: as `measure_places`.
    """
    from data.place_sets.plots import draw_distances, draw_map, draw_samples

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("reading sizes", total=None)
        measures = measure_places(directory, sizes_of, seed, lambda: progress.advance(task))
    draw_map(measures, output / "map.png")
    draw_distances(measures, output / "distances.png")
    draw_samples(measures, output / "samples.png", samples, seed)
    for name, text in (
        ("report.json", json.dumps(measures.plain(), indent=1, ensure_ascii=False) + "\n"),
        ("report.md", markdown(measures)),
    ):
        with atomic_path(output / name) as temporary:
            temporary.write_text(text, "utf-8")
    return measures


def run(arguments: list[str] | None = None) -> int:
    """The command line of `python -m data.places`; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m data.places", description="Sets of places.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    command = commands.add_parser(
        "report", help="a page on a set", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = command.add_argument
    add("directory", type=Path, help="set of places: images/{train,val,test}/{database,queries}")
    add("--output", type=Path, default=Path("report"), help="folder to write to")
    add("--sizes", type=int, default=1000, help="photos of each split whose size is read")
    add("--samples", type=int, default=3, help="queries of each split to draw")
    add("--seed", type=int, default=0, help="of what is drawn at random")
    options = parser.parse_args(arguments)
    try:
        measures = report(
            options.directory, options.output, options.sizes, options.samples, options.seed
        )
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for name, split in measures.splits.items():
        sys.stdout.write(
            f"{name}: {len(split.database):,} database photos, {len(split.queries):,} queries, "
            f"{split.without_positive:,} without a positive\n"
        )
    sys.stdout.write(f"report: {options.output / 'report.md'}\n")
    return 0
