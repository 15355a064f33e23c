"""The ablation study: its statistics against plain loops, its words, and what a second run does."""

import json

import numpy as np
import pandas as pd
import pytest

import setup.ablation_study as study_file
from setup.ablation_study import ABLATIONS, SAME, WHOLE, Study, is_tested, open_folder, train_all
from setup.ablation_table import (
    SHOWN_KM,
    Answered,
    answers_of,
    block_interval,
    compare_answers,
    markdown_table,
    rows_of,
    verdicts,
)


def answered(within, tiles=400, blocks=40, seed=0):
    """Answers of which a share `within` is 100 km off, the others 5000 km."""
    rng = np.random.default_rng(seed)
    errors_km = np.where(rng.random(tiles) < within, 100.0, 5000.0)
    return Answered(errors_km, np.arange(tiles) * blocks // tiles)


def facts():
    return {"minutes": 1.0}


def test_the_blocks_interval_against_a_loop():
    rng = np.random.default_rng(0)
    blocks = np.repeat(np.arange(30), rng.integers(1, 9, 30))
    gain = rng.normal(0.1, 1, len(blocks)) + rng.normal(0, 1, 30)[blocks]
    means = []
    for _ in range(4000):
        drawn = rng.integers(0, 30, 30)
        means.append(np.concatenate([gain[blocks == block] for block in drawn]).mean())
    np.testing.assert_allclose(block_interval(gain, blocks), np.quantile(means, [0.025, 0.975]),
                               atol=0.05)  # fmt: skip


def test_tiles_that_go_together_widen_the_interval():
    gain = np.repeat(np.random.default_rng(0).normal(0, 1, 40), 10)
    together = block_interval(gain, np.repeat(np.arange(40), 10))
    apart = block_interval(gain, np.arange(400))
    assert together[1] - together[0] > 2.5 * (apart[1] - apart[0])


def test_blocks_are_four_degrees_from_the_north_west():
    frame = pd.DataFrame({
        "img_id": ["d", "c", "b", "a", "a"], "p_key": ["hierarchy"] * 4 + ["fine"],
        "true_lat": [79.9, 86.1, 85.9, 89.5, 0], "true_lng": [-180, -179.5, -176.1, -175.9, 0],
        "error_km": [4.0, 3.0, 2.0, 1.0, 9.0],
    })  # fmt: skip
    found = answers_of(frame, 4.0)
    assert found.errors_km.tolist() == [1, 2, 3, 4]
    a, b, c, d = found.blocks.tolist()
    assert len({a, b, c, d}) == 4
    near = frame.assign(true_lat=[87.0, 87.5, 88, 89, 0], true_lng=[-179.0, -178, -177, -179.9, 0])
    assert set(answers_of(near, 4.0).blocks.tolist()) == {0}


@pytest.mark.parametrize(
    ("ablation", "whole", "verdict"),
    [(0.3, 0.6, "beats"), (0.6, 0.3, "loses to"), (0.5, 0.51, "does not beat")],
)
def test_verdicts(ablation, whole, verdict):
    found = compare_answers(answered(ablation, seed=1), answered(whole, seed=2))
    assert [each.km for each in found] == list(SHOWN_KM)
    assert {each.verdict for each in found} == {verdict}
    hits = found[0].paired
    assert found[0].points == pytest.approx(100 * (hits.hits_b - hits.hits_a) / 400)
    assert found[0].low <= found[0].points / 100 <= found[0].high


def test_other_tiles_are_refused():
    with pytest.raises(ValueError, match="different tiles"):
        compare_answers(answered(0.5, blocks=20), answered(0.5))


def test_table_and_words():
    answers = {WHOLE: answered(0.6), "RGB only": answered(0.3, seed=3), SAME: answered(0.2, seed=4)}
    rows = rows_of(answers, dict.fromkeys(answers, facts()), WHOLE)
    lines = markdown_table(rows, WHOLE).splitlines()
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    share = 100 * float((answers["RGB only"].errors_km <= 750).mean())
    assert rows[1]["within_750_km_percent"] == share
    assert f"| {share:.1f} |" in lines[3]
    rgb, seed = verdicts(rows, WHOLE, SAME)
    assert rgb.startswith("RGB only: the whole model beats it within 200 km")
    assert "no more than another seed does" in rgb  # which moved the shares even more
    assert "Another seed" in seed
    assert len(verdicts(rows[:2], WHOLE, SAME)) == 1


def test_every_ablation_trains_on_the_same_but_for_its_own_flags():
    from models.training.recipe_flags import parse_recipe

    study = Study(crops=1000, epochs=2)
    recipes = {
        name: parse_recipe("", [*study.flags(name), "--data", "d", "--out", "o"])
        for name in ABLATIONS
    }
    whole = recipes.pop(WHOLE).binding
    changed = {
        name: {key for key, value in recipe.binding.items() if value != whole[key]}
        for name, recipe in recipes.items()
    }
    assert changed == {
        "RGB only": {"inputs"}, "map only": {"inputs"}, "late fusion": {"fusion"},
        "single level": {"single_level"}, "no smoothing": {"smoothing_km"}, SAME: {"seed"},
    }  # fmt: skip
    assert {recipe.epochs for recipe in recipes.values()} == {2}


def test_a_folder_holds_one_study(tmp_path):
    open_folder(tmp_path, Study(crops=1000))
    open_folder(tmp_path, Study(crops=1000))
    with pytest.raises(ValueError, match="other settings: take another --output"):
        open_folder(tmp_path, Study(crops=2000))


@pytest.fixture
def trained(monkeypatch):
    """Which models were asked for; training and test leave what a real one leaves."""
    asked = []

    def train_and_test(study, output, ablation, device, threads):
        if ablation == "map only":
            raise ValueError("`python train_vit.py` failed, see LOG: out of luck")
        asked.append(ablation)
        folder = study_file.folder_of(output, ablation)
        (folder / "test").mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "test/posteriors.npz").write_bytes(b"")

    monkeypatch.setattr(study_file, "train_and_test", train_and_test)
    return asked


