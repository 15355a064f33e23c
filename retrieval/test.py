"""Test place recognition: recall at 1, 5, 10, 20 with intervals, panels, saved descriptors.

    python -m retrieval.test --model runs/NAME --data DIR

Several models are joined by --ensemble, several sizes of the photos by --scales
(retrieval/testing/ensembles.py). In place of --model, --backbone and --aggregation test untrained
features, and with --checkpoint a file of the public benchmark
(models/places/benchmark_checkpoint.py). What comes out: recalls.json, .csv and .md, and
predictions.csv; with --save_descriptors descriptors/database.npy and queries.npy, with
--save_panels N pictures of the first N queries and their answers. `--no_labels` is for sets whose
names hold no positions: predictions and panels only. --rerank sorts the first answers anew and
shows recall before and after (retrieval/rerank.py). `--audit` shows that no answer depends on which
photos lie in a batch; the exit status is 1 where one does.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.rerank import RerankSettings, add_rerank_flags, rerank_settings_of
from retrieval.training.recipe import PlaceRecipe, add_flags, recipe_of

if TYPE_CHECKING:
    from models.places.place_model import PlaceModel
    from retrieval.descriptor_cache import Engine

SHARED_FLAGS = (
    "backbone", "cut", "aggregation", "attention", "l2", "fc_dim", "clusters", "pretrained",
    "device", "precision", "workers", "seed", "val_positives_dist_threshold",
)  # fmt: skip


def build_model(options: dict[str, Any], recipe: PlaceRecipe, engine: Engine) -> PlaceModel:
    """The model that the flags name: trained, of a checkpoint, or untrained.

    Raises:
        ValueError: it cannot be had.
    """
    from models.places.benchmark_checkpoint import load_benchmark_checkpoint
    from models.places.embedder import Embedder
    from models.places.place_model import PlaceModel, load_place_model
    from retrieval.testing.evaluation import training_photos
    from retrieval.training.clustering import start_netvlad

    if options["model"]:
        model = load_place_model(options["model"])
        return replace(model, size=recipe.size) if options["img_size"] else model
    settings = recipe.embedder_settings()
    if options["checkpoint"]:
        # The benchmark leaves GeM's descriptors without projection at their length.
        settings = replace(settings, is_unit=recipe.aggregation != "gem" or recipe.fc_dim > 0)
        embedder = Embedder(settings, pretrained=False)
        load_benchmark_checkpoint(options["checkpoint"], embedder)
        return PlaceModel(embedder, recipe.size, {"checkpoint": str(options["checkpoint"])})
    embedder = Embedder(settings, recipe.pretrained).to(engine.device).eval()
    if recipe.aggregation in ("netvlad", "crn"):
        from data.place_sets.photos import PlacePhotos

        photos = PlacePhotos(training_photos(options["data"], options["split"]), recipe.size)
        start_netvlad(embedder, photos, engine, recipe.seed)
    return PlaceModel(embedder, recipe.size, {"untrained": True})


def build_joined_model(options: dict[str, Any], recipe: PlaceRecipe, engine: Engine) -> PlaceModel:
    """All models that the flags name, at all scales, as one.

    Raises:
        ValueError: one cannot be had, or they cannot be joined.
    """
    from retrieval.testing.ensembles import Joining, joined_model

    joining = Joining(
        options["ensemble"], tuple(options["ensemble_weights"]), tuple(options["scales"]),
        options["scale_join"],
    )  # fmt: skip
    directories = options["model"] or [None]
    models = [build_model(options | {"model": d}, recipe, engine) for d in directories]
    return joined_model(models, joining)


def run(options: dict[str, Any], recipe: PlaceRecipe) -> int:
    """Test; returns the exit status.

    Raises:
        ValueError, OSError: what the user gave cannot be tested.
    """
    from retrieval.testing.crop_voting import CropVoting
    from retrieval.testing.evaluation import Job, evaluate
    from retrieval.testing.place_search import SearchSettings
    from retrieval.testing.recall_report import markdown
    from retrieval.train import engine_of

    engine = engine_of(replace(recipe, infer_batch=options["batch"]))
    rerank = rerank_settings_of(options)
    job = Job(
        options["data"], _out(options, rerank), options["split"], tuple(options["recall_values"]),
        recipe.val_positives_dist_threshold, not options["no_labels"], options["save_panels"],
        options["audit"], options["save_descriptors"], options["protocol"], options["frames"],
        options["allow_counts"], rerank,
    )  # fmt: skip
    depth = max(*job.depths, rerank.top if rerank else 1)  # what is sorted anew must be found first
    settings = SearchSettings(
        options["test_method"], depth, options["pca_dim"], options["whiten"],
        options["descriptor_dtype"], recipe.seed, CropVoting(
            crop_px=options["crop_px"], preds_per_query=options["preds_per_query"],
            preds_per_crop=options["preds_per_crop"],
        ),
    )  # fmt: skip
    result = evaluate(build_joined_model(options, recipe, engine), job, settings, engine)
    if result.recalls:
        sys.stdout.write(markdown(result.recalls, {}).rstrip() + "\n")
    sys.stderr.write(f"results: {job.out}\n")
    return 1 if result.audit and not result.audit.is_passed else 0


def parse(arguments: list[str] | None) -> tuple[dict[str, Any], PlaceRecipe]:
    """Read the command line; a wrong one ends the program with usage and reason."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.test",
        description="Test place recognition: recall, predictions, panels.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--model", nargs="+", metavar="DIR",
        help="what `python -m retrieval.train` wrote; several are joined by --ensemble",
    )  # fmt: skip
    add("--checkpoint", metavar="FILE", help="of the public benchmark; needs --backbone and so on")
    add("--data", type=Path, required=True, metavar="DIR", help="set of places")
    add("--out", metavar="DIR", help="of the results; by default in the model's directory")
    _add_joining_flags(parser)
    add("--split", default="test", choices=("train", "val", "test"), help="part of the set")
    add(
        "--protocol",
        default="",
        help="a benchmark of data/place_sets/protocols.py, whose counts hold",
    )
    add(
        "--frames", type=int, help="answers within so many frames are right, in protocols by frames"
    )
    add("--allow_counts", action="store_true", help="test on other counts, named NOT the protocol")
    add("--recall_values", type=int, nargs="+", default=[1, 5, 10, 20], help="the k of R@k")
    _add_query_flags(parser)
    _add_result_flags(parser)
    add_rerank_flags(parser)
    add_flags(parser, SHARED_FLAGS)
    options = vars(parser.parse_args(arguments))
    if min(options["recall_values"]) < 1 or options["batch"] < 1:
        parser.error("--recall_values and --batch must be 1 or more")
    if options["model"] and options["checkpoint"]:
        parser.error("--model and --checkpoint name two models; give one")
    if problem := _protocol_problem(options):
        parser.error(problem)
    if options["whiten"] and not options["pca_dim"]:
        parser.error("--whiten goes with --pca_dim")
    size = {"img_size": options["img_size"]} if options["img_size"] else {}
    shared = {name: options[name] for name in SHARED_FLAGS}
    return options, recipe_of(parser, shared | size)


