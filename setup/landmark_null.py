"""Do landmark photographs say anything of the region they are from? Tested against chance.

    python -m setup.landmark_null --output runs/landmark-null [--photos downloads/landmarks]

Geocell heads on a frozen EfficientNet-Lite, leave-one-place-out: each place's photos are answered
by cells and heads made from all other places, so no photo of the place, and no other view of it, is
known. Counted are answers within 2500 km, and answers in the right coarse cell ("region").

The null: the places' positions are dealt out anew among the places, and all of it is done again,
cells, heads and answers. What the cells and their sizes alone give (always answering Europe is
right for many landmarks) is in the null too. p = (1 + permutations at least as good) / (1 + all);
Good, "Permutation Tests", 2000; Phipson & Smyth, 2010, https://doi.org/10.2202/1544-6115.1585.

The photos are few and chosen for being famous, and photos by one photographer may share a camera, a
season or a film: what beats the null need not be the place. --other_authors answers each place
without the photos of its photographers as well. Permutations that are done are kept (null.csv).
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from data.images import ImageError
from models.decode import ancestors, nested_posterior
from models.evaluation.intervals import share_of
from models.training.frozen_heads import apply_heads
from partitioning.atomic_file import atomic_path
from partitioning.geodesy import haversine_km
from setup.demonstration.leave_one_out import Photos, fit_cells
from setup.engine import run

REGION_KM = 2500.0
OBSERVED = 0  # the draw that permutes nothing


class Hits(NamedTuple):
    """One pass over all places.

    Attributes:
        draw: number of the permutation, 0 = none.
        within: photos answered within `REGION_KM`.
        region: photos answered in the right coarse cell.
        photos: all photos.
    """

    draw: int
    within: int
    region: int
    photos: int


def folds(photos: Photos, other_authors: bool) -> Iterator[tuple[NDArray, NDArray]]:
    """Rows to train on and rows to answer, place by place.

    Raises:
        ValueError: nothing is left to train on.
    """
    place, author = photos.table.place.to_numpy(), photos.table.author.to_numpy()
    for name in dict.fromkeys(place):
        held = place == name
        train = ~held
        if other_authors:
            train &= ~np.isin(author, author[held])
        if not train.any():
            raise ValueError(f"without {name} no photo is left to train on: bring more places")
        yield np.flatnonzero(train), np.flatnonzero(held)


def permuted(photos: Photos, draw: int) -> Photos:
    """The photos with their places' positions dealt out anew; draw 0 leaves them."""
    if draw == OBSERVED:
        return photos
    table = photos.table
    positions = table.groupby("place", sort=False)[["lat", "lon"]].first()
    order = np.random.default_rng(draw).permutation(len(positions))
    dealt = positions.iloc[order].set_axis(positions.index).loc[table.place]
    table = table.assign(lat=dealt.lat.to_numpy(), lon=dealt.lon.to_numpy())
    return Photos(table, photos.summaries, photos.descriptors)


def count_hits(photos: Photos, other_authors: bool, draw: int) -> Hits:
    """Answer every place by the others, its positions permuted by `draw`."""
    torch.set_num_threads(1)  # networks this small gain nothing from threads
    photos = permuted(photos, draw)
    within = region = 0
    for train, held in folds(photos, other_authors):
        partition, heads = fit_cells(photos.take(train))
        logits = apply_heads(heads, photos.summaries[held])
        best = nested_posterior(logits, ancestors(partition)).argmax(axis=1)
        truth = photos.table.iloc[held]
        lat, lon = truth.lat.to_numpy(), truth.lon.to_numpy()
        error_km = haversine_km(partition.fine.lat[best], partition.fine.lon[best], lat, lon)
        within += int((error_km <= REGION_KM).sum())
        coarse = partition.fine_ancestors()[best, 0]
        region += int((coarse == partition.coarse.assign(lat, lon)).sum())
    return Hits(draw, within, region, len(photos.table))


