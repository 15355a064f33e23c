"""Shards of samples: write them, find what is lost or altered in them, look at them, read them.

    python -m data.shards verify DIR     hold the shards against their manifest; exit status 1 if
                                         a sample is lost or altered
    python -m data.shards index DIR      write manifest and index for shards made by another tool,
                                         or anew for damaged ones
    python -m data.shards stats DIR      count by country, cell, scene, licence and author
    python -m data.shards show DIR       draw a contact sheet and a density map

For stats and show, DIR may be a URL (data/sharding/remote.py). The parts: data/sample.py (the
contract), data/sharding/writer.py, data/verify.py, data/index.py, data/overview/stats.py,
data/overview/contact_sheet.py.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from data.index import Index
from data.sample import Sample, safe_key
from data.sharding.scan import Problem, Report, build_index
from data.sharding.writer import ShardWriter
from data.verify import verify
from partitioning.atomic_file import atomic_path

__all__ = [
    "Index",
    "Problem",
    "Report",
    "Sample",
    "ShardWriter",
    "build_index",
    "safe_key",
    "verify",
]
SHOWN_PROBLEMS = 50


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.shards",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, run, what in (
        ("verify", _check, "find every lost or altered sample"),
        ("index", _check, "write manifest and index"),
        ("stats", _stats, "count samples"),
        ("show", _show, "draw pictures"),
    ):
        command = commands.add_parser(name, help=what, description=what.capitalize() + ".")
        command.set_defaults(run=run)
        command.add_argument("directory", help="folder of shards")
        if run is _check:
            command.add_argument(
                "--problems", type=Path, help="CSV to write every problem to (default: show 50)"
            )
        else:
            command.add_argument(
                "--output",
                type=Path,
                default=Path("report"),
                help="folder to write to (default: %(default)s)",
            )
            command.add_argument(
                "--cache",
                type=Path,
                help="folder for what is fetched of a URL (default: ~/.cache/groundfix)",
            )
    commands.choices["verify"].add_argument(
        "--workers", type=int, default=1, help="shards looked at at once (default: %(default)s)"
    )
    commands.choices["stats"].add_argument(
        "--cells", type=Path, help="cells.parquet, to count by its cells too"
    )
    show = commands.choices["show"]
    show.add_argument("--samples", type=int, default=24, help="photos (default: %(default)s)")
    show.add_argument("--seed", type=int, default=0, help="of their choice (default: %(default)s)")
    show.add_argument(
        "--fetch",
        choices=("samples", "shards"),
        default="samples",
        help="what to fetch of a URL: shards where its server cannot send parts of a file "
        "(default: %(default)s)",
    )
    show.add_argument("--first", action="store_true", help="the first ones, not any at random")
    return parser


def _check(options: argparse.Namespace) -> int:
    """Verify or index, and say what is wrong."""
    directory = Path(options.directory)
    if "://" in options.directory:
        raise ValueError(f"{options.command} where the shards lie: {options.directory} is a URL")
    steps: dict[str, Callable[..., Report]] = {"index": build_index}
    if options.command == "verify":
        steps["verify"] = partial(verify, workers=options.workers)
    with _progress(options.command, len(list(directory.glob("*.tar")))) as advance:
        report = steps[options.command](directory, lambda _: advance())
    if options.problems:
        _write_problems(report, options.problems)
    for problem in report.problems[:SHOWN_PROBLEMS]:
        sys.stdout.write(f"{problem}\n")
    if len(report.problems) > SHOWN_PROBLEMS:
        more = len(report.problems) - SHOWN_PROBLEMS
        sys.stdout.write(f"... and {more:,} more: list them all with --problems FILE.csv\n")
    sys.stdout.write(f"{report}\n")
    return 0 if report.ok else 1


def _stats(options: argparse.Namespace) -> int:
    """Count, print tables, write stats.json, stats.csv and density_map.png."""
    from rich.console import Console

    from data.overview.density_map import draw_density
    from data.overview.stats import count
    from data.overview.stats_tables import print_stats
    from partitioning.partition import load

    partition = load(options.cells) if options.cells else None
    index = Index.open(options.directory, cache=options.cache)
    with _progress("stats", len(index)) as advance:
        stats = count(index, partition, advance)
    print_stats(stats, Console())
    stats.write(options.output)
    draw_density(index.lat, index.lon, options.output / "density_map.png", _title(index))
    _say_where(options.output, "stats.json", "stats.csv", "density_map.png")
    return 0


def _show(options: argparse.Namespace) -> int:
    """Draw contact_sheet.png and density_map.png."""
    from data.overview.contact_sheet import chosen_rows, draw_sheet
    from data.overview.density_map import draw_density

    index = Index.open(options.directory, cache=options.cache, fetch=options.fetch)
    rows = chosen_rows(len(index), options.samples, None if options.first else options.seed)
    with _progress("show", len(rows)) as advance:
        draw_sheet(index, rows, options.output / "contact_sheet.png", advance)
    draw_density(index.lat, index.lon, options.output / "density_map.png", _title(index))
    _say_where(options.output, "contact_sheet.png", "density_map.png")
    return 0


def _title(index: Index) -> str:
    return f"{len(index):,} photos of {'/'.join(str(index.files).rstrip('/').split('/')[-2:])}"


def _say_where(folder: Path, *names: str) -> None:
    sys.stdout.write(f"written to {folder}: {', '.join(names)}\n")


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on the terminal; yields what advances it."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def _write_problems(report: Report, path: Path) -> None:
    with (
        atomic_path(path) as temporary,  # names are of any bytes
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(["kind", "shard", "key", "what"])
        rows.writerows((p.kind, p.shard, p.key, p.what) for p in report.problems)


if __name__ == "__main__":
    sys.exit(main())
