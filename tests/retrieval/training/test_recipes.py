"""Named runs: what they say, what flags override, and that all go with a backbone of the house."""

import argparse
from dataclasses import replace

import pytest

from retrieval.train import build_embedder
from retrieval.training.recipe import PlaceRecipe, recipe_of
from retrieval.training.recipes import RECIPES, add_recipe_flags


def parsed(*arguments):
    parser = argparse.ArgumentParser("here", allow_abbrev=False)
    add_recipe_flags(parser, list(arguments))
    return recipe_of(parser, vars(parser.parse_args(list(arguments))))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_what_its_flag_gives(name):
    assert parsed("--recipe", name) == RECIPES[name]()
    assert RECIPES[name]().recipe == name
    assert "To reach:" in RECIPES[name].__doc__


def test_the_theses_settings():
    """T6: VGG16 with SGD 1e-4, step 5 x 0.1; ResNet18 conv4 with Adam 1e-5; clustered anew."""
    netvlad, resnetvlad, dynetvlad = (RECIPES[n]() for n in ("netvlad", "resnetvlad", "dynetvlad"))
    assert (netvlad.backbone, netvlad.optimizer, netvlad.lr) == ("vgg16", "sgd", 1e-4)
    assert (netvlad.lr_step, netvlad.lr_drop) == (5, 0.1)
    assert (resnetvlad.backbone, resnetvlad.cut) == ("resnet18", "conv4")
    assert (resnetvlad.optimizer, resnetvlad.lr) == ("adam", 1e-5)
    assert {r.aggregation for r in (netvlad, resnetvlad, dynetvlad)} == {"netvlad"}
    assert replace(resnetvlad, recipe="dynetvlad", reclusterings=1) == dynetvlad


def test_single_flags_override_a_recipe():
    recipe = parsed("--recipe", "netvlad", "--lr", "0.5", "--backbone", "efficientnet_lite0")
    assert (recipe.lr, recipe.backbone) == (0.5, "efficientnet_lite0")
    assert (recipe.optimizer, recipe.lr_step) == ("sgd", 5)
    assert parsed() == PlaceRecipe()


def test_a_flag_that_is_given_beside_fast_is_kept():
    recipe = parsed("--fast", "--recipe", "resnetvlad", "--epochs", "3")
    assert (recipe.epochs, recipe.backbone, recipe.img_size) == (3, "resnet18", (48, 64))
    assert recipe == replace(RECIPES["resnetvlad"]().made_fast(), fast=True, epochs=3)


def test_an_unknown_recipe_is_refused_with_those_known(capsys):
    with pytest.raises(SystemExit):
        parsed("--recipe", "supervlad")
    assert "resnetvlad" in capsys.readouterr().err


@pytest.mark.parametrize("name", RECIPES)
def test_each_goes_with_a_backbone_whose_weights_are_installed(name):
    recipe = replace(
        RECIPES[name](), backbone="efficientnet_lite0", pretrained=False, img_size=(32, 32)
    )
    embedder = build_embedder(recipe)
    assert embedder.dim == (112 if recipe.aggregation == "gem" else 64 * 112)


def test_the_learning_rate_drops_every_so_many_epochs():
    recipe = PlaceRecipe(
        lr=1.0, lr_step=2, lr_drop=0.1, queries_per_epoch=300, cache_refresh_rate=100
    )
    rates = [recipe.lr_of(round_) for round_ in range(15)]  # three rounds an epoch
    assert rates == pytest.approx([1.0] * 6 + [0.1] * 6 + [0.01] * 3)
    assert {PlaceRecipe().lr_of(round_) for round_ in range(99)} == {PlaceRecipe().lr}
