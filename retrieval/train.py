"""Train place recognition on photos of known position.

    python -m retrieval.train --data DIR --out runs/NAME

DIR is a set of places, DIR/images/{train,val,test}/{database,queries} (data/places.py); `python -m
setup.make_toy_city` makes a synthetic one. What comes out in runs/NAME is a place model
(models/places/place_model.py) with the weights that validated best, checkpoints of best and last,
and recalls.json, the recall after each epoch. Queries are mined anew every --cache_refresh_rate; a
run that was killed goes on from there with --resume. `--recipe NAME` takes a run worth a name
(retrieval/training/recipes.py), `--fast` tries the machinery. On several GPUs:

    torchrun --nproc_per_node 4 -m retrieval.train --data DIR --out runs/NAME

What that teaches on a made-up town is measured by `python -m retrieval.learning`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.training.recipe import PlaceRecipe, recipe_of
from retrieval.training.recipes import add_recipe_flags

if TYPE_CHECKING:
    from models.places.embedder import Embedder
    from models.places.place_model import PlaceModel
    from retrieval.descriptor_cache import Engine
    from retrieval.training.recall_watch import RecallWatch
    from retrieval.training.reclustering import Reclustering
    from retrieval.training.triplet_rounds import TripletRounds


def train(recipe: PlaceRecipe) -> PlaceModel | None:
    """Run one training; return its best model, on the first of several processes.

    Raises:
        ValueError, OSError: what the user gave cannot be trained on; the message says why.
    """
    import models.torchvision_cure  # noqa: F401  isort: skip  (before Lightning)
    import pytorch_lightning as pl

    from data.place_sets.joined_places import read_training_places
    from data.places import read_places
    from models.training.progress import quiet
    from retrieval.training.recall_watch import RecallWatch
    from retrieval.training.task import PlaceTask
    from retrieval.training.trainer import build_trainer

    quiet()
    recipe = _made_town(recipe) if recipe.fast else recipe
    pl.seed_everything(recipe.seed, workers=True, verbose=False)
    out = Path(recipe.out)
    checkpoint = checkpoint_to_resume(recipe, out)
    train_places = read_training_places(
        recipe.data, recipe.extra_data, recipe.extra_to, recipe.train_positives_dist_threshold
    )
    val_places = read_places(recipe.data, "val", recipe.val_positives_dist_threshold)
    say(f"train: {train_places}\nval: {val_places}")
    engine = engine_of(recipe)
    embedder = build_embedder(recipe)
    task = PlaceTask(embedder, recipe)  # refuses before the work, not after it
    rounds = build_rounds(recipe, train_places, embedder, engine)
    if checkpoint is None:
        start_clusters(recipe, embedder, rounds, engine)
    watch = RecallWatch(
        val_places, out / "checkpoints", recipe.size, engine, recipe.rounds_per_epoch,
        recipe.patience,
    )  # fmt: skip
    reclustering = build_reclustering(recipe, watch, embedder, rounds, engine)
    trainer = build_trainer(recipe, out, engine, [watch, *reclustering])
    trainer.fit(task, datamodule=rounds, ckpt_path=checkpoint, weights_only=True)
    if not trainer.is_global_zero:
        return None
    report_unreadable(rounds.refused | watch.refused)
    return finish(recipe, out, embedder, watch, [e for r in reclustering for e in r.epochs])


def finish(
    recipe: PlaceRecipe,
    out: Path,
    embedder: Embedder,
    watch: RecallWatch,
    reclustered: list[int],
) -> PlaceModel:
    """Write the model with the best weights; `reclustered`: after which epochs NetVLAD was."""
    from models.places.place_model import save_place_model
    from models.training.checkpoint import AtomicCheckpointIO
    from retrieval.training.recall_watch import BEST

    best = AtomicCheckpointIO().load_checkpoint(out / "checkpoints" / BEST)
    embedder.load_state_dict(best["weights"])
    figures = watch.history[best["epoch"]]
    origin: dict[str, Any] = {
        "chosen weights": f"best R@5 on validation, after epoch {best['epoch']}",
        "best epoch": best["epoch"],
        "validation": {k: v for k, v in figures.items() if k.startswith("R@")},
        "untrained": {k: v for k, v in watch.history[0].items() if k.startswith("R@")},
        "reclustered after epochs": reclustered,
        "settings": asdict(recipe),
    }
    model = save_place_model(out, embedder.cpu(), recipe.size, origin)
    share = figures["R@1"]
    sys.stdout.write(
        f"place model: {out} (R@1 {share['percent']:.1f} [{share['low']:.1f}, "
        f"{share['high']:.1f}] of {share['n']} queries; test it: python -m retrieval.test "
        f"--model {out} --data {recipe.data})\n"
    )
    return model


def build_embedder(recipe: PlaceRecipe) -> Embedder:
    """The untrained embedder.

    Raises:
        ValueError: as `Embedder`.
    """
    from models.places.embedder import Embedder

    embedder = Embedder(recipe.embedder_settings(), recipe.pretrained)
    if embedder.extractor.has_tokens and recipe.size[0] != recipe.size[1]:
        raise ValueError(
            f"--img_size {recipe.size[0]} {recipe.size[1]}: a transformer takes squares; give one "
            "side"
        )
    return embedder


def build_rounds(
    recipe: PlaceRecipe, places: Any, embedder: Embedder, engine: Engine
) -> TripletRounds:
    """What is learned from."""
    from data.place_sets.augmentation import Augmentation
    from retrieval.training.mining import MiningSettings
    from retrieval.training.triplet_rounds import TripletRounds

    mining = MiningSettings(
        recipe.mining, recipe.cache_refresh_rate, recipe.negatives, recipe.negatives_pool,
        recipe.val_positives_dist_threshold,
    )  # fmt: skip
    augmentation = Augmentation(
        recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue, recipe.perspective,
        recipe.resized_crop, recipe.rotation_deg, recipe.flip, recipe.erasing,
        perspective_p=recipe.perspective_p, perspective_edges=recipe.perspective_edges,
        night=recipe.night_augmentation, night_p=recipe.night_p,
    )  # fmt: skip
    return TripletRounds(
        places, embedder, mining, recipe.size, augmentation, engine, recipe.train_batch,
        recipe.seed,
    )  # fmt: skip


def start_clusters(
    recipe: PlaceRecipe, embedder: Embedder, rounds: TripletRounds, engine: Engine
) -> None:
    """K-means for NetVLAD, on the device if there is one."""
    from retrieval.training.clustering import start_netvlad

    alpha = start_netvlad(embedder.to(engine.device), rounds.database, engine, recipe.seed)
    if alpha is not None:
        say(f"{recipe.aggregation}: {recipe.clusters} centres by k-means, alpha {alpha:.1f}")


def build_reclustering(
    recipe: PlaceRecipe,
    watch: RecallWatch,
    embedder: Embedder,
    rounds: TripletRounds,
    engine: Engine,
) -> list[Reclustering]:
    """What clusters NetVLAD anew, where the recipe wants it.

    Raises:
        ValueError: the embedder has no NetVLAD.
    """
    from retrieval.training.reclustering import Reclustering, reset_weights

    if not recipe.reclusterings:
        return []
    reset_weights(embedder)  # refuses before the work, not after it
    photos = rounds.database
    return [Reclustering(watch, photos, recipe.reclusterings, engine, recipe.seed)]


def engine_of(recipe: PlaceRecipe) -> Engine:
    """How photos are described.

    Raises:
        ValueError: a GPU is asked for and there is none.
    """
    import os

    import torch

    from retrieval.descriptor_cache import Engine

    has_gpu = torch.cuda.is_available()
    if recipe.device == "cuda" and not has_gpu:
        raise ValueError("--device cuda: no GPU is visible; use --device cpu or auto")
    is_gpu = has_gpu and recipe.device != "cpu"
    number = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", number) if is_gpu else torch.device("cpu")
    is_bf16 = recipe.precision == "bf16-mixed" or (recipe.precision == "auto" and is_gpu)
    return Engine(device, recipe.infer_batch, recipe.workers, is_bf16)


def checkpoint_to_resume(recipe: PlaceRecipe, out: Path) -> str | None:
    """The newest whole checkpoint for --resume, else None.

    Raises:
        ValueError: there is none to resume, or one that would be overwritten.
    """
    from models.training.checkpoint import checkpoints_in, newest_readable

    directory = out / "checkpoints"
    if recipe.resume:
        newest = newest_readable(directory)
        if newest is None:
            raise ValueError(f"--resume: no checkpoint in {directory}; leave out --resume to start")
        return str(newest)
    if checkpoints_in(directory):
        raise ValueError(f"{out} holds a run: go on with it by --resume, or take another --out")
    return None


def report_unreadable(refused: dict[str, str]) -> None:
    """List photos that could not be read."""
    if refused:
        sys.stderr.write(f"warning: {len(refused):,} photos could not be read:\n")
        sys.stderr.writelines(f"  {path}: {why}\n" for path, why in list(refused.items())[:10])


def say(text: str) -> None:
    """Print, on the first of several processes."""
    from models.training.trainer import rank

    if rank() == 0:
        sys.stderr.write(text + "\n")


def _made_town(recipe: PlaceRecipe) -> PlaceRecipe:
    """The recipe, on a made-up town in `out` where no data are given."""
    from dataclasses import replace

    from data.toy.city import make_toy_city

    if recipe.data:
        return recipe
    town = Path(recipe.out) / "toy_city"
    if not town.exists():
        make_toy_city(town, blocks=(1, 1), step_m=20.0, queries=12, size=(48, 64))
    return replace(recipe, data=str(town))


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.train",
        description="Train place recognition on photos of known position.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add_recipe_flags(parser, arguments)
    recipe = recipe_of(parser, vars(parser.parse_args(arguments)))
    if not recipe.out or not (recipe.data or recipe.fast):
        parser.error("--data and --out are needed (or --fast and --out)")
    try:
        train(recipe)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
