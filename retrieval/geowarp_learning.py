"""Does GeoWarp learn from photos alone? Views of photos it never saw, before and after.

    python -m retrieval.geowarp_learning --data DIR [DIR ...] --out runs/geowarp_learning

Any folders of photos. One place in five is held out: photos named alike but for a number stay on
one side (retrieval/geowarp/split.py). Only the self-supervised loss teaches. The error is the mean
distance of the eight corners from the truth, half of a picture's side being 1, as a part of the
error of the guess that both views show the same; its interval is a bootstrap over the places held
out. About ten minutes on one core for 150 photos.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.intervals import bootstrap_interval
from retrieval.geowarp.settings import GeoWarpSettings
from retrieval.geowarp.split import photos_in, place_of, split_by_place

if TYPE_CHECKING:
    from models.geowarp import GeoWarp
    from retrieval.geowarp.views import BankedViews

HELD_OUT, VIEWS, SIZE = 0.2, 12, (240, 240)
SETTINGS = GeoWarpSettings(
    consistency_w=0.0,
    features_wise_w=0.0,
    bank=20,
    optimizer="adam",
    lr=1e-3,
    schedule="cosine",
    epochs=6,
    iterations_per_epoch=100,
)


class Learned(NamedTuple):
    """What was reached on photos held out.

    Attributes:
        photos, places: Held out.
        pairs: Views that were paired.
        error: Mean distance of a corner.
        identity: The same of the guess that both views show the same.
        low, high: 95% interval of error / identity.
    """

    photos: int
    places: int
    pairs: int
    error: float
    identity: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"{self.pairs} pairs of views of {self.photos} photos of {self.places} places held "
            f"out: corner error {self.error:.4f}, of no warping {self.identity:.4f}: "
            f"{self.error / self.identity:.2f} of it [{self.low:.2f}, {self.high:.2f}]"
        )


def learn(
    folders: list[Path],
    out: Path,
    settings: GeoWarpSettings = SETTINGS,
    size: tuple[int, int] = SIZE,
    resume: bool = False,
) -> Learned:
    """Train on some places of the folders and measure on the others.

    Args:
        folders: Of photos.
        out: Directory of the run; the model is written here.
        settings: How.
        size: Height and width that photos are squeezed into, px.
        resume: Go on with a run that was stopped.

    Raises:
        ValueError, OSError: as `retrieval.train_geowarp.train`.
    """
    from data.photos.photo_list import photo_list
    from data.place_sets.photos import PlacePhotos
    from models.geowarp import GeoWarp
    from models.places.embedder import Embedder, EmbedderSettings
    from retrieval.descriptor_cache import Engine
    from retrieval.geowarp.sources import build_held_out, errors_of
    from retrieval.geowarp.trainer import GeoWarpTrainer, Sources
    from retrieval.geowarp.views import BankedViews
    from retrieval.train_geowarp import finish

    photos = photos_in(*folders)
    taught, held_out = split_by_place(photos, HELD_OUT)
    embedder = Embedder(EmbedderSettings(aggregation="gem", img_size=min(size))).eval()
    model, engine = GeoWarp(embedder.extractor), Engine()
    binding, lists = {"size": list(size)}, {"photos": photo_list(photos)}
    trainer = GeoWarpTrainer(model, settings, out / "checkpoints", binding, 0, lists)
    trainer.resume() if resume else trainer.refuse_used()
    asked = build_held_out(model, held_out, settings, size, engine, VIEWS)
    if len(trainer.history) < settings.epochs:
        shown = PlacePhotos(taught, size)
        views = BankedViews(model, shown, settings.k, settings.shape, engine, 0, settings.bank)
        trainer.fit(Sources(views, None), lambda: errors_of(model, asked))
    learned = measure(model, asked)
    finish(out, embedder, model, size, {"data": [str(f) for f in folders]}, trainer.history)
    return learned


def measure(model: GeoWarp, asked: BankedViews) -> Learned:
    """Errors on views, and the interval of their ratio: places are drawn, not views."""
    from retrieval.geowarp.views import corner_errors

    ours, identity = corner_errors(model, asked)
    paths = [asked.photos.paths[row] for row in asked.rows]
    sums = _sums_by_place([place_of(path) for path in paths], ours, identity)

    def ratio(rows: NDArray[np.float64]) -> float:
        return float(rows[:, 0].sum() / rows[:, 1].sum())

    interval = bootstrap_interval(sums, ratio)
    return Learned(
        len(paths), len(sums), ours.size, float(ours.mean()), float(identity.mean()), *interval
    )


def _sums_by_place(
    places: list[str], ours: NDArray[np.float64], identity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sums of both errors `(places, 2)`."""
    _, which = np.unique(places, return_inverse=True)
    return np.stack([np.bincount(which, errors.sum(axis=1)) for errors in (ours, identity)], axis=1)


def main(arguments: list[str] | None = None) -> int:
    """Learn from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.geowarp_learning",
        description="Train GeoWarp on photos alone and measure on places held out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, nargs="+", required=True, metavar="DIR", help="folders of photos")
    add("--out", type=Path, required=True, metavar="DIR", help="for the run")
    add("--epochs", type=int, default=SETTINGS.epochs, help="of 100 steps each")
    add("--bank", type=int, default=SETTINGS.bank, help="views of each photo")
    add("--resume", action="store_true", help="go on with a run that was stopped")
    options = parser.parse_args(arguments)
    began, worked = perf_counter(), process_time()
    try:
        settings = replace(SETTINGS, epochs=options.epochs, bank=options.bank)
        learned = learn(options.data, options.out, settings, resume=options.resume)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    minutes, of_processor = (perf_counter() - began) / 60, (process_time() - worked) / 60
    sys.stdout.write(
        f"self-supervision alone, SYNTHETIC views of real photos, {minutes:.1f} min "
        f"({of_processor:.1f} min of one processor): {learned}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
