"""Things that move in front of places: leave them, paint them over, or leave their features out?

    python -m retrieval.inpainting_report --out runs/inpainting
    python -m retrieval.inpainting_report --out DIR --data SET --maps MAPS --inpainted SET2

Without --data on a SYNTHETIC busy town (retrieval/inpainting/town.py), whose exact maps say where
people and cars stand and whose empty twin shows what could be won at best. SET2 is what `python -m
setup.inpaint_places` makes of SET. Each way answers the same queries from the same database;
report.md and report.json give recalls and, against the photos as they are, differences with paired
intervals; ways.png shows photos each way.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.paired_test import difference_interval, mcnemar
from models.places.place_model import PlaceModel, load_place_model
from partitioning.atomic_file import atomic_path
from retrieval.bars import bar
from retrieval.evaluate import first_hits, share_of
from retrieval.inpainting.town import Town, TownSettings, make_town
from retrieval.inpainting.ways import Way, draw_ways, ways_of
from retrieval.nearest import nearest

DEPTHS = (1, 5)


class Answered(NamedTuple):
    """What a way came to.

    Attributes:
        name: Of the way.
        ranks: Rank, from 0, of each query's first right answer; -1 where none is right.
    """

    name: str
    ranks: NDArray[np.int64]


def answer(way: Way) -> Answered:
    """Search each query's place; a query that cannot be read is answered wrongly.

    Raises:
        ValueError: no query has a right answer.
    """
    database, queries = (way.describe(s.paths) for s in (way.places.database, way.places.queries))
    with bar(f"searching, {way.name}", len(database.rows) * len(queries.rows)) as on_done:
        lost = database.unreadable
        found = nearest(queries.rows, database.rows, max(DEPTHS), lost, on_done)
    found.rows[queries.unreadable] = -1
    if len(lost) or len(queries.unreadable):
        count = f"{len(lost)} of the database, {len(queries.unreadable)} queries"
        sys.stderr.write(f"warning: {way.name}: photos that cannot be read: {count}\n")
    positives = way.places.positives
    asked = [row for row in range(len(queries.rows)) if len(positives.of(row))]
    return Answered(way.name, first_hits(found.rows[asked], [positives.of(row) for row in asked]))


def compared(answers: list[Answered]) -> list[dict[str, Any]]:
    """A row for each way and depth: its share, and the difference to the first way; plain types."""
    rows: list[dict[str, Any]] = []
    for one in answers:
        for k in DEPTHS:
            before, after = ((a.ranks >= 0) & (a.ranks < k) for a in (answers[0], one))
            lost, won = int((before & ~after).sum()), int((after & ~before).sum())
            low, high = difference_interval(lost, won, len(after))
            share = share_of(int(after.sum()), len(after)).percents()
            rows.append({
                "way": one.name, "k": k, **share, "lost": lost, "won": won,
                "points": 100 * (won - lost) / len(after),
                "points_low": 100 * low, "points_high": 100 * high, "p": mcnemar(lost, won),
            })  # fmt: skip
    return rows


def markdown(rows: list[dict[str, Any]], what: str) -> str:
    """The table, with what it was measured on."""
    lines = [
        f"{what}: {rows[0]['n']:,} queries, 95% intervals; differences are paired, to the photos "
        "as they are.",
        "",
        "| what moves | k | R@k | difference, points | lost / won | McNemar p |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        share = "{percent:.1f} [{low:.1f}, {high:.1f}]".format(**row)
        change = "{points:+.1f} [{points_low:+.1f}, {points_high:+.1f}]".format(**row)
        cells = [change, f"{row['lost']} / {row['won']}", f"{row['p']:.2g}"]
        cells = ["", "", ""] if row["way"] == rows[0]["way"] else cells
        lines.append(f"| {row['way']} | {row['k']} | {share} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def run(options: argparse.Namespace) -> str:
    """Compare and write the report; returns it.

    Raises:
        ValueError, OSError: what the user gave cannot be compared.
    """
    if options.data:
        if not (options.maps and options.inpainted):
            raise ValueError("--data goes with --maps and --inpainted")
        town = Town(options.data, options.maps, options.inpainted, options.data)
        what = f"{options.data} {options.split}"
    else:
        chosen = {k: getattr(options, k) for k in ("queries", "passers_by", "seed")}
        settings = TownSettings(TownSettings().busy._replace(**chosen), options.steps)
        town = make_town(options.out, settings)
        what = f"SYNTHETIC town, {options.passers_by} people and cars a photo, exact maps"
    model = model_of(options)
    ways = ways_of(town, model, options.split, has_empty=not options.data)
    rows = compared([answer(way) for way in ways])
    parts = model.embedder.settings
    text = markdown(rows, f"{what}; {parts.backbone}, {parts.aggregation}")
    files = {"report.md": text, "report.json": json.dumps(rows, indent=2) + "\n"}
    for name, content in files.items():
        with atomic_path(options.out / name) as temporary:
            temporary.write_text(content)
    draw_ways(options.out / "ways.png", ways)
    return text


def model_of(options: argparse.Namespace) -> PlaceModel:
    """The trained model, or the backbone's ImageNet features.

    Raises:
        ValueError: it cannot be had.
    """
    from models.places.embedder import Embedder, EmbedderSettings

    if options.model:
        return load_place_model(options.model)
    settings = EmbedderSettings(options.backbone, options.aggregation)
    embedder = Embedder(settings, options.pretrained).eval()
    return PlaceModel(embedder, (options.img_size[0], options.img_size[-1]), {"untrained": True})


def main(arguments: list[str] | None = None) -> int:
    """Compare from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.inpainting_report",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="of the report, and of the town")
    add("--data", type=Path, metavar="DIR", help="set of places; else a synthetic town")
    add("--maps", type=Path, metavar="DIR", help="segmentation maps of it")
    add("--inpainted", type=Path, metavar="DIR", help="its copy by setup.inpaint_places")
    add("--split", default="test", choices=("train", "val", "test"), help="part of the set")
    add("--model", metavar="DIR", help="what retrieval.train wrote; else ImageNet features")
    add("--backbone", default="efficientnet_lite0", help="of those")
    add("--aggregation", default="gem", choices=("gem", "spoc", "mac"), help="of those")
    add("--pretrained", action=argparse.BooleanOptionalAction, default=True, help="of those")
    add("--img_size", type=int, nargs="+", default=[96, 128], help="height and width, px")
    add("--queries", type=int, default=400, help="of the synthetic town")
    add("--passers_by", type=int, default=12, help="people and cars in each of its photos")
    add("--steps", type=int, default=600, help="of learning to paint in it")
    add("--seed", type=int, default=0, help="of town and training")
    options = parser.parse_args(arguments)
    try:
        sys.stdout.write(run(options))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
