"""Pack photos and their table into shards for `train_vit.py`, from a folder or from their URLs.

    python -m setup.build_shards --images DIR --csv photos.csv --output DIR [--seg DIR]
    python -m setup.build_shards --url_csv urls.csv --csv photos.csv --output DIR \
        [--segmenter NAME_OR_DIR --embed MODEL --engine ray]

Writes OUTPUT/train and OUTPUT/val (and OUTPUT/test), each with manifest and index
(data/shards.py), and OUTPUT/refused_photos.csv: every row that did not get in, and why. Photos are
found by their id, with or without an extension, or by the key that `setup.download_images` names
them by. JPEGs are packed as they are, orientation tag included, which our readers obey; other
formats become upright JPEGs.

The rows are assigned to shards first (setup/packing/part_plan.py) and the shards made in parallel,
on this machine's cores or a Ray cluster (setup/engine.py). The same command goes on where it was
stopped, and the same input gives the same bytes, however often it was stopped.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from data.seg_maps.classes import SegClasses
from data.sharding.part import join_parts
from setup.engine import run
from setup.packing.pack_part import pack_part
from setup.packing.packed import Outcome, Packed
from setup.packing.part_plan import Part, Plan, alone, lay_down
from setup.packing.planned_rows import groups_of, planned_rows
from setup.packing.settings import PackSettings, parse_arguments, settings_of
from setup.resumable import exit_status
from setup.split_photos import split_photos

REFUSED = "refused_photos.csv"


def build_shards(
    settings: PackSettings,
    output: Path,
    workers: int = 0,
    engine: str = "local",
    ray_address: str = "",
) -> Packed:
    """Pack photos into `output/train`, `output/val` and `output/test`, or go on doing so.

    Args:
        settings: what to pack.
        output: a folder that is empty, not there, or begun with the same settings.
        workers: as `setup.engine.run`'s, and so are
        engine: where they run, and
        ray_address: of the cluster.

    Raises:
        ValueError: `output` holds something else, an input is unusable, no photo of the table is
            there, or a split stays empty.
        OSError: `output` cannot be written to. What is done stays.
        WorkerLost: a shard cannot be made on any worker.
    """
    settings.check_input()
    settings, output = settings.absolute(), output.absolute()
    with alone(output):
        plan = Plan.read(output, settings.record())
        if plan is None:
            plan = Plan(output, settings.record())
            _lay_down(plan, settings)
        if plan.packed is None:
            _work_off(plan.parts(), settings, workers, engine, ray_address)
            plan = _finish(plan, settings)
        plan.clear()
    assert plan.packed
    return Packed.read(plan.packed, output / REFUSED)


def _lay_down(plan: Plan, settings: PackSettings) -> None:
    photos, refused = planned_rows(settings)
    split = split_photos(groups_of(photos), settings.val_share, settings.test_share, settings.seed)
    lay_down(plan, photos, refused, split, settings.samples_per_shard)


def _work_off(
    parts: list[Part], settings: PackSettings, workers: int, engine: str, ray_address: str
) -> None:
    """Make the parts that are not done."""
    left = [part for part in parts if not part.is_done()]
    total = sum(part.num_rows for part in parts)
    with Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(), console=Console(stderr=True)
    ) as progress:
        done = total - sum(part.num_rows for part in left)
        task = progress.add_task("photos", total=total, completed=done)
        run(
            partial(pack_part, settings),
            left,
            engine=engine,
            workers=workers,
            on_done=lambda rows: progress.advance(task, rows),
            ray_address=ray_address,
        )


def _finish(plan: Plan, settings: PackSettings) -> Plan:
    """Join the parts, and note that all is packed."""
    by_split: dict[str, list[Part]] = {}
    for part in plan.parts():
        by_split.setdefault(part.split, []).append(part)
    outcomes = [(part.split, Outcome.read(part.outcome)) for part in plan.parts()]
    packed = Packed.of(plan.refused(), outcomes)
    packed.write_refused(plan.output / REFUSED)
    for split, samples in packed.samples.items():
        if not samples:
            raise ValueError(
                f"{plan.output / split} stays empty: see {plan.output / REFUSED}; then remove "
                f"{plan.output} and begin anew"
            )
    classes = next((part.seg_classes for _, part in outcomes if part.seg_classes), "")
    for split, parts in by_split.items():
        if settings.embed:
            from setup.packing.embed_photos import join_vectors

            join_vectors([part.vectors for part in parts], plan.output / split, settings.embed)
        join_parts(plan.output / split, SegClasses.from_json(classes) if classes else None)
    plan = replace(plan, packed=packed.counts())
    plan.write()
    return plan


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse_arguments(arguments, __doc__)
    where = (options.output, options.workers, options.engine, options.ray_address)

    def run_it() -> None:
        packed = build_shards(settings_of(options), *where)
        print(packed.summary(options.output, REFUSED))

    return exit_status(run_it)


if __name__ == "__main__":
    sys.exit(main())