def count_all(photos: Photos, other_authors: bool, draws: int, path: Path) -> list[Hits]:
    """Count for draws 0..`draws`, going on after those that `path` holds already.

    Raises:
        ValueError: `path` is of other photos.
    """
    done = read_hits(path)
    if any(hits.photos != len(photos.table) for hits in done.values()):
        raise ValueError(f"{path} is of other photos: take another --output")
    missing = [draw for draw in range(draws + 1) if draw not in done]
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("permutations", total=draws + 1, completed=draws + 1 - len(missing))

        def keep(hits: Hits) -> None:
            done[hits.draw] = hits
            write_hits(path, done)
            progress.advance(bar)

        run(partial(count_hits, photos, other_authors), missing, on_done=keep)
    return [done[draw] for draw in range(draws + 1)]


def read_hits(path: Path) -> dict[int, Hits]:
    """The draws of a null.csv, none where there is none.

    Raises:
        ValueError: it is no such file.
    """
    if not path.is_file():
        return {}
    try:
        rows = list(csv.DictReader(path.read_text().splitlines()))
        found = [Hits(*(int(row[name]) for name in Hits._fields)) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a list of permutations ({error!r}): remove it") from error
    return {hits.draw: hits for hits in found}


def write_hits(path: Path, done: dict[int, Hits]) -> None:
    """Write null.csv, whole or not at all."""
    lines = [",".join(Hits._fields), *(",".join(map(str, done[draw])) for draw in sorted(done))]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def judge(counts: list[Hits], name: str) -> dict[str, Any]:
    """What was seen beside its null, plain types; `name` is a field of `Hits`.

    Raises:
        ValueError: there is no permutation.
    """
    if len(counts) < 2:
        raise ValueError("there is no permutation to compare with: give --draws 1 or more")
    values = np.array([getattr(hits, name) for hits in counts])
    seen, null, photos = int(values[0]), values[1:], counts[0].photos
    low, middle, high = 100 * np.quantile(null, [0.025, 0.5, 0.975]) / photos
    return {
        **share_of(seen, photos).percents(),
        "null_mean": 100 * float(null.mean()) / photos,
        "null_median": float(middle),
        "null_95": [float(low), float(high)],
        "permutations": len(null),
        "at_least_as_good": int((null >= seen).sum()),
        "p": (1 + int((null >= seen).sum())) / (1 + len(null)),
    }


def describe(name: str, found: dict[str, Any]) -> str:
    """One line for people."""
    low, high = found["null_95"]
    told = "more than chance" if found["p"] < 0.05 else "NOT more than chance gives"
    return (
        f"{name}: {found['hits']} of {found['n']} photos = {found['percent']:.1f}% "
        f"[{found['low']:.1f}-{found['high']:.1f}]; permuted labels {found['null_mean']:.1f}% "
        f"(95% of them {low:.1f}-{high:.1f}); p = {found['p']:.3g}: {told}"
    )


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="figures.json, null.csv go here")
    add("--photos", type=Path, default=Path("downloads/landmarks"), metavar="DIR",
        help="landmark photos, made by setup.landmarks")  # fmt: skip
    add("--draws", type=int, default=199, help="permutations")
    add("--other_authors", action="store_true", help="answer without the photographers' other work")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Encode, count, permute, compare."""
    parsed = build_parser().parse_args(arguments)
    from setup.demonstration.street_demo import BACKBONE, encode_landmarks

    try:
        if not (parsed.photos / "landmarks.csv").is_file():
            raise ValueError(
                f"no landmarks.csv in {parsed.photos}: make it with "
                f"`python -m setup.landmarks --output {parsed.photos}`"
            )
        photos = encode_landmarks(parsed.photos)
        suffix = "-other-authors" if parsed.other_authors else ""
        path = parsed.output / f"null{suffix}.csv"
        counts = count_all(photos, parsed.other_authors, parsed.draws, path)
        names = {"within": f"within {REGION_KM:g} km", "region": "in the right coarse cell"}
        figures = {text: judge(counts, name) for name, text in names.items()}
        with atomic_path(parsed.output / f"figures{suffix}.json") as temporary:
            temporary.write_text(json.dumps(figures, indent=2))
    except (OSError, ValueError, ImageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    places = photos.table.place.nunique()
    print(f"{len(photos.table)} landmark photographs of {places} places, {BACKBONE}, frozen")
    for text, found in figures.items():
        print(describe(text, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
