"""Settings: every flag with help and default, the seed's flags, bad values."""

import json
import re
from dataclasses import MISSING, asdict, fields, replace

import pytest

from models.training.recipe import LEVEL_NAMES, Recipe
from models.training.recipe_flags import parse_backbone_args, parse_recipe
from models.training.recipes import RECIPES

NEEDED = ["--data", "d", "--out", "o"]


def parse(flags=""):
    return parse_recipe("Train.", [*NEEDED, *flags.split()])


def test_without_flags_it_is_the_default():
    assert parse() == Recipe(data="d", out="o")


def test_every_flag_has_help_and_shows_its_default(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse("--help")
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    for entry in fields(Recipe):
        assert entry.default is not MISSING
        assert f" --{entry.name}" in text
        help_text = entry.metadata["help"]
        assert f"{help_text} (default: {entry.default})" in text, entry.name


def test_the_seeds_flags():
    recipe = parse(
        "--s2_cells middle --scene_of_interest 2 --seg_channels 150 --epochs 3 "
        "--cuda_base cuda:1 --device_ids 0 1"
    )
    assert (recipe.s2_cells, recipe.scene_of_interest, recipe.seg_channels) == ("middle", 2, 150)
    assert (recipe.epochs, recipe.cuda_base, recipe.device_ids) == (3, "cuda:1", (0, 1))


def test_other_kinds_of_flags():
    recipe = parse("--no-pretrained --resume --level_weights 1 0 0.5 --t_fine 3 9 --device_ids 2")
    assert (recipe.pretrained, recipe.resume) == (False, True)
    assert (recipe.level_weights, recipe.t_fine, recipe.device_ids) == ((1, 0, 0.5), (3, 9), (2,))


@pytest.mark.parametrize(
    "flags",
    [
        "--s2_cells street",
        "--scene_of_interest 4",
        "--inputs depth",
        "--epochs 0",
        "--epochs -1",
        "--epochs many",
        "--batch_size 0",
        "--descriptor_dim -1",
        "--workers -1",
        "--seed -1",
        "--level_weights 1 2",
        "--t_coarse 5",
        "--device_ids",
        "--no_such_flag 1",
    ],
)
def test_a_wrong_flag_ends_with_usage_and_names_itself(flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse(flags)
    error = capsys.readouterr().err
    assert "usage:" in error
    assert flags.split()[0] in error.splitlines()[-1]


@pytest.mark.parametrize("arguments", [[], ["--data", "d"], ["--out", "o"], ["--fast"]])
def test_data_and_out_are_needed(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_recipe("", arguments)
    assert "--data and --out are needed" in capsys.readouterr().err


def test_fast_needs_no_data_and_is_small():
    recipe = parse_recipe("", ["--fast", "--out", "o", "--inputs", "rgb"])
    small = recipe.made_fast()
    assert (small.inputs, small.device, small.workers, small.pretrained) == ("rgb", "cpu", 0, False)
    parse_backbone_args(small.backbone_args)


@pytest.mark.parametrize(("finest", "number"), [("coarse", 1), ("middle", 2), ("fine", 3)])
def test_levels(finest, number):
    assert parse(f"--s2_cells {finest}").levels == LEVEL_NAMES[:number]


def test_thresholds_by_level():
    recipe = parse("--t_coarse 1 2 --t_middle 3 4 --t_fine 5 6")
    assert recipe.thresholds == {"coarse": (1, 2), "middle": (3, 4), "fine": (5, 6)}


def test_what_a_resumed_run_must_share():
    where = "--device cpu --workers 7 --epochs 99 --resume --device_ids 1 2 --cuda_base cuda:3"
    assert parse(where).binding == parse().binding
    free = set(asdict(Recipe())) - set(parse().binding)
    for flag in ("--lr 1", "--batch_size 2", "--inputs rgb", "--seed 3", "--t_fine 2 3"):
        assert parse(flag).binding != parse().binding
        assert flag.split()[0][2:] not in free


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("patch_size=8", {"patch_size": 8}),
        ("a=0.5,b=true,c=word,d=1e-3,", {"a": 0.5, "b": True, "c": "word", "d": 0.001}),
        ("e=x=y", {"e": "x=y"}),
    ],
)
def test_backbone_args(text, expected):
    assert parse_backbone_args(text) == expected


@pytest.mark.parametrize("text", ["depth", "a=1,depth", "=3"])
def test_bad_backbone_args(text):
    with pytest.raises(ValueError, match="is not name=value"):
        parse_backbone_args(text)


def test_a_recipes_settings_are_the_defaults_and_flags_override_them(capsys):
    for name, build in RECIPES.items():
        assert build().recipe == name
        assert build.__doc__
        recipe = parse(f"--recipe {name}")
        assert recipe == replace(build(), data="d", out="o")
        assert parse(f"--lr 0.125 --recipe {name} --seed 9") == replace(recipe, lr=0.125, seed=9)
    assert parse() == parse("--recipe seed")
    assert parse("--recipe modern --no-compile").compile is False
    with pytest.raises(SystemExit):
        parse("--recipe modern --help")
    assert f"(default: {RECIPES['modern']().backbone})" in " ".join(capsys.readouterr().out.split())


def test_an_unknown_recipe_lists_the_known(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse("--recipe ancient")
    error = capsys.readouterr().err
    assert all(name in error for name in RECIPES)


def test_a_recipe_is_plain_types():
    """It goes into config.json and comes back."""
    for build in RECIPES.values():
        read = json.loads(json.dumps(asdict(build())))
        assert Recipe(**{k: tuple(v) if isinstance(v, list) else v for k, v in read.items()}) == (
            build()
        )


def test_a_single_level():
    assert parse("--single_level").levels == ("fine",)
    assert parse("--single_level --s2_cells middle").levels == ("middle",)
