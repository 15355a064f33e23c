"""Train GeoWarp, which re-ranks answers by what they show of the query seen from its viewpoint.

    python -m retrieval.train_geowarp --model runs/NAME --data DIR --out runs/WARP

DIR is a set of places (data/places.py); the features are those of the place model, or with
--backbone ImageNet's. Without weak pairs (--consistency_w 0 --features_wise_w 0) any folder of
photos will do; one place in five is then kept to measure on. Defaults are the source's; without a
GPU try --bank 24 --optimizer adam --lr 1e-3 --schedule cosine --epochs 4. A killed run goes on from
its last epoch with --resume, on the same photos and features; `--fast` tries the machinery, on a
few small photos where nothing else is asked for. Weights of the public GeoWarp repository become a
model of ours by --regression FILE [--features FILE] --epochs 0. Use it:

    python -m retrieval.test --model runs/NAME --data DIR --rerank geowarp --rerank_model runs/WARP
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from retrieval.geowarp.settings import GeoWarpSettings, add_setting_flags, settings_of
from retrieval.training.recipe import PlaceRecipe, add_flags, recipe_of

if TYPE_CHECKING:
    from models.geowarp import GeoWarp
    from models.places.embedder import Embedder
    from models.warping.file import WarpModel

SHARED_FLAGS = (
    "data", "out", "backbone", "cut", "aggregation", "pretrained", "img_size", "seed", "resume",
    "fast", "device", "workers", "infer_batch", "val_positives_dist_threshold",
)  # fmt: skip

FAST = {"epochs": 2, "iterations_per_epoch": 1, "train_batch": 2, "img_size": [48, 64]}


class Origin(NamedTuple):
    """Where the parts come from.

    Attributes:
        model: Directory of a place model; "" takes the recipe's backbone.
        regression, features: Files of the public repository; "" for none.
    """

    model: str = ""
    regression: str = ""
    features: str = ""


def train(recipe: PlaceRecipe, settings: GeoWarpSettings, origin: Origin) -> WarpModel:
    """Run one training and write its model.

    Args:
        recipe: Data, features and device; what says how to train a place model is not read.
        settings: How GeoWarp learns.
        origin: Of features and first weights.

    Raises:
        ValueError, OSError: what the user gave cannot be trained on; the message says why.
    """
    import torch

    from retrieval.geowarp.sources import build_held_out, build_sources, errors_of, find_photos
    from retrieval.geowarp.trainer import GeoWarpTrainer
    from retrieval.train import engine_of

    recipe = _with_data(recipe, settings)
    torch.manual_seed(recipe.seed)
    out, engine = Path(recipe.out), engine_of(recipe)
    embedder, size = build_features(recipe, origin)
    model = build_model(embedder, origin).to(engine.device)
    binding = {**origin._asdict(), **_hashes(origin), **_bound(recipe), "size": list(size)}
    photos = find_photos(recipe, settings) if settings.epochs else None
    lists = photos.lists if photos else {}
    trainer = GeoWarpTrainer(model, settings, out / "checkpoints", binding, recipe.seed, lists)
    trainer.resume() if recipe.resume else trainer.refuse_used()
    if photos and len(trainer.history) < settings.epochs:
        sources = build_sources(recipe, settings, model, embedder, photos, size, engine)
        measured = photos.held_out[:2] if recipe.fast else photos.held_out
        held_out = build_held_out(model, measured, settings, size, engine)
        trainer.fit(sources, lambda: errors_of(model, held_out))
    return finish(out, embedder, model, size, {**binding, "settings": settings.plain()},
                  trainer.history)  # fmt: skip


def build_features(recipe: PlaceRecipe, origin: Origin) -> tuple[Embedder, tuple[int, int]]:
    """The embedder whose local features are warped, and the size of its photos.

    Raises:
        ValueError: it cannot be had.
    """
    from models.places.place_model import load_place_model
    from retrieval.train import build_embedder

    if origin.model:
        loaded = load_place_model(origin.model)
        return loaded.embedder, loaded.size
    is_pretrained = recipe.pretrained and not origin.features
    return build_embedder(replace(recipe, pretrained=is_pretrained)).eval(), recipe.size


def build_model(embedder: Embedder, origin: Origin) -> GeoWarp:
    """GeoWarp on an embedder's extractor, with the first weights that were asked for."""
    from models.geowarp import GeoWarp
    from models.warping.file import load_public_extractor, load_public_regression

    model = GeoWarp(embedder.extractor)
    if origin.features:
        load_public_extractor(origin.features, model)
    if origin.regression:
        load_public_regression(origin.regression, model)
    return model