def _add_query_flags(parser: argparse.ArgumentParser) -> None:
    """How queries are shown to the model."""
    add = parser.add_argument
    add(
        "--test_method", default="hard_resize", help="how queries are shown to the model",
        choices=("hard_resize", "single_query", "central_crop", "five_crops", "nearest_crop",
                 "maj_voting", "crop_voting"),
    )  # fmt: skip
    add("--img_size", type=int, nargs="+", help="height and width, px; else the model's, or 224")
    add(
        "--crop_px", type=int, default=224,
        help="side at which a crop of crop_voting is seen, px; with --scales at scale 1, by the "
        "largest of several models, by smaller ones in proportion",
    )  # fmt: skip
    add("--preds_per_query", type=int, default=100, help="crop_voting: a crop's answers of 3 votes")
    add("--preds_per_crop", type=int, default=1000, help="crop_voting: those of 2 votes end here")


def _add_result_flags(parser: argparse.ArgumentParser) -> None:
    """What is made of descriptors, and kept."""
    add = parser.add_argument
    add("--pca_dim", type=int, default=0, help="length after PCA; 0 = none")
    add("--whiten", action="store_true", help="PCA with whitening")
    add("--descriptor_dtype", default="float32", choices=("float32", "float16"), help="as stored")
    add("--save_descriptors", action="store_true", help="keep them, as .npy files")
    add("--save_panels", type=int, default=0, metavar="N", help="draw the first N queries")
    add("--no_labels", action="store_true", help="names hold no positions: predictions only")
    add("--audit", action="store_true", help="compare descriptors made alone and in a batch")
    add("--batch", type=int, default=16, help="photos described at a time")


def _protocol_problem(options: dict[str, Any]) -> str:
    """Why --protocol and its companions cannot be; "" where they can."""
    from data.place_sets.protocols import PROTOCOLS

    name = options["protocol"]
    if not name:
        is_alone = options["frames"] is not None or options["allow_counts"]
        return "--frames and --allow_counts go with --protocol" if is_alone else ""
    if options["no_labels"]:
        return "--protocol has ground truth; leave out --no_labels"
    if name not in PROTOCOLS:
        return f"--protocol: {name} is none of {', '.join(PROTOCOLS)}"
    splits = list(PROTOCOLS[name].counts)
    if splits and options["split"] not in splits:
        return f"--protocol {name} goes with --split {' or '.join(splits)}"
    return ""


def _add_joining_flags(parser: argparse.ArgumentParser) -> None:
    """How several models and several sizes of the photos are joined."""
    add = parser.add_argument
    add(
        "--ensemble", default="concat", choices=("add", "mean", "concat"),
        help="how descriptors of several models are joined",
    )  # fmt: skip
    add(
        "--ensemble_weights", type=float, nargs="+", default=[], metavar="W",
        help="of the models, shares of the similarity; else all alike",
    )  # fmt: skip
    add("--scales", type=float, nargs="+", default=[1.0], help="factors on the photos' size")
    add(
        "--scale_join", default="concat", choices=("concat", "mean", "mean_before"),
        help="how descriptors of several scales are joined; mean_before: feature maps are averaged",
    )  # fmt: skip


def _out(options: dict[str, Any], rerank: RerankSettings | None) -> Path:
    """Of the results; by default in the first model's directory, named for what is tested."""
    if options["out"]:
        return Path(options["out"])
    models, scales = options["model"] or [], options["scales"]
    parts = [Path(options["data"]).resolve().name, options["split"], options["test_method"]]
    if options["img_size"]:
        parts.append("x".join(f"{side}" for side in options["img_size"]))
    radius_m = options["val_positives_dist_threshold"]
    if radius_m != PlaceRecipe.val_positives_dist_threshold:
        parts.append(f"{radius_m:g}m")
    if len(models) > 1:
        parts += [options["ensemble"], *(Path(directory).name for directory in models[1:])]
    if scales != [1.0]:
        parts += [options["scale_join"], *(f"{scale:g}" for scale in scales)]
    if options["pca_dim"]:
        parts.append(f"pca{options['pca_dim']}{'_whitened' if options['whiten'] else ''}")
    parts += rerank.words if rerank else []
    return Path(models[0] if models else "runs/tested") / "-".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Test from the command line."""
    options, recipe = parse(arguments)
    try:
        return run(options, recipe)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
