"""Before and after, by day and by night: does a model see in the dark, and what does it cost?

    python -m retrieval.night_report --data DIR --models plain=runs/a night=runs/b --output DIR
    python -m retrieval.night_report --data DIR --night_copy physical --models ... --output DIR

The first model is the one before; each other is compared with it on the same queries, by day and by
night. What comes out: night.md, night.csv, night.json, night.png, and each model's predictions in a
folder of its name. A model that was tested is not tested again. Where no note in the queries' names
says day or night they are told apart by brightness, and the report says so.

--night_copy is for photos that were taken by day: each query by day is asked once more as a night
copy made by data/night.py, which is SYNTHETIC, and a second table says what that night costs each
model on the same queries. The copies lie in OUTPUT/night_copies, to look at. --labels and --images
take the place of --data for photos of named places without positions, each of which asks all the
others. A model may be untrained: NAME=BACKBONE:AGGREGATION, as frozen=efficientnet_lite0:gem.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.night.conditions import COPIED, NIGHT_BELOW, WAYS

if TYPE_CHECKING:
    from retrieval.night.conditions import Conditions
    from retrieval.night.queries import Asked

DEPTHS = (1, 5, 10, 20)
KINDS = ("physical", "smart")  # of data/night.py, which takes a second to import: too long here
COPIES = "night_copies"


def report(options: dict[str, Any]) -> str:
    """Test the models and write the report; returns it as Markdown.

    Raises:
        ValueError, OSError: a model or the set cannot be had; the message says why.
    """
    from models.devices import pick_device
    from retrieval.descriptor_cache import Engine
    from retrieval.night.comparison import compare_by_condition, cost_of_night
    from retrieval.night.conditions import conditions_of
    from retrieval.night.models import known_as, load_models, named_models
    from retrieval.night.page import markdown, write_night_report
    from retrieval.night.plot import draw_night
    from retrieval.night.ranks import ranks_of

    out, data = options["output"], options["data"] or options["images"]
    models = load_models(named_models(options["models"]))
    asked = asked_of(options)
    told = conditions_of(asked.queries, data, options["by"], options["night_below"])
    asked = asked._replace(names=told.names)
    if options["night_copy"]:
        asked, told = with_nights(asked, told, options)
    facts = facts_of(asked, told, options)
    engine = Engine(pick_device(options["device"]), options["batch"], options["workers"])
    ranks = {}
    for name, model in models.items():
        sys.stderr.write(f"{name}:\n")
        ranks[name] = ranks_of(model, asked, out / name, max(DEPTHS), engine)
        facts[f"model {name}"] = known_as(model)
    rows = compare_by_condition(ranks, asked.names, DEPTHS)
    costs = cost_of_night(ranks, asked.pairs, DEPTHS)
    write_night_report(out, rows, facts, costs)
    drawn = [asked.queries[row] for row in asked.pairs[:1].flatten()]
    title = f"{facts['data'].rpartition('/')[2]}\n{told.synthetic}".strip()
    draw_night(rows, DEPTHS[0], out / "night.png", title, drawn)
    return markdown(rows, facts, costs)


def asked_of(options: dict[str, Any]) -> Asked:
    """Queries as they were taken.

    Raises:
        ValueError, OSError: there are none; the message says why.
    """
    from retrieval.night.queries import asked_of_labels, asked_of_places

    if options["labels"]:
        return asked_of_labels(options["labels"], options["images"], options["but"])
    return asked_of_places(options["data"], options["split"], options["radius_m"])


def with_nights(
    asked: Asked, told: Conditions, options: dict[str, Any]
) -> tuple[Asked, Conditions]:
    """Ask the queries by day as night copies too.

    Raises:
        ValueError, OSError: there is none by day, or a copy cannot be written.
    """
    from data.night_photos import NightMaker
    from retrieval.night.queries import with_night_copies

    maker = NightMaker(options["night_copy"], options["seed"])
    asked = with_night_copies(asked, options["output"] / COPIES, maker, options["workers"])
    said = [told.synthetic, f"{COPIED} is no photograph but day photos darkened by data/night.py"]
    return asked, told._replace(synthetic="; ".join(filter(None, said)))


def facts_of(asked: Asked, told: Conditions, options: dict[str, Any]) -> dict[str, str]:
    """What the figures were got from, and what is lacking, said plainly."""
    if options["labels"]:
        facts = {"data": f"{options['labels'].name}: photos of named places"}
        why = "whose place no other photo shows"
    else:
        facts = {"data": f"{options['data']} {options['split']}"}
        why = f"without a positive within {options['radius_m']:g} m"
    facts["queries"] = f"day and night told apart {told.how}"
    if told.synthetic:
        facts["synthetic"] = told.synthetic
    if options["night_copy"]:
        facts["night copies"] = f"{options['night_copy']} night, seed {options['seed']}"
    facts["left out"] = f"{asked.left_out:,} queries {why}"
    lacking = [name for name in ("day", "night") if not (asked.names == name).any()]
    if lacking:
        facts["lacking"] = f"there is no query taken by {' or '.join(lacking)}"
    by_day, unknown = int((asked.names == "day").sum()), int((asked.names == "").sum())
    if unknown:
        facts["unreadable"] = f"{unknown:,} queries, counted in all only"
    if options["night_copy"] and len(asked.pairs) < by_day:
        facts["without a copy"] = f"{by_day - len(asked.pairs):,} queries that cannot be read"
    return facts


def main(arguments: list[str] | None = None) -> int:
    """Compare from the command line."""
    parser = build_parser()
    options = vars(parser.parse_args(arguments))
    if bool(options["labels"]) != bool(options["images"]) or not (
        bool(options["data"]) ^ bool(options["labels"])
    ):
        parser.error("give --data, or --labels and --images")
    try:
        sys.stdout.write(report(options))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.night_report",
        description="Before and after, by day and by night.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="set of places")
    add("--labels", type=Path, metavar="CSV", help="photos of named places: img_id, place")
    add("--images", type=Path, metavar="DIR", help="where the photos of --labels are")
    add("--but", nargs="+", default=[], metavar="ID", help="photos of --labels to leave out")
    add(
        "--models", nargs="+", required=True, metavar="NAME=DIR",
        help="what `python -m retrieval.train` wrote, or NAME=BACKBONE:AGGREGATION, untrained; the "
        "first is the one before",
    )  # fmt: skip
    add("--output", type=Path, required=True, metavar="DIR", help="of the report")
    add("--split", default="test", choices=("train", "val", "test"), help="part of the set")
    add("--radius_m", type=float, default=25.0, help="how near a right answer is, m")
    add("--by", default="auto", choices=WAYS, help="how day is told from night")
    add(
        "--night_below", type=float, default=NIGHT_BELOW,
        help="mean linear luminance, 0..1, below which a photo is night, where it is measured",
    )  # fmt: skip
    add("--night_copy", choices=KINDS, help="ask queries by day as SYNTHETIC nights too")
    add("--seed", type=int, default=0, help="of the night copies")
    add("--device", default="auto", help="cpu, cuda, cuda:1 or auto")
    add("--batch", type=int, default=16, help="photos described at a time")
    add("--workers", type=int, default=2, help="threads that decode photos")
    return parser


if __name__ == "__main__":
    sys.exit(main())
