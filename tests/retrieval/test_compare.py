"""The comparison: rows run once, say why they do not, and are compared as by hand."""

import csv
import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data.places import read_places
from retrieval.compare import build_parser, main
from retrieval.comparing import runs as compare_runs
from retrieval.comparing.methods import DEFAULT, METHODS, Step, wanted_sets, with_bases
from retrieval.comparing.report import sentences
from retrieval.comparing.runs import NotRunError, Runs, clocked, minutes_of
from retrieval.comparing.sets import Sets, make_toy_sets
from retrieval.comparing.study import FAST_FLAGS, TOY_FLAGS, Study, open_folder
from retrieval.comparing.table import Gain, Row, _note, gains_of
from retrieval.testing.recall_report import measure, write_report
from retrieval.training.recipe import PlaceRecipe

THESIS = (
    "gem netvlad resnetvlad dynetvlad +autoencoder +undistortion +inpainting +night +ensemble "
    "+multi_scale +geowarp"
)


def test_the_default_rows_are_the_theses_and_stand_on_rows_before_them():
    assert set(THESIS.split()) <= set(DEFAULT)
    names = list(METHODS)
    assert names[0] == "gem"
    assert METHODS["gem"].base == ""
    for place, name in enumerate(names[1:], 1):
        for other in (METHODS[name].base, *METHODS[name].needs):
            assert names.index(other) < place, name
    assert with_bases(["+undistortion"]) == [
        "gem",
        "netvlad",
        "resnetvlad",
        "plain_crops",
        "+undistortion",
    ]
    assert wanted_sets(["gem", "+inpainting", "+undistortion"]) == {"maps", "undistorted"}
    with pytest.raises(ValueError, match="there are gem, netvlad"):
        with_bases(["bow"])


@pytest.mark.parametrize("name", METHODS)
def test_the_flags_of_a_row_are_flags_of_the_commands(name):
    """Else a row would say `not run` for ever."""
    import argparse

    from retrieval.test import parse
    from retrieval.training.recipe import recipe_of
    from retrieval.training.recipes import add_recipe_flags

    method = METHODS[name]
    for small in (TOY_FLAGS, FAST_FLAGS):
        words = f"{method.train} {small} {method.toy}".split()
        parser = argparse.ArgumentParser(allow_abbrev=False)
        add_recipe_flags(parser, words)
        recipe = recipe_of(parser, vars(parser.parse_args(words)))
        assert isinstance(recipe, PlaceRecipe)
    words = f"{method.test} {method.toy_test}".replace("{", "").replace("}", "").split()
    parse([*words, "--data", "city"])


def test_unit_is_trained_and_then_translates(city, commands, tmp_path):
    """Two steps of one module, each done once; then the copy is trained on too."""
    from models.unit import parse

    runs = Runs(tmp_path, Sets(city), FAST_FLAGS, "", "fast", "cpu")
    (tmp_path / "methods" / "resnetvlad" / "model").mkdir(parents=True)
    (tmp_path / "methods" / "resnetvlad" / "model" / "config.json").write_text("{}")
    for _ in range(2):
        runs.run("+night_copy")
    words = [words[:2] for words in commands]
    assert words[:3] == [
        ["models.unit", "train"],
        ["models.unit", "translate"],
        ["retrieval.train", "--data"],
    ]
    assert len(words) == 3 + 2  # and two tests
    for command in commands[:2]:
        parse(command[1:])
    folder = tmp_path / "methods" / "night_copy"
    assert commands[2][commands[2].index("--extra_data") + 1] == str(folder / "night")
    assert (folder / "models.unit.train.done").is_file()


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return make_toy_sets(tmp_path_factory.mktemp("sets"), is_fast=True, wanted=set()).city


