"""What a training of GeoWarp learns from and is measured on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.photos.photo_list import photo_list
from data.place_sets.photos import PlacePhotos
from data.places import Places, is_split, read_places
from data.places import find_photos as photos_of_split
from models.geowarp import GeoWarp
from models.places.embedder import Embedder
from retrieval.descriptor_cache import Engine
from retrieval.geowarp.settings import GeoWarpSettings
from retrieval.geowarp.split import photos_in, split_by_place
from retrieval.geowarp.trainer import Sources
from retrieval.geowarp.views import BankedViews, NewViews, corner_errors
from retrieval.geowarp.weak_pairs import WeakPairs, find_weak_pairs
from retrieval.testing.evaluation import say
from retrieval.training.recipe import PlaceRecipe

MEASURED_PHOTOS, MEASURED_VIEWS = 100, 4
HELD_OUT = 0.2  # of the places of a plain folder


class Photos(NamedTuple):
    """What is learned from and measured on.

    Attributes:
        train, held_out: Paths.
        places: Of the training split; None of a plain folder.
    """

    train: list[Path]
    held_out: list[Path]
    places: Places | None

    @property
    def lists(self) -> dict[str, str]:
        """Which they are, for the checkpoints (data/photos/photo_list.py)."""
        return {
            "photos to learn from": photo_list(self.train),
            "photos held out": photo_list(self.held_out),
        }


def find_photos(recipe: PlaceRecipe, settings: GeoWarpSettings) -> Photos:
    """Photos of a set of places, or, where no pairs are needed, of any folder.

    Raises:
        ValueError: there are none.
    """
    root = Path(recipe.data)
    if settings.needs_pairs or is_split(root, "train"):
        places = read_places(root, "train", recipe.val_positives_dist_threshold)
        return Photos(
            places.database.paths + places.queries.paths, photos_of_split(root, "val")[0], places
        )
    return Photos(*split_by_place(photos_in(root), HELD_OUT, recipe.seed), None)


def build_sources(
    recipe: PlaceRecipe,
    settings: GeoWarpSettings,
    model: GeoWarp,
    embedder: Embedder,
    photos: Photos,
    size: tuple[int, int],
    engine: Engine,
) -> Sources:
    """What is learned from: synthetic views, pairs of photos of one place, or both."""
    views, taken, common = None, None, (settings.k, settings.shape, engine, recipe.seed)
    if settings.ss_w:
        shown = PlacePhotos(photos.train, size)
        views = (
            BankedViews(model, shown, *common, settings.bank)
            if settings.bank
            else NewViews(model, shown, *common)
        )
    if settings.needs_pairs:
        places = photos.places
        assert places is not None
        embedder = embedder.to(engine.device)
        pairs = find_weak_pairs(embedder, places, size, engine, settings.qp_threshold)
        say(f"{len(pairs):,} pairs of a query and a right answer near to it")
        queries, database = (PlacePhotos(p.paths, size) for p in (places.queries, places.database))
        taken = WeakPairs(model, queries, database, pairs, settings.shape, engine, recipe.seed)
    return Sources(views, taken)


def build_held_out(
    model: GeoWarp,
    paths: list[Path],
    settings: GeoWarpSettings,
    size: tuple[int, int],
    engine: Engine,
    views: int = MEASURED_VIEWS,
) -> BankedViews:
    """Views of photos that are not learned from: the same ones whenever they are asked for."""
    rows = np.sort(np.random.default_rng(0).permutation(len(paths))[:MEASURED_PHOTOS])
    shown = PlacePhotos([paths[row] for row in rows], size)
    return BankedViews(model, shown, settings.k, settings.shape, engine, 0, views)


def errors_of(model: GeoWarp, held_out: BankedViews) -> dict[str, float]:
    """Mean corner error of the model and of no warping at all."""
    ours, identity = corner_errors(model, held_out)
    return {"corner_error": float(ours.mean()), "identity_error": float(identity.mean())}