def test_finished_models_are_not_trained_again(trained, tmp_path):
    chosen = [WHOLE, "RGB only", "late fusion"]
    assert train_all(Study(), tmp_path, chosen[:2], 1e9, 1, "cpu") == []
    assert train_all(Study(), tmp_path, chosen, 1e9, 1, "cpu") == []
    assert trained == chosen
    (study_file.folder_of(tmp_path, WHOLE) / "test/posteriors.npz").unlink()
    assert not is_tested(tmp_path, WHOLE)


def test_time_that_is_up_leaves_the_rest_for_later(trained, tmp_path):
    assert train_all(Study(), tmp_path, [WHOLE, "RGB only"], 0, 1, "cpu") == [WHOLE, "RGB only"]
    assert trained == []


def test_a_failure_is_told_and_ends_the_study(trained, tmp_path):
    with pytest.raises(ValueError, match="out of luck"):
        train_all(Study(), tmp_path, ["map only", WHOLE], 1e9, 1, "cpu")
    assert trained == []


def test_a_stopped_training_is_resumed(tmp_path, monkeypatch):
    said = []

    def run(words, log, threads):
        said.append(words)
        (tmp_path / "models/rgb-only/checkpoints").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(study_file, "run", run)
    study_file.train_and_test(Study(), tmp_path, "RGB only", "cpu", 1)
    (tmp_path / "models/rgb-only/checkpoints/step000000010.ckpt").write_bytes(b"")
    study_file.train_and_test(Study(), tmp_path, "RGB only", "cpu", 1)
    assert [words[0] for words in said] == ["train_vit.py", "test_vit.py"] * 2
    assert ["--resume" in words for words in said] == [False, False, True, False]
    assert json.loads((tmp_path / "models/rgb-only/minutes.json").read_text())["resumed"]


def test_a_command_that_fails_shows_its_last_line(tmp_path):
    with pytest.raises(ValueError, match=r"see .*x\.log: .*no_such_module"):
        study_file.run(["-m", "no_such_module"], tmp_path / "x.log", 1)