@pytest.fixture
def commands(monkeypatch):
    """In place of the commands: a record of them, and results with one right answer in `hits`."""
    ran = []

    def run(words, log, environment, processes):
        options = dict(zip(words[1::2], words[2::2], strict=False))
        ran.append(words)
        log.write_text(f"$ {' '.join(words)}\nsomething\nerror: the reason\n")
        if "--fail" in words:
            return 2
        if words[0] == "retrieval.train":
            out = log.parent / "model"
            out.mkdir()
            epochs = [1] if "dynetvlad" in words else []
            origin = {"origin": {"reclustered after epochs": epochs, "best epoch": 2}}
            (out / "config.json").write_text(json.dumps(origin))
        if words[0] == "retrieval.test":
            place, split = log.parent / words[words.index("--split") + 1], options.get("--split")
            _write_result(place, words[words.index("--data") + 1], place.name, log.parent.name)
            assert split in (None, place.name)
        return 0

    monkeypatch.setattr(compare_runs, "run_module", run)
    return ran


@pytest.fixture
def no_plot(monkeypatch):
    monkeypatch.setattr("retrieval.comparing.report.draw", lambda *arguments: None)


def _write_result(place, data, split, method):
    """Rows of methods whose name is longer answer more queries rightly."""
    places = read_places(data, split)
    rights = [places.positives.of(query) for query in range(len(places.queries))]
    hits = min(len(method) - 3, len(rights))
    wrong = [np.setdiff1d(np.arange(len(places.database)), right)[0] for right in rights]
    rows = np.array([[right[0] if i < hits else wrong[i]] for i, right in enumerate(rights)])
    rows = np.pad(rows, ((0, 0), (0, 19)), constant_values=-1)
    write_report(place, measure(rows, rights, (1, 5, 10, 20), places.queries), {})
    with (place / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "rank", "photo", "is_right"])
        for i, path in enumerate(places.queries.paths):
            writer.writerow([path.name, 1, "photo", int(i < hits)])


def test_all_sets_are_made_of_one_town_and_not_made_again(tmp_path):
    wanted = {"maps"}  # panoramas: tests/data/toy/test_panorama.py
    sets = make_toy_sets(tmp_path, is_fast=True, wanted=wanted)
    photos = {path.stem for path in (sets.city / "images").rglob("*.jpg")}
    assert {path.stem for path in sets.maps.rglob("*.png")} == photos
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert make_toy_sets(tmp_path, is_fast=True, wanted=wanted) == sets
    again = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert again == written


