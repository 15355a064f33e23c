"""How far do features get that were never trained on places? Recall of each backbone, aggregator.

    python -m retrieval.untrained --data DIR... --labels CSV --images DIR --output DIR

--data are sets of places (test split; `python -m setup.make_places` makes one), --labels a table of
photos of named places (columns img_id and place), each of which asks all the others. Every
combination of --backbones and --aggregations is tried with ImageNet weights; NetVLAD and CRN
cluster the database's features first. What comes out: untrained.csv and untrained.md, with counts
and Wilson's intervals. Nothing is trained, so nothing can have been trained on these photos; but
whoever takes the best row for their town has chosen it on these.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partitioning.atomic_file import atomic_path

if TYPE_CHECKING:
    from retrieval.descriptor_cache import Descriptors, Engine
    from retrieval.untrained_sets import PhotoSet

RECALLS = (1, 5, 10)
BACKBONES = ("efficientnet_lite0", "efficientnet_lite1")
AGGREGATIONS = ("mac", "spoc", "gem", "rmac", "netvlad", "crn", "rrm")
DRAWN = {"crn": "context network", "rrm": "residual network"}  # their weights are drawn at random

_PAGE = """# Untrained features

{sets}

{table}

{size} px a side. Wilson's intervals of 95%: with so few queries, rows whose intervals overlap
cannot be told apart. {drawn}Made by `{command}`.
"""


def describe_all(
    photos: PhotoSet, backbone: str, aggregation: str, size: int, engine: Engine
) -> Descriptors:
    """Descriptors `(N, D)` of all photos.

    Raises:
        ValueError: backbone and aggregation do not go together, or a photo cannot be read.
    """
    import torch

    from data.place_sets.photos import PlacePhotos
    from models.places.embedder import Embedder, EmbedderSettings
    from retrieval.descriptor_cache import describe
    from retrieval.training.clustering import start_netvlad

    torch.manual_seed(0)
    settings = EmbedderSettings(backbone, aggregation, img_size=size)
    embedder = Embedder(settings).to(engine.device).eval()
    shape = (size, size)
    database = [photos.paths[row] for row in photos.database]
    start_netvlad(embedder, PlacePhotos(database, shape), engine)
    source = PlacePhotos(photos.paths, shape)
    described: Descriptors = describe(embedder, source, engine=engine)[:, 0]
    if source.refused:
        path, why = next(iter(source.refused.items()))
        raise ValueError(f"{len(source.refused)} photos cannot be read, such as {path}: {why}")
    return described


def row_of(photos: PhotoSet, described: Descriptors) -> dict[str, Any]:
    """Recalls with counts and intervals."""
    from retrieval.evaluate import recall_of_ranks

    shares = recall_of_ranks(ranks_of(photos, described), RECALLS)
    row: dict[str, Any] = {"set": photos.name, "dim": described.shape[1]}
    for k, share in shares.items():
        row |= {f"R@{k} {name}": value for name, value in share.percents().items()}
    return row


def ranks_of(photos: PhotoSet, described: Descriptors) -> Any:
    """Rank, from 0, of each query's first right answer, -1 beyond the last that counts."""
    import numpy as np

    from retrieval.evaluate import first_hits
    from retrieval.nearest import nearest

    answers = nearest(described[photos.queries], described[photos.database], max(RECALLS) + 1).rows
    rows = np.where(answers >= 0, photos.database[answers], -1)
    others = [
        [row for row in ranked if row != query][: max(RECALLS)]
        for ranked, query in zip(rows, photos.queries, strict=True)
    ]
    return first_hits(others, photos.positives)


def markdown(
    rows: list[dict[str, Any]], sets: list[PhotoSet], size: int, arguments: list[str]
) -> str:
    """The page; `arguments` are those of the command."""
    heads = ["set", "backbone", "aggregation", "numbers", *(f"R@{k}" for k in RECALLS)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = [row["set"], row["backbone"], row["aggregation"], f"{row['dim']:,}"]
        cells += [_share(row, k) for k in RECALLS]
        lines.append("| " + " | ".join(cells) + " |")
    facts = [
        f"- {s.name}: {len(s.queries)} queries, {len(s.database)} photos in the database"
        + (f", {s.left_out} queries left out, whose place no other photo shows" * bool(s.left_out))
        for s in sets
    ]
    used = {row["aggregation"] for row in rows}
    drawn = "".join(f"The {DRAWN[name]} of {name.upper()} has random weights. " for name in DRAWN
                    if name in used)  # fmt: skip
    command = shlex.join(["python", "-m", "retrieval.untrained", *arguments])
    return _PAGE.format(
        sets="\n".join(facts), table="\n".join(lines), size=size, drawn=drawn, command=command
    )


def _share(row: dict[str, Any], k: int) -> str:
    hits, n, percent, low, high = (
        row[f"R@{k} {name}"] for name in ("hits", "n", "percent", "low", "high")
    )
    return f"{percent:.0f} [{low:.0f}, {high:.0f}] ({hits}/{n})"


def write(output: Path, rows: list[dict[str, Any]], page: str) -> None:
    """Write table and page."""
    output.mkdir(parents=True, exist_ok=True)
    with atomic_path(output / "untrained.csv") as temporary, temporary.open("w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with atomic_path(output / "untrained.md") as temporary:
        temporary.write_text(page)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.untrained",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, nargs="+", default=[], metavar="DIR", help="sets of places")
    add("--split", default="test", help="of the sets of places")
    add("--labels", type=Path, metavar="CSV", help="photos of named places: img_id, place")
    add("--images", type=Path, metavar="DIR", help="where the photos of --labels are")
    add("--but", nargs="+", default=[], metavar="ID", help="photos of --labels to leave out")
    add("--output", type=Path, required=True, metavar="DIR", help="tables go here")
    add("--backbones", nargs="+", default=list(BACKBONES), help="see retrieval.train --backbone")
    add("--aggregations", nargs="+", default=list(AGGREGATIONS), help="likewise")
    add("--img_size", type=int, default=320, help="side of what the network sees, px")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where it runs")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = build_parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = parser.parse_args(arguments)
    if bool(parsed.labels) != bool(parsed.images) or not (parsed.data or parsed.labels):
        parser.error("give --data, or --labels and --images")
    from rich.console import Console
    from rich.progress import track

    from models.devices import pick_device
    from retrieval.descriptor_cache import Engine
    from retrieval.untrained_sets import set_of_labels, set_of_places

    try:
        sets = [set_of_places(directory, parsed.split) for directory in parsed.data]
        if parsed.labels:
            sets.append(set_of_labels(parsed.labels, parsed.images, tuple(parsed.but)))
        engine = Engine(pick_device(parsed.device), batch=8)
        grid = [(s, b, a) for s in sets for b in parsed.backbones for a in parsed.aggregations]
        rows = []
        for photos, backbone, aggregation in track(
            grid, "describing", console=Console(stderr=True)
        ):
            described = describe_all(photos, backbone, aggregation, parsed.img_size, engine)
            names = {"backbone": backbone, "aggregation": aggregation}
            rows.append(names | row_of(photos, described))
        page = markdown(rows, sets, parsed.img_size, arguments)
        write(parsed.output, rows, page)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
