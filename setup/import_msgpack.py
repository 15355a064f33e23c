"""Import the msgpack shards of older tools: one shard of ours for each of theirs.

    python -m setup.import_msgpack --input DIR --csv mp16_places365.csv --output DIR

DIR holds shard_0.msg, shard_1.msg ... (setup/packing/msgpack_samples.py). Their photos have no
position, so the table gives it; --csv can be left out where the samples hold latitude and
longitude. What does not get in is listed in OUTPUT/refused_photos.csv with its reason: damaged
photos, ids that the table lacks, ids that are there twice (the first one counts), what is lost of a
file that is cut off. The shards are made in parallel, and the same command goes on where it was
stopped.
"""

import argparse
import csv
import json
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from data.sharding.index_tables import MANIFEST
from data.sharding.part import join_parts
from partitioning.atomic_file import atomic_path
from setup.engine import run
from setup.packing.import_part import MsgPart, doubled_keys, import_part
from setup.packing.metadata_lookup import write_lookup
from setup.packing.part_plan import alone
from setup.resumable import exit_status

RECORD, REFUSED, WORK = "import.json", "refused_photos.csv", ".import"


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes:
        samples: in the shards.
        refused: how many samples are not, by reason.
        unreadable: values of the table that are left out, by column.
    """

    samples: int
    refused: dict[str, int]
    unreadable: dict[str, int]


def import_msgpack(
    source: Path, output: Path, table: Path | None = None, workers: int = 0
) -> Imported:
    """Import a folder of msgpack files, or go on doing so.

    Args:
        source: folder of shard_N.msg.
        output: a folder that is empty, not there, or begun with the same input.
        table: CSV of id, lat, lon and whatever else `data.tables` reads.
        workers: processes; 0 takes all cores.

    Raises:
        ValueError: there is no such file in `source`, the table cannot be used, `output` holds
            something else, or nothing gets in.
        OSError: `output` cannot be written to. What is done stays.
    """
    with alone(output):
        work = output / WORK
        parts = _parts(source, output, work / "metadata.sqlite" if table else None)
        record = _begin(output, parts, table)
        if "samples" not in record:
            record |= _import(parts, output, work, table, workers)
            _write_record(output, record)
        shutil.rmtree(work, ignore_errors=True)
    return Imported(record["samples"], record["refused"], record["unreadable"])


def _import(
    parts: list[MsgPart], output: Path, work: Path, table: Path | None, workers: int
) -> dict:
    unreadable = _write_lookup(table, work)
    if not (output / MANIFEST).is_file():
        _work_off(parts, workers)
        doubled = doubled_keys(parts)
        again = [part for part in parts if part.name in doubled]
        run(partial(import_part, skip=doubled), again, workers=workers)
    refused = [row for part in parts for row in part.refused()]
    if not any(part.tar.exists() for part in parts):
        reason = refused[0][2] if refused else "the files are empty"
        raise ValueError(f"nothing gets in ({reason}); then remove {output} and begin anew")
    with atomic_path(output / REFUSED) as new, new.open("w", newline="") as file:
        csv.writer(file).writerows([("shard", "id", "reason"), *refused])
    samples = join_parts(output)
    reasons = Counter(reason.partition(":")[0] for _, _, reason in refused)
    return {"samples": samples, "refused": dict(reasons), "unreadable": unreadable}


def _parts(source: Path, output: Path, lookup: Path | None) -> list[MsgPart]:
    found = [MsgPart(path.absolute(), output.absolute(), lookup) for path in source.glob("*.msg")]
    if not found:
        raise ValueError(f"no shard_0.msg, shard_1.msg ... in {source}")
    return sorted(found, key=lambda part: part.number)


def _begin(output: Path, parts: list[MsgPart], table: Path | None) -> dict:
    """What the output was begun with, which must be the same, and what is known of it."""
    given = {
        "input": [[part.path.name, part.path.stat().st_size] for part in parts],
        "csv": [str(table.absolute()), table.stat().st_size] if table else None,
    }
    path = output / RECORD
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
        if any(record.get(name) != value for name, value in given.items()):
            raise ValueError(f"{output} was begun with another input; give another folder")
        return record
    if any(output.iterdir()):
        raise ValueError(f"{output} is not empty; give an empty folder, or remove what is in it")
    _write_record(output, given)
    return given


def _write_record(output: Path, record: dict) -> None:
    with atomic_path(output / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _write_lookup(table: Path | None, work: Path) -> dict[str, int]:
    counts = work / "unreadable.json"
    if table and not counts.is_file():
        with Console(stderr=True).status(f"reading {table}"):
            unreadable = write_lookup(table, work / "metadata.sqlite")
        with atomic_path(counts) as temporary:
            temporary.write_text(json.dumps(unreadable))
    return json.loads(counts.read_text()) if table else {}


def _work_off(parts: list[MsgPart], workers: int) -> None:
    """Make the shards that are not done."""
    left = [part for part in parts if not part.is_done()]
    total = sum(part.path.stat().st_size for part in parts)
    with Progress(console=Console(stderr=True)) as progress:
        done = total - sum(part.path.stat().st_size for part in left)
        task = progress.add_task("bytes", total=total, completed=done)
        step = partial(import_part, skip={})
        run(step, left, workers=workers, on_done=lambda size: progress.advance(task, size))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.import_msgpack", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder of shard_0.msg, shard_1.msg ...")
    add("--csv", type=Path, help="table of positions (default: those in the samples)")
    add("--output", type=Path, required=True, help="folder for the shards; goes on if begun")
    add("--workers", type=int, default=0, help="processes (default: one a core)")
    options = parser.parse_args(arguments)

    def run_it() -> None:
        _print_done(
            import_msgpack(options.input, options.output, options.csv, options.workers),
            options.output,
        )

    return exit_status(run_it)


def _print_done(done: Imported, output: Path) -> None:
    """Say what came of it."""
    print(f"{done.samples:,} samples in {output}")
    notes = {f"refused, {reason}": count for reason, count in done.refused.items()}
    notes |= {f"unreadable {name}, left out": count for name, count in done.unreadable.items()}
    for note, count in notes.items():
        print(f"  {count:,} {note}")
    if done.refused:
        print(f"each of them is in {output / REFUSED}")


if __name__ == "__main__":
    sys.exit(main())
