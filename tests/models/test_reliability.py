"""The reliability command and its figures, from posteriors of a known law."""

import json

import numpy as np
import pytest

from data.synthetic import write_synthetic_shards
from models.decode import nested_posterior
from models.evaluation.calibration import Calibration, Validation, fit_calibration, region
from models.evaluation.evaluate import evaluate, write_posteriors
from models.evaluation.judgement import judge, untempered_confidence
from models.evaluation.posterior_file import Posteriors
from models.predict import open_photos, predict_batches
from models.reliability import main, summary

CELLS, LINEAGE = 30, np.arange(30)[:, None]
NAMES = ("abstention.png", "coverage.png", "reliability.json", "reliability.png")


def drawn(photos, seed):
    """Logits three times too large for the law that the true cells follow; errors by rank."""
    rng = np.random.default_rng(seed)
    logits = {"fine": 3 * rng.normal(0, 2, (photos, CELLS))}
    law = nested_posterior(logits, LINEAGE, 3.0)
    true = np.array([rng.choice(CELLS, p=p) for p in law])
    right = law.argmax(axis=1) == true
    return logits, true, np.where(right, 10.0, 1000.0)


@pytest.fixture(scope="module")
def calibration():
    logits, true, errors_km = drawn(4000, 0)
    return fit_calibration([Validation(logits, LINEAGE, true, errors_km)])


@pytest.fixture(scope="module")
def posteriors(calibration):
    logits, true, errors_km = drawn(1200, 1)
    true[:20] = -1
    return Posteriors(nested_posterior(logits, LINEAGE, calibration.temperature), true, errors_km)


@pytest.fixture
def saved(tmp_path, posteriors):
    path = tmp_path / "test" / "posteriors.npz"
    path.parent.mkdir()
    np.savez_compressed(
        path,
        posterior=posteriors.posterior.astype(np.float32),
        true_class=posteriors.true_cells,
        error_km=posteriors.errors_km,
    )
    return path


def test_calibration_shows_in_the_bins(posteriors, calibration):
    found = judge(posteriors, calibration)

    def error(bins):
        photos = sum(each.right.n for each in bins)
        return sum(each.right.n * abs(each.right.share - each.stated) for each in bins) / photos

    assert error(found.bins["adaptive"]) < 0.05
    assert error(found.before) > 0.2
    assert not judge(posteriors).before
    confidence = posteriors.posterior.max(axis=1)
    right = posteriors.posterior.argmax(axis=1) == posteriors.true_cells
    assert sum(each.right.hits for each in found.bins["equal width"]) == right.sum()
    stated = sum(each.right.n * each.stated for each in found.bins["equal width"])
    assert stated == pytest.approx(confidence.sum())


def test_before_the_temperature_is_what_the_logits_said(calibration):
    logits, _, _ = drawn(100, 2)
    posterior = nested_posterior(logits, LINEAGE, calibration.temperature)
    sharp = nested_posterior(logits, LINEAGE, 1.0).max(axis=1)
    found = untempered_confidence(posterior.astype(np.float32), calibration.temperature)
    np.testing.assert_allclose(found, sharp, rtol=1e-4)


def test_regions_are_counted_one_by_one(posteriors, calibration):
    found = judge(posteriors, calibration)
    for held in found.regions:
        threshold = calibration.threshold(held.mass)
        chosen = [region(p, threshold) for p in posteriors.posterior]
        hits = sum(t in c for t, c in zip(posteriors.true_cells, chosen, strict=True))
        assert (held.share.hits, held.share.n) == (hits, 1200)
        assert held.median_cells == np.median([len(c) for c in chosen])
        assert held.mean_cells == pytest.approx(np.mean([len(c) for c in chosen]))


def test_the_curves_are_of_answers_within_the_distance(posteriors, calibration):
    found = judge(posteriors, calibration)
    for km, curve in found.curves.items():
        assert curve.accuracy[-1] == pytest.approx((posteriors.errors_km <= km).mean())
    assert found.curves[25.0].accuracy[:100].mean() > found.curves[25.0].accuracy[-1] + 0.2