def finish(
    out: Path,
    embedder: Embedder,
    model: GeoWarp,
    size: tuple[int, int],
    origin: dict[str, Any],
    history: list[dict[str, Any]],
) -> WarpModel:
    """Write the model and say what it is worth."""
    import json

    from models.warping.file import ExtractorParts, WarpModel, save_geowarp
    from partitioning.atomic_file import atomic_path

    parts = embedder.settings
    last = history[-1] if history else {}
    warp = WarpModel(
        model.cpu().eval(),
        ExtractorParts(parts.backbone, parts.cut, parts.img_size),
        size,
        {**origin, "epochs_trained": len(history), "last_epoch": last},
    )
    save_geowarp(out, warp)
    with atomic_path(out / "history.json") as temporary:
        temporary.write_text(json.dumps(history, indent=2) + "\n")
    figures = (
        f"corner error on views of photos it never saw {last['corner_error']:.3f}, without warping "
        f"{last['identity_error']:.3f}; 1 is half of a side"
        if last
        else "not trained here"
    )
    sys.stdout.write(f"GeoWarp model: {out} ({figures})\n")
    return warp


def _bound(recipe: PlaceRecipe) -> dict[str, Any]:
    """What of the recipe a resumed run must have alike."""
    return {name: value for name, value in recipe.binding.items() if name in SHARED_FLAGS}


def _hashes(origin: Origin) -> dict[str, str]:
    """Of the files that the features are of, which may be others by now under the same name."""
    from models.places.place_model import WEIGHTS
    from models.weights import sha256_of

    hashes = {}
    if origin.model:
        hashes["model_sha256"] = sha256_of(Path(origin.model) / WEIGHTS)
    if origin.features:
        hashes["features_sha256"] = sha256_of(Path(origin.features))
    return hashes


def _with_data(recipe: PlaceRecipe, settings: GeoWarpSettings) -> PlaceRecipe:
    """With --fast a made-up town stands in where data are needed and none are given."""
    from data.toy.city import make_toy_city

    if recipe.data or not recipe.fast or not settings.epochs:
        return recipe
    town = Path(recipe.out) / "toy_city"
    if not town.exists():
        make_toy_city(town, blocks=(1, 1), step_m=20.0, queries=12, size=(48, 64))
    return replace(recipe, data=str(town))


def parse(arguments: list[str] | None) -> tuple[PlaceRecipe, GeoWarpSettings, Origin]:
    """Read the command line; a wrong one ends the program with usage and reason."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.train_geowarp",
        description="Train GeoWarp, which re-ranks the first answers of place recognition.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", default="", metavar="DIR", help="place model whose features are warped")
    add("--regression", default="", metavar="FILE", help="start from the public repository's file")
    add("--features", default="", metavar="FILE", help="likewise for the backbone")
    add_setting_flags(parser)
    add_flags(parser, SHARED_FLAGS)
    parser.set_defaults(aggregation="gem")
    values = vars(parser.parse_args(arguments))
    if values["fast"]:  # other defaults, which what is given still overrides
        parser.set_defaults(**FAST)
        values = vars(parser.parse_args(arguments))
    settings = settings_of(parser, values)
    shared = {name: values[name] for name in SHARED_FLAGS}
    recipe = recipe_of(parser, shared)
    has_data = bool(recipe.data or recipe.fast or not settings.epochs)
    if not recipe.out or not has_data:
        parser.error("--data and --out are needed (or --fast and --out)")
    if values["model"] and values["features"]:
        parser.error("--model and --features name two extractors; give one")
    return recipe, settings, Origin(values["model"], values["regression"], values["features"])


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line."""
    recipe, settings, origin = parse(arguments)
    try:
        train(recipe, settings, origin)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
