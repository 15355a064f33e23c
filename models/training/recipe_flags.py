"""The command line of train_vit.py: one flag for each setting of a `Recipe`.

`--recipe NAME` is read first: what it sets is the default of every other flag.
"""

import argparse
import json
from dataclasses import fields
from typing import Any

from models.training.recipe import Recipe
from models.training.recipes import RECIPES


def parse_recipe(description: str, arguments: list[str] | None = None) -> Recipe:
    """Read the command line; a wrong one ends the program with usage and reason."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe", choices=RECIPES, default=Recipe.recipe)
    defaults = RECIPES[first.parse_known_args(arguments)[0].recipe]()
    parser = _parser(description, defaults)
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(parser.parse_args(arguments)).items()
    }
    for entry in fields(Recipe):
        least = entry.metadata["least"]
        if least is not None and values[entry.name] < least:
            parser.error(f"--{entry.name} must be at least {least}, got {values[entry.name]}")
    recipe = Recipe(**values)
    if not recipe.out or not (recipe.data or recipe.fast):
        parser.error("--data and --out are needed (or --fast and --out)")
    return recipe


def _parser(description: str, defaults: Recipe) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Recipes are described in models/training/recipes.py.",
        allow_abbrev=False,
    )
    for entry in fields(Recipe):
        default = getattr(defaults, entry.name)
        parser.add_argument(f"--{entry.name}", **_argument(entry.name, default, entry.metadata))
    return parser


def _argument(name: str, default: Any, metadata: Any) -> dict[str, Any]:
    """What argparse is told of one setting."""
    options: dict[str, Any] = {"help": metadata["help"], "default": default}
    if isinstance(default, bool):
        action = argparse.BooleanOptionalAction if default else "store_true"
        return options | {"action": action}
    if isinstance(default, tuple):
        return options | {"type": type(default[0]), "nargs": len(default) if default[1:] else "+"}
    if name in ("data", "out"):
        options["metavar"] = "DIR"
    choices = tuple(RECIPES) if name == "recipe" else metadata["choices"]
    return options | {"type": type(default), "choices": choices}


def parse_backbone_args(text: str) -> dict[str, Any]:
    """Read `name=value,name=value`; values are numbers, true, false or words.

    Raises:
        ValueError: a part is not of that form.
    """
    arguments: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, separator, value = part.partition("=")
        if not (name and separator):
            raise ValueError(f"--backbone_args: {part!r} is not name=value")
        try:
            arguments[name] = json.loads(value)
        except json.JSONDecodeError:
            arguments[name] = value
    return arguments
