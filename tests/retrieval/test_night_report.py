"""The day-and-night report on a made-up town, and how day is told from night."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from data.night_photos import NightMaker
from data.place_sets.augmentation import Augmentation
from data.place_sets.names import PlaceName
from data.places import read_places
from data.toy.city import make_toy_city
from models.places.embedder import Embedder, EmbedderSettings
from models.places.place_model import load_place_model, save_place_model
from retrieval.descriptor_cache import Engine
from retrieval.nearest import Nearest
from retrieval.night import ranks as night_ranks
from retrieval.night.conditions import COPIED, conditions_of, luminance
from retrieval.night.models import known_as, load_models, named_models
from retrieval.night.queries import Asked, with_night_copies
from retrieval.night_report import main
from retrieval.testing.evaluation import Job, evaluate
from retrieval.testing.place_search import SearchSettings
from retrieval.train import build_rounds
from retrieval.train import main as train
from retrieval.training.recipe import PlaceRecipe

SIZE = (32, 48)


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    directory = tmp_path_factory.mktemp("town") / "toy"
    make_toy_city(directory, (1, 1), step_m=35.0, queries=12, size=SIZE, night_share=0.5)
    return directory


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for name, aggregation in (("gem", "gem"), ("spoc", "spoc")):
        embedder = Embedder(EmbedderSettings(aggregation=aggregation, img_size=32))
        save_place_model(root / name, embedder, SIZE, {})
    return [f"before={root / 'gem'}", f"after={root / 'spoc'}"]


def run(town, models, out, *more):
    flags = ["--output", str(out), "--device", "cpu", "--workers", "1"]
    return main(["--data", str(town), "--models", *models, *flags, *more])


def test_the_report_agrees_with_the_test_and_is_made_once(
    town, models, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    kept = out / "before" / "descriptors" / "database.npy"  # as retrieval.test leaves it
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")
    assert run(town, models, out) == 0
    assert kept.read_bytes() == b"kept"
    assert not list(out.rglob("*.npy"))[1:]
    printed = capsys.readouterr().out
    assert "the town is made up: SYNTHETIC photos" in printed
    assert "told apart by the note in their names" in printed
    report = json.loads((out / "night.json").read_text())
    for model in models:
        name, _, folder = model.partition("=")
        job = Job(town, tmp_path / name)
        evaluate(load_place_model(folder), job, SearchSettings(), Engine())
        assert (out / name / "predictions.csv").is_file()
    for row in report["rows"]:
        tested = json.loads((tmp_path / row["model"] / "recalls.json").read_text())
        of_test = tested["by_condition"] | {"all": tested["recalls"]}
        for k in ("R@1", "R@20"):
            assert row["recalls"][k] == of_test[row["queries"]][k]
    assert (out / "night.png").is_file()

    def again(*arguments):
        raise AssertionError("tested again")

    monkeypatch.setattr(night_ranks, "search_places", again)
    first = (out / "night.md").read_text()
    assert run(town, models, out) == 0
    assert "kept from" in capsys.readouterr().err
    assert (out / "night.md").read_text() == first
    with pytest.raises(AssertionError, match="tested again"):  # another radius is another test
        run(town, models, out, "--radius_m", "60")


def test_queries_by_day_are_asked_again_by_synthetic_night(town, models, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(town, models, out, "--night_copy", "physical") == 0
    printed = capsys.readouterr().out
    assert "SYNTHETIC night is no photograph but day photos darkened" in printed
    copies = sorted((out / "night_copies").rglob("*.jpg"))
    paths = read_places(town, "test", drop_without_positive=True).queries.paths
    by_day = [path for path in paths if "@day@" in path.name]
    assert [copy.name for copy in copies] == [f"night_{path.name}" for path in by_day]
    for copy, photo in zip(copies, by_day, strict=True):
        assert luminance(np.array(Image.open(copy))) < luminance(np.array(Image.open(photo))) / 2
    report = json.loads((out / "night.json").read_text())
    counts = {row["queries"]: row["recalls"]["R@1"]["n"] for row in report["rows"]}
    nights = len(paths) - len(by_day)
    assert counts == {"day": len(by_day), "night": nights, COPIED: len(by_day), "all": len(paths)}
    for name in ("before", "after"):
        at = {row["queries"]: row["recalls"]["R@5"]["hits"] for row in report["rows"]
              if row["model"] == name}  # fmt: skip
        cost = report["night_minus_day"][name]["R@5"]
        assert cost["only_b"] - cost["only_a"] == at[COPIED] - at["day"]
        rows = (out / name / "predictions.csv").read_text()
        assert f"night_{by_day[0].name}" in rows
    assert run(town, models, out, "--night_copy", "smart") == 2
    assert "was begun otherwise" in capsys.readouterr().err


def test_photos_of_named_places_ask_each_other_but_never_find_themselves(models, tmp_path, capsys):
    random, folder = np.random.default_rng(0), tmp_path / "img"
    folder.mkdir()
    rows = ["img_id,place"]
    for place in ("a", "b", "c"):
        blocks = random.integers(120, 256, (4, 4, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
        for number in range(2):
            Image.fromarray(np.roll(blocks, 2 * number, axis=1)).save(
                folder / f"{place}{number}.png"
            )
            rows.append(f"{place}{number},{place}")
    rows.append("alone,d")
    Image.fromarray(blocks).save(folder / "alone.png")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    flags = ["--labels", str(tmp_path / "labels.csv"), "--images", str(folder), "--but", "alone"]
    flags += ["--output", str(tmp_path / "out"), "--night_copy", "physical", "--device", "cpu"]
    assert main([*flags, "--models", models[0]]) == 0
    printed = capsys.readouterr().out
    assert "| by night minus by day | n |" in printed
    report = json.loads((tmp_path / "out" / "night.json").read_text())
    assert [(row["queries"], row["recalls"]["R@1"]["n"]) for row in report["rows"]] == [
        ("day", 6), (COPIED, 6),
    ]  # fmt: skip
    found = csv.DictReader((tmp_path / "out" / "before" / "predictions.csv").open())
    assert all(row["query"].removeprefix("night_") != row["photo"] for row in found)


def test_a_model_may_be_untrained():
    model = load_models({"frozen": "efficientnet_lite0:spoc"})["frozen"]
    assert known_as(model) == "untrained efficientnet_lite0 spoc"
    assert model.embedder.settings.aggregation == "spoc"


def test_a_querys_own_photo_is_no_answer_wherever_it_stands():
    rows = np.array([[5, 3, 1], [3, 5, 1], [2, 1, -1]])
    found = night_ranks.without_own(Nearest(rows, rows.astype(np.float32)), np.array([5, 9, -1]), 2)
    assert found.rows.tolist() == [[3, 1], [3, 5], [2, 1]]
    alone = Nearest(np.array([[4, -1]]), np.zeros((1, 2), np.float32))
    assert night_ranks.without_own(alone, np.array([4]), 2).rows.tolist() == [[-1, -1]]


def test_refusals_say_what_to_do(town, models, tmp_path, capsys):
    def error(*arguments, of=models):
        assert run(town, of, tmp_path / "out", *arguments) == 2
        return capsys.readouterr().err

    assert "holds no config.json" in error(of=[f"a={tmp_path}"])
    assert "not of the form NAME=DIR" in error(of=["runs/a"])
    assert "--night_below in 0..1" in error("--night_below", "2")
    assert "no query has a photo" in error("--radius_m", "0.001")
    assert "clusters of a training set" in error(of=["a=efficientnet_lite0:netvlad"])
    with pytest.raises(SystemExit):
        error("--labels", "a.csv")
    assert "give --data, or --labels and --images" in capsys.readouterr().err
    all_night = ["--by", "luminance", "--night_below", "0.99", "--night_copy", "smart"]
    assert "no query by day to turn night" in error(*all_night)
    for wrong in (["../a=b"], ["=b"], ["a="], ["a=b", "a=c"]):
        with pytest.raises(ValueError, match="--models"):
            named_models(wrong)


def test_luminance_is_that_of_a_loop():
    rgb = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)

    def straight(value):
        value = value / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    pixels = rgb.reshape(-1, 3).tolist()
    expected = sum(
        w * straight(v) for p in pixels for w, v in zip((0.299, 0.587, 0.114), p, strict=True)
    ) / len(pixels)
    assert luminance(rgb) == pytest.approx(expected, rel=1e-5)
    assert luminance(np.full((2, 2, 3), 255, np.uint8)) == pytest.approx(1)


def test_brightness_agrees_with_the_notes_of_the_made_up_town(town):
    queries = read_places(town, "test").queries.paths
    noted = conditions_of(queries, town)
    measured = conditions_of(queries, town, "luminance")
    assert (noted.names == "night").sum() == 6
    assert (noted.names == measured.names).mean() > 0.9
    assert "a guess" in measured.how
    darkest = conditions_of(queries, town, "luminance", 1e-6)
    assert set(darkest.names) == {"day"}


def write(folder, notes, value=200):
    folder.mkdir(parents=True)
    paths = []
    for number, note in enumerate(notes):
        paths.append(folder / str(PlaceName(number, 0, note=note)))
        Image.new("RGB", (8, 8), (value,) * 3).save(paths[-1])
    return paths


def test_without_notes_brightness_is_asked_and_lost_photos_are_told(tmp_path):
    paths = [*write(tmp_path / "a", ["day", ""]), *write(tmp_path / "b", ["old"], 20)]
    broken = tmp_path / "a" / str(PlaceName(9, 9))
    broken.write_bytes(b"no photo")
    found = conditions_of([*paths, broken], tmp_path)
    assert found.names.tolist() == ["day", "day", "night", ""]
    assert "0.08" in found.how
    assert not found.synthetic
    with pytest.raises(ValueError, match=r"3 of 4 queries have neither .* use --by luminance"):
        conditions_of([*paths, broken], tmp_path, "note")


def test_a_translated_copy_is_night_whatever_its_names_say(tmp_path):
    paths = write(tmp_path / "queries", ["day", "day"])
    (tmp_path / "provenance.json").write_text(json.dumps({"light": "night", "synthetic": True}))
    found = conditions_of(paths, tmp_path)
    assert found.names.tolist() == ["night", "night"]
    assert "SYNTHETIC night" in found.synthetic
    (tmp_path / "provenance.json").write_text("[1")
    assert conditions_of(paths, tmp_path).names.tolist() == ["day", "day"]


NIGHT_COPY = {"done": {"made_by": "setup.make_night", "light": "night", "queries_only": True}}
MARK = "SYNTHETIC night: a day photo darkened, x"


@pytest.mark.parametrize("way", ["auto", "note", "luminance"])
@pytest.mark.parametrize("is_copied_again", [False, True])
def test_a_night_copy_keeps_real_nights_apart_from_its_own(tmp_path, way, is_copied_again):
    paths = write(tmp_path / "queries", ["night_synthetic_wet", "night", "night"], value=20)
    record = NIGHT_COPY | {"mark": MARK}
    if is_copied_again:
        record = {"done": {"made_by": "setup.clean_places"}, "source_provenance": record}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    found = conditions_of(paths, tmp_path, way)
    assert found.names.tolist() == [COPIED, "night", "night"]
    assert found.synthetic == f"1 of 3 queries are by {MARK}"


def test_a_night_copy_is_told_without_provenance_and_without_a_note(tmp_path):
    found = conditions_of(write(tmp_path / "a", ["night_synthetic", "day"]), tmp_path)
    assert found.names.tolist() == [COPIED, "day"]
    assert found.synthetic == "1 of 2 queries are by SYNTHETIC night, says the note in their names"
    (tmp_path / "provenance.json").write_text(json.dumps(NIGHT_COPY))
    photos = [tmp_path / "queries" / "tower.jpg", tmp_path / "else" / "tower.jpg"]
    assert conditions_of(photos, tmp_path).names.tolist() == [COPIED, "day"]


def test_the_copy_of_a_withdrawn_query_goes_and_nothing_else(tmp_path):
    queries, out = write(tmp_path / "queries", ["day", "day"]), tmp_path / "copies"
    nothing = [np.zeros(0, np.int64)] * 2
    asked = Asked([], queries, nothing, np.full(2, -1), 0, names=np.full(2, "day"))
    with_night_copies(asked, out, NightMaker("smart"))
    strangers = out / "night_of_another.jpg"
    strangers.write_bytes(b"not ours")
    first = asked._replace(queries=queries[:1], positives=nothing[:1], own=asked.own[:1],
                           names=asked.names[:1])  # fmt: skip
    with_night_copies(first, out, NightMaker("smart"))
    assert sorted(path.name for path in out.glob("*.jpg")) == sorted(
        [f"night_{queries[0].name}", strangers.name]
    )


def test_the_flags_reach_the_photos_of_queries(town):
    recipe = PlaceRecipe(
        aggregation="gem", night_augmentation="physical", night_p=0.4, perspective=0.5,
        perspective_p=0.7, perspective_edges="fill", erasing=0.7, train_batch=2, negatives=2,
    )  # fmt: skip
    embedder = Embedder(EmbedderSettings(aggregation="gem"), pretrained=False)
    rounds = build_rounds(recipe, read_places(town, "train"), embedder, Engine())
    expected = Augmentation(
        perspective=0.5, perspective_p=0.7, perspective_edges="fill", erasing=0.7,
        night="physical", night_p=0.4,
    )  # fmt: skip
    assert rounds.augmentation == expected


def test_another_set_that_is_not_there_is_refused_before_training(town, tmp_path, capsys):
    flags = ["--aggregation", "gem", "--device", "cpu", "--extra_data", str(tmp_path / "no")]
    assert train(["--data", str(town), "--out", str(tmp_path / "run"), *flags]) == 2
    assert "no folder" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_training_takes_night_and_another_sets_photos(town, tmp_path, capsys):
    """Runs say whose queries they have, and learn something else. Run by `make slow`."""
    text = (
        "--aggregation gem --img_size 32 48 --queries_per_epoch 4 --cache_refresh_rate 4 "
        "--negatives 2 --negatives_pool 10 --train_batch 2 --lr 1e-3 --epochs 1 --device cpu"
    )
    make_toy_city(tmp_path / "extra", (1, 1), step_m=35.0, queries=5, size=SIZE, night_share=1.0)
    weights = []
    for name, more in (
        ("plain", []),
        ("night", ["--night_augmentation", "physical", "--night_p", "1"]),
        ("extra", ["--extra_data", str(tmp_path / "extra")]),
    ):
        out = tmp_path / name
        assert train(["--data", str(town), "--out", str(out), *text.split(), *more]) == 0
        said = capsys.readouterr().err
        assert f"train: {17 if name == 'extra' else 12} queries, " in said
        last = max((out / "checkpoints").glob("step*"))
        weights.append(torch.load(last, weights_only=True)["state_dict"])
    for other in weights[1:]:
        assert any(not torch.equal(weights[0][name], other[name]) for name in other)
