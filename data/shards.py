"""Shards of samples: write them, find what is lost or altered in them, read them.

    python -m data.shards verify DIR     hold the shards against their manifest; exit status 1 if
                                         a sample is lost or altered
    python -m data.shards index DIR      write manifest and index for shards made by another tool,
                                         or anew for damaged ones

The parts: data/sample.py (the contract), data/shard_writer.py, data/verify.py, data/index.py.
"""

import argparse
import csv
import sys
from pathlib import Path

from data.index import Index
from data.sample import Sample, safe_key
from data.shard_scan import Problem, Report, build_index
from data.shard_writer import ShardWriter
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
    parser = argparse.ArgumentParser(
        prog="python -m data.shards",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("verify", "index"), help="what to do")
    parser.add_argument("directory", type=Path, help="folder of shards")
    parser.add_argument(
        "--problems", type=Path, help="write every problem to this CSV (default: show the first 50)"
    )
    options = parser.parse_args(arguments)
    try:
        report = _with_progress(options.command, options.directory)
        if options.problems:
            _write_problems(report, options.problems)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for problem in report.problems[:SHOWN_PROBLEMS]:
        sys.stdout.write(f"{problem}\n")
    if len(report.problems) > SHOWN_PROBLEMS:
        more = len(report.problems) - SHOWN_PROBLEMS
        sys.stdout.write(f"... and {more:,} more: list them all with --problems FILE.csv\n")
    sys.stdout.write(f"{report}\n")
    return 0 if report.ok else 1


def _with_progress(command: str, directory: Path) -> Report:
    from rich.console import Console
    from rich.progress import Progress

    step = {"verify": verify, "index": build_index}[command]
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(command, total=len(list(directory.glob("*.tar"))))
        return step(directory, lambda _: progress.advance(task))


def _write_problems(report: Report, path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["kind", "shard", "key", "what"])
        rows.writerows((p.kind, p.shard, p.key, p.what) for p in report.problems)


if __name__ == "__main__":
    sys.exit(main())
