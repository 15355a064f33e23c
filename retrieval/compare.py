"""Compare methods of place recognition on one set: the table of a city's thesis, with intervals.

    python -m retrieval.compare --out runs/compare [--data DIR --methods gem netvlad +night]

Trains, where a method trains, and tests each method (retrieval/comparing/methods.py) on validation
and test, and prints R@1, R@5, R@10, R@20, their mean R_avg and minutes, each method's gain over the
one it stands on with its paired interval, and in words what helps and what does not. Into --out:
comparison.md, .csv, .png, and a folder for each method.

Without --data a SYNTHETIC town is made, with queries by day and by night, and what the recipes say
is cut down to it: within an hour on two cores, two methods at a time. Nothing but the backbone is
changed on a set of yours (--backbone recipe keeps that too): a recipe then takes hours on a GPU.
What cannot be run stands in the table with the reason. Finished methods are kept: the same command
goes on where it was stopped. --minutes starts no further one after so long. --beside shows what
chance in training does. --fast tries the machinery.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.comparing.methods import DEFAULT, METHODS, wanted_sets, with_bases
from retrieval.comparing.study import Study, open_folder

if TYPE_CHECKING:
    from retrieval.comparing.sets import Sets


def sets_of(out: Path, study: Study, names: list[str]) -> Sets:
    """The user's sets, or the synthetic ones, made where they are missing."""
    from retrieval.comparing.sets import Sets, make_toy_sets

    if not study.data:
        return make_toy_sets(out, study.is_fast, wanted_sets(names))
    given = {name: getattr(study, name) for name in ("plain", "undistorted", "maps")}
    found = {name: Path(text).resolve() if text else None for name, text in given.items()}
    return Sets(Path(study.data).resolve(), **found)


def compare(
    out: Path,
    study: Study,
    names: list[str],
    minutes: float,
    device: str,
    jobs: int,
    beside: Sequence[Path] = (),
) -> bool:
    """Run, report and print; returns whether every row has figures.

    Args:
        out: Folder of the study.
        study: What decides its figures.
        names: Rows.
        minutes: No further row is started after so long.
        device: auto, cpu or cuda.
        jobs: Rows at a time; 0 takes what suits the machine.
        beside: Folders of other studies of these rows, whose gains come beside.

    Raises:
        ValueError, OSError: the folder holds another study, or the set cannot be read.
    """
    from data.places import read_places
    from retrieval.comparing.repeats import read_repeats, repeats_section
    from retrieval.comparing.report import write_report
    from retrieval.comparing.runs import SPLITS, Runs, clocked, minutes_of
    from retrieval.comparing.schedule import Schedule, cores, usual_jobs
    from retrieval.comparing.table import read_rows

    out = out.resolve()
    open_folder(out, study)
    repeats = read_repeats(beside, out)  # refuses before hours of work
    with clocked(out, "sets"):
        sets = sets_of(out, study, names)
    for split in ("train", *SPLITS):
        read_places(sets.city, split)  # refuses before hours of work
    jobs = jobs or usual_jobs(device)
    threads = max(1, cores() // jobs) if jobs > 1 else 0
    runs = Runs(out, sets, study.flags, study.train_flags, study.scale, device, threads)
    with clocked(out, "rows"):
        why_not = Schedule(runs, names, jobs, minutes).run()
    rows = read_rows(runs, names, why_not)
    section = repeats_section(rows, repeats) if repeats else ""
    text = write_report(out, rows, study.about(names), sum(minutes_of(out).values()), section)
    sys.stdout.write(text)
    sys.stderr.write(f"table and plot: {out}\n")
    return not why_not


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.compare",
        description="Compare methods of place recognition on one set.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="runs, tables and plot go here")
    add("--data", default="", metavar="DIR", help="set of places; else a synthetic town is made")
    add("--plain", default="", metavar="DIR", help="its places cut plainly out of panoramas")
    add("--undistorted", default="", metavar="DIR", help="its places undistorted out of them")
    add("--maps", default="", metavar="DIR", help="segmentation maps of --data")
    add("--methods", nargs="+", choices=METHODS, default=DEFAULT, metavar="NAME",
        help=f"those that they stand on come with them: {', '.join(METHODS)}")  # fmt: skip
    add("--backbone", default=Study.backbone, help="of all rows; recipe: each recipe's own")
    add("--train_flags", default="", help="further flags of retrieval.train, for all trainings; "
        "with =, as in --train_flags=--freeze_backbone, several in quotes after it")  # fmt: skip
    add("--minutes", type=float, default=float("inf"), help="start no further method after so long")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where models run")
    add("--jobs", type=int, default=0, metavar="N", help="methods at a time, which share the "
        "cores; 0: two without a GPU")  # fmt: skip
    add(
        "--beside",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="--out of comparisons of "
        "the same rows, trained with another --seed for instance: their gains come beside",
    )
    add("--fast", action="store_true", help="try the machinery on a tiny town")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Compare from the command line; 1 where a row could not be run."""
    parser = build_parser()
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    if options["fast"] and options["data"]:
        parser.error("--fast makes a tiny town of its own; leave out --data")
    if options["jobs"] < 0:
        parser.error("--jobs must be 0 or more")
    names = ("data", "plain", "undistorted", "maps", "backbone")
    shared = {name: options[name] for name in names}
    if any(shared[name] for name in names[1:4]) and not options["data"]:
        parser.error("--plain, --undistorted and --maps go with --data")
    study = Study(**shared, train_flags=options["train_flags"], is_fast=options["fast"])
    try:
        rows = with_bases(options["methods"])
        whole = compare(
            options["out"], study, rows, options["minutes"], options["device"], options["jobs"],
            options["beside"],
        )  # fmt: skip
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