def test_the_command_writes_plots_and_figures(saved, calibration, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "calibration.json").write_text(calibration.to_json())
    output = tmp_path / "plots"
    arguments = ["--predictions", str(saved), "--model", str(tmp_path / "model")]
    assert main([*arguments, "--output", str(output)]) == 0
    assert sorted(path.name for path in output.iterdir()) == list(NAMES)
    for name in NAMES:
        if name.endswith("png"):
            assert (output / name).read_bytes().startswith(b"\x89PNG")
    plain = json.loads((output / "reliability.json").read_text())
    assert plain["photos"] == 1200
    assert set(plain["calibration_error"]) == {"equal width", "adaptive", "before the temperature"}
    for curve in plain["abstention"].values():
        assert curve["least_possible"] <= curve["area_under_risk"] <= 1
        assert curve["answered"][-1]["within"]["n"] == 1200
    ninety = next(each for each in plain["regions"] if each["mass"] == 0.9)
    share = ninety["share"]
    printed = capsys.readouterr().out
    assert f"held {share['share']:.1%} [{share['low']:.1%}-{share['high']:.1%}]" in printed
    assert str(output / "abstention.png") in printed


def test_without_a_model_the_plots_lie_beside_the_predictions(saved):
    assert main(["--predictions", str(saved)]) == 0
    assert {path.name for path in saved.parent.iterdir()} == {*NAMES, "posteriors.npz"}


def test_packed_photos_are_predicted_and_a_saved_test_says_the_same(bundle, tmp_path, capsys):
    shards = write_synthetic_shards(tmp_path / "synthetic") / "val"
    assert (
        main(["--model", str(bundle.path), "--shards", str(shards), "--output", str(tmp_path)]) == 0
    )
    direct = json.loads((tmp_path / "reliability.json").read_text())
    photos = open_photos(bundle, None, None, None, shards, tmp_path)
    batches = predict_batches(bundle, photos, [], workers=0)
    write_posteriors(tmp_path / "posteriors.npz", bundle, evaluate(bundle, batches, True))
    again = ["--predictions", str(tmp_path / "posteriors.npz"), "--output", str(tmp_path)]
    assert main([*again, "--model", str(bundle.path)]) == 0
    saved = json.loads((tmp_path / "reliability.json").read_text())
    assert direct["photos"] == 32
    assert saved["regions"] == direct["regions"]
    assert "of 90% held" in capsys.readouterr().out
    assert main(["--model", str(tmp_path), "--shards", str(shards)]) == 2
    assert "calibration.json" in capsys.readouterr().err


def test_two_photos_that_are_equal_can_be_drawn(tmp_path):
    path = tmp_path / "posteriors.npz"
    posterior = np.full((2, 2), 0.5)
    np.savez(path, posterior=posterior, true_class=[-1, -1], error_km=[9000.0, 9000.0])
    assert main(["--predictions", str(path), "--output", str(tmp_path / "out")]) == 0


def test_one_temperature_a_level_is_judged_too(posteriors):
    each = Calibration((1.0, 2.0, 3.0), ((0.9, 0.95),), 0.1, 100)
    found = judge(posteriors, each)
    assert not found.before
    assert "1200 photos" in summary(found)


def test_wrong_use_ends_with_a_reason(tmp_path, saved, capsys):
    assert main(["--predictions", str(tmp_path / "none.npz")]) == 2
    assert "--save_posteriors" in capsys.readouterr().err
    assert main(["--predictions", str(saved), "--model", str(tmp_path)]) == 2
    assert "calibration.json" in capsys.readouterr().err
    for wrong in ([], ["--shards", "x"], ["--predictions", "a", "--shards", "b", "--model", "c"]):
        with pytest.raises(SystemExit):
            main(wrong)
