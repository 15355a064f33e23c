"""Runs of place recognition worth a name: functions that return a `PlaceRecipe`.

For `retrieval.train --recipe NAME`; a flag given beside it overrides the recipe's setting. `gem`
and `netvlad` are the baselines; `netvlad`, `resnetvlad` and `dynetvlad` are a thesis's models of a
city, to each of which `--autoencoder_weight` adds its decoder. VGG16 and ResNet weights need a
model hub once; without one, `--backbone efficientnet_lite0` goes with each.

Costs are estimates for Pitts30k-train (10,000 photos of the database, 7,416 queries, 480 x 640) on
one GPU of 24 GB, until a table in the README shows the run. Figures to reach: R@1 on Pitts30k-test,
25 m, as https://github.com/gmberton/deep-visual-geo-localization-benchmark gives it.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

from retrieval.training.recipe import PlaceRecipe, add_flags

THESIS_SIZE = (480, 640)


def default() -> PlaceRecipe:
    """NetVLAD on EfficientNet-Lite0 at 224 px: needs no model hub.

    Minutes on two cores for a made-up town (`python -m retrieval.learning`), about an hour on one
    GPU for Pitts30k. To reach: what `retrieval.learning` prints; nobody has published this pair.
    """
    return PlaceRecipe()


def gem() -> PlaceRecipe:
    """ResNet18 up to conv4 with GeM: 256 numbers a photo, the light baseline.

    Half a day on one GPU. To reach: R@1 77.8 (benchmark).
    """
    return PlaceRecipe(
        recipe="gem",
        backbone="resnet18",
        aggregation="gem",
        img_size=THESIS_SIZE,
        mining="full",
        lr=1e-5,
    )


def netvlad() -> PlaceRecipe:
    """VGG16 with NetVLAD, SGD from 1e-4, a tenth of it every 5 epochs: the paper's training.

    Arandjelovic et al., "NetVLAD", 2016, https://arxiv.org/abs/1511.07247. A day on one GPU; the
    descriptor has 32,768 numbers. To reach: R@1 83.2 (benchmark).
    """
    return PlaceRecipe(
        recipe="netvlad",
        backbone="vgg16",
        aggregation="netvlad",
        img_size=THESIS_SIZE,
        mining="full",
        optimizer="sgd",
        lr=1e-4,
        weight_decay=1e-3,
        lr_step=5,
        lr_drop=0.1,
    )


def resnetvlad() -> PlaceRecipe:
    """ResNet18 up to conv4 with NetVLAD, Adam 1e-5: NetVLAD of half the length.

    Half a day on one GPU; 16,384 numbers. To reach: R@1 86.4 (benchmark).
    """
    return PlaceRecipe(
        recipe="resnetvlad",
        backbone="resnet18",
        aggregation="netvlad",
        img_size=THESIS_SIZE,
        mining="full",
        optimizer="adam",
        lr=1e-5,
    )


def dynetvlad() -> PlaceRecipe:
    """ResNetVLAD whose NetVLAD is clustered anew when nothing gets better (reclustering.py).

    Twice ResNetVLAD's time: it converges twice. To reach: more than `resnetvlad` on the same set
    and seed, its interval above 0; no figure of exactly this run is published.
    """
    return replace(resnetvlad(), recipe="dynetvlad", reclusterings=1)


RECIPES: dict[str, Callable[[], PlaceRecipe]] = {
    "default": default,
    "gem": gem,
    "netvlad": netvlad,
    "resnetvlad": resnetvlad,
    "dynetvlad": dynetvlad,
}


def add_recipe_flags(parser: argparse.ArgumentParser, arguments: list[str] | None = None) -> None:
    """Add --recipe and a flag for each setting, whose default is that of the recipe.

    --fast changes defaults as well: a flag that is given is kept.

    Args:
        parser: To add to.
        arguments: The command line; None takes the program's.
    """
    first = argparse.ArgumentParser(parser.prog, add_help=False, allow_abbrev=False)
    named = {"choices": RECIPES, "default": "default", "help": "named run, the others' defaults"}
    first.add_argument("--recipe", **named)  # type: ignore[arg-type]
    first.add_argument("--fast", action="store_true")
    given = first.parse_known_args(arguments)[0]
    recipe = RECIPES[given.recipe]()
    parser.add_argument("--recipe", **named)  # type: ignore[arg-type]
    add_flags(parser, defaults=recipe.made_fast() if given.fast else recipe)