def test_all_rows_are_run_once_reported_and_kept(city, commands, tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--data", str(city), "--methods"]
    names = ["gem", "dynetvlad", "+multi_scale", "+undistortion"]
    assert main([*arguments, *names]) == 1  # without panoramas one cannot be run
    trained = [words[words.index("--out") + 1] for words in commands if "train" in words[0]]
    wanted = ["gem", "netvlad", "resnetvlad", "dynetvlad"]
    assert sorted(trained) == sorted(f"{tmp_path}/methods/{name}/model" for name in wanted)
    tests = [words for words in commands if words[0] == "retrieval.test"]
    assert len(tests) == 2 * 5
    scaled = next(words for words in tests if "--scales" in words)
    assert scaled[scaled.index("--model") + 1] == f"{tmp_path}/methods/resnetvlad/model"
    text = capsys.readouterr().out
    assert text == (tmp_path / "comparison.md").read_text()
    assert "| +undistortion | not run |" in text
    assert "+undistortion: NOT RUN: this needs the same places undistorted" in text
    assert "give --undistorted DIR" in text
    assert "clustered anew after epoch 1" in text
    rows = {r["method"]: r for r in csv.DictReader((tmp_path / "comparison.csv").open())}
    assert float(rows["gem"]["test R@1 percent"]) == 0
    assert float(rows["netvlad"]["test R@1 gain points"]) == pytest.approx(50)  # 4 of 8
    # 8 of 8 after 7, and all depths have only the first answer.
    assert float(rows["+multi_scale"]["val R_avg gain points"]) == pytest.approx(12.5)
    assert rows["+undistortion"]["not run"]
    assert Image.open(tmp_path / "comparison.png").size[0] > 800
    ran = len(commands)
    assert main([*arguments, *names]) == 1
    assert len(commands) == ran  # nothing twice
    assert main([*arguments, "gem", "--backbone", "recipe"]) == 2
    assert "holds a study with other settings" in capsys.readouterr().err


def test_a_failing_command_is_a_row_that_says_so_and_is_tried_again(
    city, commands, no_plot, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(METHODS, "netvlad", replace(METHODS["netvlad"], train="--fail"))
    monkeypatch.setitem(
        METHODS, "+warp", replace(METHODS["+geowarp"], prepare=(Step("setup.none"),))
    )
    arguments = ["--out", str(tmp_path), "--data", str(city), "--methods", "resnetvlad", "+warp"]
    for number in (1, 2):
        assert main(arguments) == 1
        text = capsys.readouterr().out
        assert "netvlad: NOT RUN: `python -m retrieval.train` failed, see " in text
        assert "log: error: the reason." in text
        assert "+warp: NOT RUN: there is no `python -m setup.none`." in text
        assert "resnetvlad: netvlad has no figures to hold it against." in text
        assert sum("--fail" in words for words in commands) == number


def test_minutes_stop_before_the_next_method(city, commands, no_plot, tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--data", str(city), "--methods", "gem"]
    assert main([*arguments, "--minutes", "0"]) == 1
    assert not commands
    assert "gem: NOT RUN: --minutes 0 were over" in capsys.readouterr().out
    assert main(arguments) == 0


def test_a_stopped_training_goes_on(city, commands, tmp_path):
    runs = Runs(tmp_path, Sets(city), "", "", "toy", "cpu")
    stopped = runs.folder("gem") / "model" / "checkpoints" / "step000000002.ckpt"
    stopped.parent.mkdir(parents=True)
    stopped.write_bytes(b"")
    with pytest.raises(FileExistsError):  # of the stand-in, which makes the model's folder
        runs.run("gem")
    assert "--resume" in commands[0]
    with pytest.raises(NotRunError, match="the model it stands on, of resnetvlad, is missing"):
        runs.run("+multi_scale")


def test_minutes_add_up(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), clocked(tmp_path / "row", "train"):
            raise KeyboardInterrupt
    with clocked(tmp_path / "row", "test"):
        pass
    held = minutes_of(tmp_path / "row")
    assert held.keys() == {"train", "test"}
    assert all(0 <= minutes < 1 for minutes in held.values())
    assert minutes_of(tmp_path / "none") == {}


def test_gains_are_paired_and_their_interval_is_the_bootstraps():
    random = np.random.default_rng(0)
    base = {f"q{i}": int(rank) for i, rank in enumerate(random.integers(-1, 25, 200))}
    own = {query: rank if i % 3 else 0 for i, (query, rank) in enumerate(base.items())}
    found = gains_of(base, own)
    first = np.array([(own[q] == 0) - (base[q] == 0) for q in base], float)
    average = np.zeros(200)
    for i, query in enumerate(base):
        for k in (1, 5, 10, 20):
            average[i] += ((0 <= own[query] < k) - (0 <= base[query] < k)) / 4
    for gain, change in ((found["R@1"], first), (found["R_avg"], average)):
        assert gain.points == pytest.approx(100 * change.mean())
        draws = [change[random.integers(200, size=200)].mean() for _ in range(2000)]
        low, high = 100 * np.quantile(draws, [0.025, 0.975])
        assert gain.low == pytest.approx(low, abs=1.0)
        assert gain.high == pytest.approx(high, abs=1.0)
    assert gains_of(base, dict(reversed(own.items()))) == found  # by name, not by place
    with pytest.raises(ValueError, match="2 queries were put to one row only"):
        gains_of(base, {**{q: 0 for q in list(base)[1:]}, "other": 0})


def row(name, gain, **more):
    gains = {"test": {"R@1": gain, "R_avg": gain}, "val": {"R@1": gain, "R_avg": gain}}
    return Row(name, gains=gains, queries={"test": 280, "val": 280}, **more)


def test_words_say_what_the_interval_says():
    helps, hurts, neither = Gain(4, 1, 7), Gain(-4, -7, -1), Gain(2, -1, 5)
    rows = [row("+night", helps), row("+ensemble", hurts), row("+geowarp", neither)]
    said = sentences([*rows, Row("+inpainting", why_not="no maps")])
    assert said[0] == "+inpainting: NOT RUN: no maps."
    assert "280 queries of test: R@1 +4.0 [+1.0, +7.0] points: it helps; R_avg" in said[1]
    assert "R@1 -4.0 [-7.0, -1.0] points: it hurts" in said[2]
    assert "R@1 +2.0 [-1.0, +5.0] points: it shows no difference; R_avg" in said[3]
    assert "of 6, about 0.3 lie beyond 0 by chance alone" in said[4]
    other = [row("+night", helps), row("netvlad", helps), row("another_seed", Gain(-5, -9, -1))]
    for said_of in sentences(other)[:2]:  # it tells nothing of netvlad's own training
        assert "; another seed of resnetvlad's training moves R@1 as far" in said_of


@pytest.mark.parametrize(
    ("name", "reset", "chosen", "words"),
    [
        ("dynetvlad", [], 3, "never clustered anew"),
        ("dynetvlad", [2], 2, "its weights are of epoch 2, before it was clustered anew"),
        ("dynetvlad", [2, 5], 4, "clustered anew after epoch 2, 5"),
        ("gem", [], 0, "no epoch validated better than the untrained model"),
    ],
)
def test_a_note_says_whether_the_method_came_to_bear(tmp_path, name, reset, chosen, words):
    runs = Runs(tmp_path, Sets(tmp_path), "", "", "toy", "cpu")
    runs.model(name).mkdir(parents=True)
    origin = {"origin": {"reclustered after epochs": reset, "best epoch": chosen}}
    (runs.model(name) / "config.json").write_text(json.dumps(origin))
    assert words in _note(runs, name)


def test_the_report_says_by_which_command_it_was_made():
    study = Study("my town", plain="cut", is_fast=True)
    command = study.command(["gem", "+night"])
    assert f"Made by `{command}`." in study.about(["gem", "+night"])
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "retrieval.compare"]
    parsed = vars(build_parser().parse_args(words[3:]))
    assert (parsed["data"], parsed["plain"], parsed["fast"]) == ("my town", "cut", True)
    assert (parsed["methods"], parsed["backbone"]) == (["gem", "+night"], Study.backbone)


def test_a_folder_holds_one_study(tmp_path):
    open_folder(tmp_path, Study())
    open_folder(tmp_path, Study())
    with pytest.raises(ValueError, match="other settings"):
        open_folder(tmp_path, Study(train_flags="--seed 1"))


def test_the_help_shows_how_flags_of_the_training_are_given(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    parser = build_parser()
    example = "--train_flags=--freeze_backbone"
    assert example in parser.format_help()
    assert parser.parse_args(["--out", "a", example]).train_flags == "--freeze_backbone"


def test_bad_input_is_refused_before_the_work(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "a"), "--data", str(tmp_path)]) == 2
    assert "no folder" in capsys.readouterr().err
    for flags in (["--methods", "bow"], ["--plain", "a"], ["--fast", "--data", "a"]):
        with pytest.raises(SystemExit):
            main(["--out", str(tmp_path), *flags])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_fast_comparison_runs(tmp_path):
    """The commands themselves, on a tiny synthetic town. Run by `make slow`; minutes."""
    names = ["gem", "+undistortion"]
    assert main(["--fast", "--out", str(tmp_path), "--device", "cpu", "--methods", *names]) == 0
    rows = {r["method"]: r for r in csv.DictReader((tmp_path / "comparison.csv").open())}
    assert rows.keys() == {"gem", "netvlad", "resnetvlad", "plain_crops", "+undistortion"}
    assert all(float(r["minutes"]) > 0 for r in rows.values())
    assert rows["gem"]["test day R@1 percent"]
